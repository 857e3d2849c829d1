"""Files that arrive: each poll is compared with `documents_files`, and what waits is enqueued.

Listing and rows are read side by side in the order of paths, and only rows that differ are read
whole and written: a poll of unchanged files writes nothing and holds a page of them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, fields
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, or_, select, update

from orchestration_project.domains.documents.arrivals import (
    FileRow,
    KnownFile,
    Listed,
    after_poll,
    differences,
)
from orchestration_project.domains.documents.settings import DocumentsSettings
from orchestration_project.domains.documents.tables import documents, documents_files
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.uploads import TOPIC_PREFIX as UPLOADS_PREFIX
from orchestration_project.engine.contracts.work_items import NewItem
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.engine.work_items import KEYS_PER_STATEMENT, WorkItems
from orchestration_project.resources.documents.setups import (
    ReaderSetup,
    are_in_use,
    retry_for_new_setups,
    setups_of,
)
from orchestration_project.resources.documents.source import (
    AFTER_UPLOADS,
    UPLOAD_PREFIX,
    DocumentSource,
    take_uploads,
)
from orchestration_project.resources.documents.waiting import (
    TOPIC_PREFIX,
    DueDay,
    due_days,
    end_all_leases,
    topic_of,
)

COLUMNS = [documents_files.c[own_field.name] for own_field in fields(FileRow)]
CHANGED = [
    column.name for column in COLUMNS if not column.primary_key and column.name != "first_seen_at"
]


ROWS_PER_PAGE = 10_000
"""Rows of `documents_files` that a poll holds at a time."""


class PollResult(NamedTuple):
    """Result of a poll.

    Attributes:
        counts: Files of the source by state, and those that are gone since the last poll.
        enqueued_count: Files that wait to be loaded since this poll.
        unsettled: Days of files that have not stayed the same for long enough.
        unreadable: Folders that could not be read.
    """

    counts: Mapping[str, int]
    enqueued_count: int
    unsettled: frozenset[date]
    unreadable: Sequence[str]


@dataclass
class _Poll:
    """A poll under way: when it began, and what it found so far."""

    started: datetime
    counts: Counter[str] = field(default_factory=Counter[str])
    enqueued_count: int = 0
    unsettled: set[date] = field(default_factory=set[date])


class Arrivals:
    """Files of a source and uploads to an inbox, and the work items of those that wait.

    Args:
        source: Where files lie.
        warehouse: Has `documents_files`.
        clock: Its time.
        stable: How long a file has to stay the same before it is loaded; an upload is whole.
        inbox: Inbox of uploads that are loaded too.
        setups: Of the readers; with a new one, files that failed for the lack of it are due.
    """

    def __init__(
        self,
        source: DocumentSource,
        warehouse: Warehouse,
        clock: Clock,
        stable: timedelta,
        inbox: str,
        setups: Sequence[ReaderSetup] = (),
    ) -> None:
        self.source = source
        self.stable = stable
        self._setups = setups
        self._warehouse = warehouse
        self._clock = clock
        self._items = WorkItems(warehouse, clock)
        self._inbox = inbox

    def poll(self) -> PollResult:
        """List the files, record what changed, and enqueue files that wait to be loaded.

        What changed is written in transactions of `KEYS_PER_STATEMENT` files. Files are gone only
        once everything was listed.

        Raises:
            ConfigurationError: The source cannot be read.
            TransientError: It does not answer.
        """
        poll = _Poll(self._clock.now())
        listing = self.source.listing()
        found = differences(listing.files, self._known(poll.counts))
        missing: list[str] = []
        late: set[str] = set()
        while some := list(islice(found, KEYS_PER_STATEMENT)):
            missing += (difference.path for difference in some if difference.listed is None)
            late.update(difference.path for difference in some if difference.is_late)
            self._record(
                poll,
                {difference.path: difference.listed for difference in some if difference.listed},
            )
        hidden = tuple(f"{name}/" for name in listing.unreadable)
        late.update(listing.unreadable)
        names = [name for name in missing if name not in late and not name.startswith(hidden)]
        for start in range(0, len(names), KEYS_PER_STATEMENT):
            self._record(poll, {}, names[start : start + KEYS_PER_STATEMENT])
        poll.enqueued_count += self._take_uploads()
        self._retry_for_new_setups()
        return PollResult(
            +poll.counts,
            poll.enqueued_count,
            frozenset(poll.unsettled),
            sorted(listing.unreadable),
        )

    def _take_uploads(self) -> int:
        """Enqueue uploads that wait in the inbox for the load of their day; return their number."""
        topic = f"{UPLOADS_PREFIX}{self._inbox}"
        if not self._items.list_items(topic=topic, state="ready", limit=1):
            return 0
        count, is_more = 0, True
        while is_more:
            with self._warehouse.writing() as connection:
                lock_row(connection, documents_files.name)
                rows = take_uploads(connection, self._inbox, self._clock.now())
                _write(connection, rows)
                self._enqueue(connection, rows)
            count, is_more = count + len(rows), len(rows) == KEYS_PER_STATEMENT
        return count

    def _retry_for_new_setups(self) -> None:
        with self._warehouse.reading() as connection:
            if are_in_use(connection, self._setups):
                return
        with self._warehouse.writing() as connection:
            lock_row(connection, documents_files.name)
            retry_for_new_setups(
                connection, self._setups, self._items, self._clock, topic_prefix=TOPIC_PREFIX
            )

    def _known(self, counts: Counter[str]) -> Iterator[KnownFile]:
        """Yield the rows that are not gone, in the order of paths, and count them by state."""
        last = ""
        while True:
            with self._warehouse.reading() as connection:
                page = _read_known_after(connection, last)
            counts.update(row[3] for row in page)
            yield from page
            if len(page) < ROWS_PER_PAGE:
                return
            last = page[-1][0]

    def _record(self, poll: _Poll, found: Mapping[str, Listed], gone: Sequence[str] = ()) -> None:
        """Record files that differ, in one transaction, and enqueue those that wait."""
        with self._warehouse.writing() as connection:
            lock_row(connection, documents_files.name)
            now = self._clock.now()
            rows = _read(connection, [*found, *gone])
            changed = [
                *after_poll(rows.values(), found, now=now, stable=self.stable, started=poll.started)
            ]
            _write(connection, changed)
            waiting = [row for row in changed if row.state == "stable"]
            self._enqueue(connection, waiting)
        poll.enqueued_count += len(waiting)
        poll.counts.subtract(row.state for row in rows.values() if row.state != "gone")
        now_known = rows | {row.path: row for row in changed}
        is_gone = {row.path for row in changed if row.state == "gone"}
        poll.counts.update(
            row.state for row in now_known.values() if row.state != "gone" or row.path in is_gone
        )
        unsettled = (row for row in now_known.values() if row.state in ("seen", "changed"))
        poll.unsettled.update(row.day for row in unsettled)

    def end_leases(self, is_at_work: Callable[[str], bool]) -> None:
        """Have files be due again that runs which have ended left claimed.

        Args:
            is_at_work: Whether a run, by its id, may still load them.
        """
        end_all_leases(self._warehouse, self._clock, is_at_work)

    def due(self) -> list[DueDay]:
        """Return the partitions with files that a run would claim now, oldest first."""
        return due_days(self._warehouse, self._clock.now())

    def present_count(self) -> int:
        """Return how many files are there, those of uploads included."""
        query = (
            select(func.count())
            .select_from(documents_files)
            .where(documents_files.c.state != "gone")
        )
        with self._warehouse.reading() as connection:
            return connection.execute(query).scalar_one()

    def not_extracted_count(self) -> int:
        """Return how many files that are there have no document with text."""
        columns = documents_files.c
        is_left = or_(documents.c.state.is_(None), documents.c.state != "loaded")
        query = (
            select(func.count())
            .select_from(documents_files)
            .outerjoin(documents, documents.c.document_id == columns.document_id)
            .where(columns.state != "gone", is_left)
        )
        with self._warehouse.reading() as connection:
            return connection.execute(query).scalar_one()

    def list_not_extracted(self, limit: int) -> list[tuple[str, str]]:
        """Return paths of files that are there without text, each with the reason, by path."""
        columns = documents_files.c
        query = (
            select(columns.path, documents.c.reason)
            .outerjoin(documents, documents.c.document_id == columns.document_id)
            .where(columns.state != "gone", documents.c.state != "loaded")
            .order_by(columns.path)
            .limit(limit)
        )
        with self._warehouse.reading() as connection:
            return [(path, reason or "") for path, reason in connection.execute(query)]

    def _enqueue(self, connection: Connection, rows: Sequence[FileRow]) -> None:
        by_day: dict[date, list[NewItem]] = {}
        for row in rows:
            by_day.setdefault(row.day, []).append(NewItem(row.path, row.version))
        for day, items in sorted(by_day.items()):
            self._items.enqueue(topic_of(day), items, connection=connection)


def _read_known_after(connection: Connection, path: str) -> list[KnownFile]:
    """Return the next rows of the source that are not gone, with times without a zone.

    They are tuples of the driver: each of SQLAlchemy's rows would be visited by the collector of
    garbage, which takes as long as to read them.
    """
    columns = documents_files.c
    is_of_source = or_(columns.path < UPLOAD_PREFIX, columns.path >= AFTER_UPLOADS)
    is_server = connection.dialect.name == "postgresql"
    modified_at = func.timezone("UTC", columns.modified_at) if is_server else columns.modified_at
    result = connection.execute(
        select(columns.path, columns.byte_count, modified_at, columns.state, columns.file_version)
        .where(columns.state != "gone", columns.path > path, is_of_source)
        .order_by(columns.path)
        .limit(ROWS_PER_PAGE)
    )
    rows: Sequence[Any] = result.cursor.fetchall() if result.cursor else []
    result.close()
    if connection.dialect.name == "sqlite":  # which keeps times as text
        read = datetime.fromisoformat
        return [
            (path, byte_count, read(at), *remaining) for path, byte_count, at, *remaining in rows
        ]
    return list(rows)


def _read(connection: Connection, paths: Sequence[str]) -> dict[str, FileRow]:
    """Return the rows of paths, locked: a load records documents in them."""
    statement = select(*COLUMNS).where(documents_files.c.path.in_(paths)).with_for_update()
    return {row.path: row for row in (FileRow(*record) for record in connection.execute(statement))}


def _write(connection: Connection, rows: Sequence[FileRow]) -> None:
    """Insert the rows that are new, and replace the others."""
    if not rows:
        return
    names = [own_field.name for own_field in fields(FileRow)]
    values = [dict(zip(names, astuple(row), strict=True)) for row in rows]
    inserted = {key for (key,) in insert_absent(connection, documents_files, values)}
    other_items = [{**row, "of": row["path"]} for row in values if row["path"] not in inserted]
    if other_items:
        statement = (
            update(documents_files)
            .where(documents_files.c.path == bindparam("of"))
            .values({name: bindparam(f"new_{name}") for name in CHANGED})
        )
        bound = [
            {"of": row["of"], **{f"new_{name}": row[name] for name in CHANGED}}
            for row in other_items
        ]
        connection.execute(statement, bound)


def open_arrivals(
    source: DocumentSource, warehouse: Warehouse, clock: Clock, settings: DocumentsSettings
) -> Arrivals:
    """Return the arrivals of the settings; files of the demo are whole when they come."""
    stable = timedelta(seconds=0 if settings.is_demo else settings.documents_stable_seconds)
    return Arrivals(source, warehouse, clock, stable, settings.documents_inbox, setups_of(settings))
