"""Executes the notebooks of the documentation; as a program, writes their outputs into them."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

from orchestration_project.settings import PROJECT_ROOT

NOTEBOOKS = sorted((PROJECT_ROOT / "docs/notebooks").glob("*.ipynb"))

CELL_SECONDS = 900
"""Time after which a cell is stuck; a cell starts two programs, and the machine may be busy."""


def executed(notebook: Path) -> nbformat.NotebookNode:
    """Return ``notebook`` with the outputs of a new kernel, which sees no settings of ours."""
    cells = nbformat.read(notebook, as_version=4)
    client = NotebookClient(cells, timeout=CELL_SECONDS, record_timing=False)
    client.create_kernel_manager().transport_encryption = "required"
    with TemporaryDirectory() as folder:
        client.execute(env={"PATH": os.defpath, "HOME": folder, "TMPDIR": folder})
    cells.metadata.language_info = {"name": "python"}  # its version is this machine's
    return cells


if __name__ == "__main__":
    for path in NOTEBOOKS:
        nbformat.write(executed(path), path)
