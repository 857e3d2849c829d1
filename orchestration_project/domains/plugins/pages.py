"""Pages of plugins, made harmless for a user interface: no HTML, and no remote image."""

import re
from base64 import b64encode

from orchestration_project.domains.plugins.protocol import Page

IMAGE = re.compile(r"!\s*\[")
AUTO_LINK = re.compile(r"\b(javascript|data|vbscript)\s*:", re.IGNORECASE)


def page_markdown(page: Page) -> str:
    """Return a page as Markdown without HTML and images of other hosts.

    An SVG is an image in it, in which no browser runs scripts or loads other files.
    """
    if page.format == "svg":
        encoded = b64encode(page.content.encode("utf-8", "replace")).decode()
        return f"![page](data:image/svg+xml;base64,{encoded})"
    text = page.content.replace("&", "&amp;").replace("<", "&lt;")
    text = IMAGE.sub("!\\\\[", text)
    return AUTO_LINK.sub(lambda found: f"{found[1]}\\:", text)
