"""Scene of the faults: a database with its artifacts, its readers, and its invariants."""

import hashlib
import shutil
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import psycopg
import zstandard
from sqlalchemy import NullPool, create_engine, select, text

from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import PARTIAL, FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.connecting import parse_url
from orchestration_project.migrations import VERSION_TABLE
from orchestration_project.tables.catalogue import known_tables
from tests import databases
from tests.faults.loads import NOW, Job
from tests.faults.matrix import Database
from tests.faults.pipelines import WEEKLY, Pipeline
from tests.faults.points import Plan
from tests.programs import processes_of, wait_for

Sums = tuple[tuple[str, int, int], ...]
"""Digest of a piece: each part of it, its rows, and a sum of them."""


@dataclass(frozen=True)
class Place:
    """A database, and a folder with the artifacts and all else that a load leaves."""

    database: Database
    url: str
    folder: Path
    server: str = ""
    pipeline: Pipeline = WEEKLY

    @classmethod
    def empty(cls, database: Database, folder: Path, server: str) -> Self:
        """Make a database without tables."""
        folder.mkdir(parents=True, exist_ok=True)
        if database == "sqlite":
            return cls(database, f"sqlite:///{folder}/x.sqlite", folder)
        return cls(database, _new_database(server, "template1"), folder, server)

    @classmethod
    def prepared(
        cls, database: Database, folder: Path, server: str, pipeline: Pipeline = WEEKLY
    ) -> Self:
        """Make a database with our tables, into which ``pipeline`` loads."""
        place = replace(cls.empty(database, folder, server), pipeline=pipeline)
        with Warehouse(place.url, clock=Clock(NOW)) as warehouse:
            warehouse.prepare(holds="real")
        return place

    def copy(self, folder: Path) -> Self:
        """Copy the database and the artifacts."""
        shutil.copytree(self.folder, folder)
        if self.database == "sqlite":
            return replace(self, url=f"sqlite:///{folder}/x.sqlite", folder=folder)
        template = self.url.partition("?")[0].rpartition("/")[2]
        return replace(self, url=_new_database(self.server, template), folder=folder)

    def job(self, source_url: str, *numbers: int, plan: Plan | None = None) -> Job:
        """Return the load of these pieces into it."""
        keys = [self.pipeline.key_of(number) for number in numbers]
        own = {"STATE_DIR": str(self.folder)}  # by which what it starts is found
        return Job(self.url, self.folder, source_url, keys, plan, own, self.pipeline.name)

    def forget(self) -> None:
        """Drop the database: a server full of them slows down."""
        if self.database == "postgresql":
            name = self.url.partition("?")[0].rpartition("/")[2]
            with psycopg.connect(self.server, autocommit=True) as connection:
                connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def _new_database(server: str, template: str) -> str:
    name = f"faults_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
    return server.replace("/postgres?", f"/{name}?")


def published(place: Place) -> Mapping[str, Sums]:
    """Return what is published of each piece, by one statement, so one state of the database."""
    engine = create_engine(parse_url(place.url), poolclass=NullPool)
    return _published(engine, place.pipeline)


def _published(engine: Any, pipeline: Pipeline) -> Mapping[str, Sums]:
    pieces: dict[str, list[tuple[str, int, int]]] = {}
    with engine.connect() as connection:
        for piece, what, count, total in connection.execute(pipeline.published):
            pieces.setdefault(str(piece), []).append((what, count, int(total)))
    return {piece: tuple(sorted(found)) for piece, found in pieces.items()}


