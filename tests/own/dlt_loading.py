"""Loads and replays of declared dlt datasets by the load engine, in this process."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import select

from orchestration_project.catalog.factory import dataset_of
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.deliveries import RecordedDeliveries, SourceDeliveries
from orchestration_project.engine.dlt_deliveries import DltReader
from orchestration_project.engine.dlt_states import start_state
from orchestration_project.engine.loader import DatasetLoader
from orchestration_project.engine.own.contracts import declare_table
from orchestration_project.engine.own_sources import Declaration
from orchestration_project.resources.own import OwnDltSource, OwnSource, secret
from orchestration_project.tables.spine import captures, dlt_states
from tests.faulty_server import Reply
from tests.http_clients import make_client

DAY, NEXT_DAY = "2026-01-05", "2026-01-06"
KEY = "hunter2hunter2"


class Noon(Clock):
    """A clock that stands at noon of the eighth."""

    def now(self):
        return datetime(2026, 1, 8, 12, tzinfo=UTC)


class Loading:
    """Loads of datasets into a warehouse, and what is stored then."""

    def __init__(self, warehouse, folder):
        self.warehouse = warehouse
        self.folder = folder
        self.store = FolderStore(folder / "artifacts")

    def declare(self, declared):
        """Return a declared dataset with its table, as all engines have it."""
        table, fields = declare_table(declared, "shop")
        self.warehouse.prepare(holds="real", changes_own=True)
        return dataset_of(Declaration(declared, "defs/shop/source.py", table, fields, b""), "shop")

    @contextmanager
    def source(self, declared) -> Iterator[OwnSource]:
        """Open the source of a dataset."""
        with make_client(
            self.folder, "shop", use_environment=False, accepts_encodings=True
        ) as http:
            kept = Captures(self.store)
            reader = DltReader(
                declared,
                declared.source,
                http,
                kept,
                Noon(),
                lambda: {name: secret(of) for name, of in declared.source.secrets.items()},
                lambda partition: self.start(declared, partition.label),
            )
            yield OwnDltSource(declared, kept, Noon(), reader)

    def loader(self, declared, deliveries, max_reject_ratio=0):
        """Return the loader of a dataset."""
        dataset = self.declare(declared)
        return DatasetLoader(
            dataset,
            deliveries(dataset),
            self.warehouse,
            self.store,
            today=Noon().now().date(),
            run_id="run",
            max_reject_ratio=max_reject_ratio,
            scratch=self.folder,
            is_reported=lambda *_: "yes",
        )

    @contextmanager
    def from_source(self, declared):
        """Give a loader from the source."""
        with self.source(declared) as source:
            yield self.loader(
                declared,
                lambda dataset: SourceDeliveries(dataset, source, self.warehouse, Noon()),
            )

    def load(self, declared, day=DAY):
        """Load a partition from its source."""
        with self.from_source(declared) as loader:
            return loader.write_batch(loader.take(day))

    def replay(self, declared, day=DAY, max_reject_ratio=0, **options):
        """Load a partition from what was captured of it."""
        loader = self.loader(
            declared,
            lambda dataset: RecordedDeliveries(dataset, self.warehouse, self.store, **options),
            max_reject_ratio,
        )
        return loader.write_batch(loader.take(day))

    def rows(self, declared, *names):
        """Return the loaded rows, of some columns."""
        table, _ = declare_table(declared, "shop")
        columns = [table.c[name] for name in names] or list(table.c)
        with self.warehouse.reading() as connection:
            return sorted(tuple(row) for row in connection.execute(select(*columns)))

    def start(self, declared, key):
        """Return the state that a read of a partition starts from."""
        with self.warehouse.reading() as connection:
            return start_state(connection, declared.name, key)

    def states(self, declared):
        """Return the saved states of a dataset, oldest first."""
        of_table = select(dlt_states).where(dlt_states.c.table_name == declared.name)
        with self.warehouse.reading() as connection:
            return connection.execute(of_table.order_by(dlt_states.c.state_number)).all()

    def captured(self):
        """Return the rows of captures and states as one text, and the bytes of all captures."""
        with self.warehouse.reading() as connection:
            rows = [*connection.execute(select(captures)), *connection.execute(select(dlt_states))]
        bodies = b""
        for file in (self.folder / "artifacts").rglob("*.zst"):
            import zstandard

            bodies += zstandard.ZstdDecompressor().decompress(file.read_bytes())
        return f"{rows}", bodies


def page(rows, following=None, status=200, **more):
    """Return a page of an API: its rows, and the cursor of the next one."""
    body = {"data": {"rows": rows}, "meta": {"next": following}, **more}
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(body).encode())
