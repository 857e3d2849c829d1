"""Elements of pages as selectors see them: CSS, XPath, JSON-LD and microdata of one element."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from orchestration_project.domains.web.inner_text import inner_text_of_tree
from orchestration_project.domains.web.linked_data import (
    JSON_LD_SCRIPTS,
    LinkedData,
    by_identity,
    find_property,
    microdata_objects,
    of_type,
    read_json_ld,
)

MAX_DEPTH = 256
"""Elements in one another, of pages that are normalised."""

MAX_STEPS = 400_000_000
"""Start tags by all tags: each end tag may search all open elements."""

MAX_REPEATED = 4_000_000
"""Formatting elements by start tags: each paragraph repeats those that are not closed, so that a
page of 70 KB may need 4 GB."""

FORMATTING = re.compile(
    rb"<(?:b|big|code|em|font|i|s|small|strike|strong|tt|u)(?=[\s/>])", re.IGNORECASE
)


TAG = ord("<")


def bounded(html: str | bytes) -> str | bytes:
    """Return HTML, UTF-8 or text, that is parsed in bounded time and memory.

    Tags count whether they are closed or not, as comments may hide what closes. Where they are too
    many, the page is normalised by a parser of linear time, so that each element is closed.

    Raises:
        ValueError: More than `MAX_DEPTH` elements of such a page are in one another.
    """
    import numpy as np

    body = html if isinstance(html, bytes) else html.encode(errors="replace")
    tag_count = int(np.count_nonzero(np.frombuffer(body, np.uint8) == TAG))
    if tag_count * tag_count <= min(MAX_STEPS, MAX_REPEATED):
        return html
    start_count = tag_count - body.count(b"</")
    is_long = start_count * tag_count > MAX_STEPS
    if not is_long and start_count * start_count > MAX_REPEATED:
        is_long = len(FORMATTING.findall(body)) * start_count > MAX_REPEATED
    return _normalise_html(body) if is_long else html


def _normalise_html(body: bytes) -> str:
    from lxml import etree  # an extra  # pyright: ignore[reportAttributeAccessIssue] - compiled

    parser = etree.HTMLParser(
        encoding="utf-8", huge_tree=False, no_network=True, remove_comments=True, remove_pis=True
    )
    root = etree.fromstring(body.replace(b"\0", b""), parser)
    if root is None:
        return ""
    if any("depth" in each.message for each in parser.error_log):
        raise ValueError(f"expected up to {MAX_DEPTH} elements in one another")
    return etree.tostring(root, method="html", encoding="unicode")


class Markup:
    """An element of a page, with what is read from it, each once.

    Args:
        html: Its HTML; None: that of ``node``.
        node: The same, parsed; None: it is parsed at the first use.
        is_page: Whether it is a whole page.
    """

    def __init__(
        self, html: str | bytes | None = None, node: Any = None, *, is_page: bool = False
    ) -> None:
        self._html = html
        self._node = node
        self._is_page = is_page

    @cached_property
    def node(self) -> Any:
        """The element, for CSS."""
        from selectolax.lexbor import LexborHTMLParser  # an extra

        return LexborHTMLParser(self._html or "").root if self._node is None else self._node

    def first(self, css: str) -> Sequence[Any]:
        """Return the first element that a selector finds, or none."""
        css_first = self.node.css_first(css)
        return [] if css_first is None else [css_first]

    @property
    def html(self) -> str:
        """The element as HTML in the parser's spelling."""
        return self.node.html or ""

    @cached_property
    def _tree(self) -> Any:
        from parsel import Selector  # an extra

        html = self.html if self._html is None else self._html
        text = html.decode() if isinstance(html, bytes) else html
        whole = Selector(text=text, type="html")
        inner = [] if self._is_page else whole.xpath("/html/body/* | /html/head/*")
        return inner[0] if inner else whole

    def xpath_texts(self, path: str) -> list[str]:
        """Return the texts that an XPath selects: of elements, attributes and values.

        Raises:
            ValueError: The path fails here, as of a function with wrong arguments.
        """
        return [_extract_text(each.root) for each in self._tree.xpath(path)]

    def xpath_elements(self, path: str) -> "list[Markup]":
        """Return the elements that an XPath selects; each sees itself alone.

        Raises:
            ValueError: The path fails here.
        """
        xpath = self._tree.xpath(path)
        return [Markup(each.get()) for each in xpath if hasattr(each.root, "itertext")]

    @cached_property
    def json_ld(self) -> LinkedData:
        """All objects of its JSON-LD, and scripts that cannot be read."""
        return read_json_ld([each.text() or "" for each in self.node.css(JSON_LD_SCRIPTS)])

    @cached_property
    def microdata(self) -> Sequence[Mapping[str, Any]]:
        """All objects of its microdata."""
        return microdata_objects(self.node)

    def object_texts(self, path: str, *, json_ld: str | None, microdata: str | None) -> list[str]:
        """Return the texts at a path of each object of a type.

        Raises:
            ValueError: There are none, and a script that may have them is not JSON.
        """
        objects = self.json_ld.objects if json_ld else self.microdata
        entries, identities = of_type(objects, json_ld or microdata or ""), by_identity(objects)
        texts = [text for entry in entries for text in find_property(entry, path, identities)]
        if json_ld and not texts:
            for script in self.json_ld.unreadable:
                if script.may_have(json_ld):
                    raise ValueError(script.reason)
        return texts


def _extract_text(root: Any) -> str:
    return inner_text_of_tree(root) if hasattr(root, "itertext") else str(root)