class Reader:
    """Reads what is published, over and over while it is entered, and keeps every state it saw."""

    PAUSE_SECONDS = 0.01

    def __init__(self, place: Place) -> None:
        options: dict[str, Any] = {}
        if (
            place.database == "sqlite"
        ):  # now and then no process has the file open, as in production
            options = {"poolclass": NullPool, "connect_args": {"timeout": 60}}
        self._engine = create_engine(parse_url(place.url), **options)
        self._pipeline = place.pipeline
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.looks = 0
        self.states: dict[str, list[Sums]] = {}
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._engine.dispose()

    def _read(self) -> None:
        try:
            while not self._end.wait(self.PAUSE_SECONDS):
                for piece, sums in _published(self._engine, self._pipeline).items():
                    seen = self.states.setdefault(piece, [])
                    if seen[-1:] != [sums]:
                        seen.append(sums)
                self.looks += 1
        except Exception as error:  # noqa: BLE001 - the test shows it
            self.error = error

    def check_saw_only(self, before: Mapping[str, Sums], after: Mapping[str, Sums]) -> None:
        """Fail where a piece was in another state than those two, or went back."""
        assert self.error is None
        assert self.looks > 0
        for piece, seen in self.states.items():
            allowed = [state[piece] for state in (before, after) if piece in state]
            assert seen in (allowed[:1], allowed[1:], allowed), (piece, seen, allowed)


def check_nothing_is_left(place: Place) -> None:
    """Fail where a killed process left something of its work behind, or a worker."""
    assert wait_for(lambda: not processes_of(place.folder))
    partial = place.folder / "artifacts" / PARTIAL
    assert not partial.exists() or not list(partial.iterdir())
    _check_blobs(place)
    with Warehouse(place.url, clock=Clock()) as warehouse:
        assert databases.chain_problems(warehouse) == []
    names = databases.rows(place.url, TABLES[place.database])
    assert {name for (name,) in names} == {*known_tables(), VERSION_TABLE}
    if place.database == "sqlite":
        assert databases.rows(place.url, text("PRAGMA integrity_check")) == [("ok",)]
        assert not list(place.folder.rglob("*-incoming"))
    else:
        assert wait_for(lambda: databases.rows(place.url, HELD_OPEN) == [(0,)])


TABLES = {
    "sqlite": text(
        "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite%'"
    ),
    "postgresql": text(
        "SELECT relname FROM pg_class JOIN pg_namespace s ON s.oid = relnamespace "
        "WHERE relkind IN ('r', 'v', 'm', 'f', 'p') AND nspname <> 'information_schema' "
        "AND nspname NOT IN ('pg_catalog', 'pg_toast')"
    ),
}
"""All tables and views that are not the database's own, temporary ones included."""

HELD_OPEN = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND (state LIKE 'idle in transaction%' OR state = 'active')"
)


def _check_blobs(place: Place) -> None:
    captures = Captures(FolderStore(place.folder / "artifacts"))
    recorded = databases.rows(
        place.url,
        text(
            "SELECT sha256, byte_count, stored_byte_count, storage_uri, byte_offset "
            "FROM blobs ORDER BY sha256"
        ),
    )
    for row in recorded:
        captures.read(Blob(*row))
    for file in (place.folder / "artifacts").rglob("*.zst"):
        body = zstandard.ZstdDecompressor().decompress(file.read_bytes())
        assert hashlib.sha256(body).hexdigest() == file.stem
    for file in (place.folder / "artifacts").rglob("*.parquet"):
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.stem


def check_same_rows(
    found: Mapping[str, Sequence[Any]], expected: Mapping[str, Sequence[Any]]
) -> None:
    """Fail where two databases hold other rows, and name them.

    Of loads at once, work items show who came last, not what was loaded; a run that is repeated
    sends more requests.
    """
    for table, rows in expected.items():
        if table in ("work_items", "http_hosts", "http_counts", "http_quotas"):
            continue
        missing, more = Counter(rows) - Counter(found[table]), Counter(found[table]) - Counter(rows)
        assert (list(missing)[:3], list(more)[:3]) == ([], []), table


def known(place: Place) -> Mapping[str, databases.Rows]:
    """Return what is published and what was, without when it was known and by which delivery."""
    return {
        table.name: databases.rows(
            place.url, select(*(column for column in table.columns if column.name not in OF_LOADS))
        )
        for table in place.pipeline.tables
    }


OF_LOADS = ("capture_id", "known_from", "known_to", "run_id", "changed_at")
