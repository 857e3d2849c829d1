"""An installation that exports: a database with a week's rows, a store and an `exports.yaml`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event, select

from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.contracts.exports import read_exports
from orchestration_project.engine.dagster_private.automation import is_valid_cron_string
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.exports.targets import Surroundings
from orchestration_project.services.exports.work import ExportResult, Exports
from orchestration_project.settings import load_settings
from orchestration_project.tables.operations_artifacts import operations_exports
from tests.resources.weeks import PartitionLoader, StoppedClock

AN_HOUR = timedelta(hours=1)


@contextmanager
def listening(target: Any, name: str, listener: Callable[..., None]) -> Iterator[None]:
    """Have SQLAlchemy call a listener of an event for the block."""
    event.listen(target, name, listener)
    try:
        yield
    finally:
        event.remove(target, name, listener)


class Installation:
    """A database, an artifact store and what `exports.yaml` says."""

    def __init__(self, warehouse: Warehouse, clock: StoppedClock, folder: Path) -> None:
        self.warehouse, self.clock = warehouse, clock
        self.store = FolderStore(folder / "artifacts")
        self.partition_loader = PartitionLoader(warehouse, folder / "artifacts")
        self.text = ""
        self.under_way: set[str] = set()
        self.run_count = 0

    def declare(self, text: str) -> None:
        self.text = text

    @property
    def declared(self):
        return read_exports(self.text, is_valid_cron_string)

    def write_batch(self, *rows: dict[str, Any], version: str | None = None) -> None:
        """Load rows an hour later than before, and let another hour pass."""
        self.clock.at += AN_HOUR
        self.partition_loader.write_batch(*rows, version=version or self.clock.at.isoformat())
        self.clock.at += AN_HOUR

    def export(self, name: str = "weekly") -> ExportResult:
        self.run_count += 1
        given = Surroundings(load_settings(), self.store)
        work = Exports(self.warehouse, given, self.clock)
        return work.run(
            self.declared[name],
            run_id=f"run {self.run_count}",
            is_under_way=self.under_way.__contains__,
        )

    def recorded(self) -> list[dict[str, Any]]:
        wanted = select(operations_exports).order_by(operations_exports.c.to_load)
        with self.warehouse.reading() as connection:
            return [dict(row) for row in connection.execute(wanted).mappings()]

    def files(self, folder: str = "exports") -> list[str]:
        return sorted(
            stored_object.name
            for stored_object in self.store.listed()
            if stored_object.name.startswith(folder)
        )

    def read_without_failure(self, result: ExportResult) -> str:
        assert result.export, result.detail
        return self.store.get(result.export.artifact).decode()
