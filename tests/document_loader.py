"""A folder of documents, what jobs load from it, and what the database then has."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.domains.documents.tables import documents_files, documents_pages
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.warehouse import Warehouse
from tests.assets.test_documents import folder as folder
from tests.assets.test_documents import run, tick
from tests.resources.definitions import RESOURCES

BOTH = pytest.mark.parametrize(
    "url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
"""Both databases; each test executes several runs, which takes seconds."""

DAY = "2026-03-02"
TOPIC = f"documents/{DAY}"


class DocumentLoader:
    """A folder, a database, and runs of the jobs of documents."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, made: Any) -> None:
        self.folder = folder
        self.instance = instance
        self.warehouse: Warehouse = made.warehouse
        self.clock = made.clock
        self.artifacts: ArtifactStore = made.artifacts.open_it()

    def write(self, **files: bytes | str) -> None:
        """Write files; an underscore of a name stands for a dot."""
        for name, content in files.items():
            path = self.folder / name.replace("_", ".")
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def load(self, **config: Any) -> Any:
        """Poll the folder and load; return the metadata of `documents/capture`."""
        tick(self.instance)
        return run(self.instance, **config)["capture"][DAY]

    def rows(self, *columns: Any) -> list[tuple[Any, ...]]:
        with self.warehouse.reading() as connection:
            return sorted(tuple(row) for row in connection.execute(select(*columns)))

    def id_of(self, path: str) -> str:
        return dict(self.rows(documents_files.c.path, documents_files.c.document_id))[path]

    def texts(self) -> list[str]:
        return [text for (text,) in self.rows(documents_pages.c.text)]


@pytest.fixture
def document_loader(url, folder, kept_instance) -> Iterator[DocumentLoader]:
    """An empty folder, database and store."""
    with dg.build_resources(RESOURCES, kept_instance) as made:
        yield DocumentLoader(folder, kept_instance, made)
