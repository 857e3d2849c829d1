"""A project folder of this process, whose files declare datasets and derived tables."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestration_project.engine import own_derived, own_sources
from orchestration_project.engine.warehouse.own_schema import list_own_tables
from orchestration_project.settings import own_files as imported_files
from orchestration_project.settings import project
from orchestration_project.tables.schema import METADATA

DECLARED = '[project]\nname = "shop"\nversion = "0"\n\n[tool.orchestrate]\n'
CACHED = (
    project.project_folder,
    project.own_files,
    project.own_domain,
    own_sources.load_declared_values,
    own_sources.load_declarations,
    own_derived.load_derivations,
)


def forget() -> None:
    """Forget all declarations, as a process that has just started knows none."""
    for cached in CACHED:
        cached.cache_clear()
    for name in [name for name in sys.modules if name.startswith(imported_files.MODULES)]:
        del sys.modules[name]
    for table in list_own_tables():
        METADATA.remove(table)


@contextmanager
def opened_project(folder: Path, files: Mapping[str, str]) -> Iterator[Path]:
    """Make ``folder`` the project folder, with ``files`` below its ``defs``."""
    for name, text in {"../pyproject.toml": DECLARED, **files}.items():
        file = folder / "defs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORCHESTRATE_PROJECT", str(folder))
        forget()
        try:
            yield folder
        finally:
            patch.undo()
            forget()
