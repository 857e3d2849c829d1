"""The notebooks of the documentation, executed as they are committed."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import nbformat
import pytest

from tests.notebooks import NOTEBOOKS, executed


def shown(notebook: nbformat.NotebookNode) -> Iterator[tuple[str, str, str]]:
    """Yield what each cell shows, with its kind; the bytes of pictures are left out.

    What a kernel prints arrives in as many parts as its timer makes: they are one text here.
    """
    for cell in notebook.cells:
        for (id_, kind), parts in groupby(_outputs(cell), key=lambda output: output[:2]):
            yield id_, kind, "".join(text for _, _, text in parts)


def _outputs(cell: nbformat.NotebookNode) -> Iterator[tuple[str, str, str]]:
    for output in cell.get("outputs", ()):
        if output.output_type == "stream":
            yield cell.id, output.name, output.text
        for kind, content in sorted(output.get("data", {}).items()):
            yield cell.id, kind, "" if kind.startswith("image/") else content


@pytest.mark.slow  # .ci/run has it as a step of its own
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_it_showed_when_it_was_committed(path: Path):
    committed = list(shown(nbformat.read(path, as_version=4)))
    assert "image/png" in {kind for _, kind, _ in committed}
    assert list(shown(executed(path))) == committed
