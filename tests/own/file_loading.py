"""Loads of declared datasets of files by the load engine, in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.deliveries import SourceDeliveries
from orchestration_project.resources.own import OwnFileSource, OwnSource
from tests.own.dlt_loading import Loading


class LaterClock(Clock):
    """A clock that is a minute later at each look."""

    moment = datetime(2026, 1, 8, 12, tzinfo=UTC)

    def now(self):
        self.moment += timedelta(minutes=1)
        return self.moment


class FileLoading(Loading):
    """Loads of datasets whose files lie in a folder."""

    def __init__(self, warehouse, folder, clock):
        super().__init__(warehouse, folder)
        self.clock = clock

    @contextmanager
    def source(self, declared) -> Iterator[OwnSource]:
        kept = Captures(self.store)
        yield OwnFileSource(declared, kept, self.clock, declared.source, self.folder)

    @contextmanager
    def from_source(self, declared):
        with self.source(declared) as source:
            yield self.loader(
                declared,
                lambda dataset: SourceDeliveries(dataset, source, self.warehouse, self.clock),
            )

    def load_file(self, declared, day, text):
        """Write the file of a day, and load it."""
        (self.folder / f"{day}.csv").write_text(text)
        return self.load(declared, day)
