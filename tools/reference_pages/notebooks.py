"""The notebooks as pages: text, code, and what each cell showed when it was executed.

The site has no reader of notebooks; as Markdown they are searched and shown like any page.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestration_project.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "docs" / "notebooks"
NOTE = (
    "Generated from [`{name}.ipynb`](../notebooks/{name}.ipynb), which CI executes, by "
    "`python -m tools.reference_pages --write`."
)


def write() -> Mapping[str, str]:
    """Return the page of each notebook by its path as seen from docs/reference."""
    return {f"notebook-{path.stem}.md": page_of(path) for path in sorted(FOLDER.glob("*.ipynb"))}


def page_of(path: Path) -> str:
    """Return a notebook as Markdown; links to other notebooks lead to their pages."""
    title, *cells = json.loads(path.read_text())["cells"]
    parts = ["".join(title["source"]), NOTE.format(name=path.stem)]
    for cell in cells:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        parts += [shown for output in cell.get("outputs", ()) for shown in _shown(output)]
    page = "\n\n".join(part.rstrip() for part in parts) + "\n"
    return re.sub(r"\]\(([\w-]+)\.ipynb\)", r"](notebook-\1.md)", page)


def _shown(output: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a cell showed: a picture, else its text."""
    data = output.get("data", {})
    if "image/png" in data:
        picture = "".join(data["image/png"]).replace("\n", "")
        yield f'<img alt="Chart that the cell draws" src="data:image/png;base64,{picture}">'
        return
    text = "".join(output.get("text", data.get("text/plain", "")))
    if text.strip():
        yield f"```text\n{text.rstrip()}\n```"
