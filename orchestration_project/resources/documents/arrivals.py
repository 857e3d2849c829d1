"""Files that arrive: each poll is compared with `documents_files`, and what waits is enqueued."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, fields
from datetime import date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, and_, bindparam, func, or_, select, update

from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.work_items import NewItem
from orchestration_project.domains.documents.arrivals import FileRow, after_poll
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.resources.documents.folder import DocumentFolder
from orchestration_project.settings.domains.documents import DocumentsSettings
from orchestration_project.tables.documents import documents, documents_files
from orchestration_project.tables.spine import work_items

TOPIC_PREFIX = "documents/"
"""Topics of files, a topic for each partition."""

AT_ONCE = (timedelta(0),)
"""Pauses of items whose run ended: nothing is wrong with them."""

COLUMNS = [documents_files.c[each.name] for each in fields(FileRow)]
CHANGED = [each.name for each in COLUMNS if not each.primary_key and each.name != "first_seen_at"]


def topic_of(day: date | str) -> str:
    """Return the topic of the files of a partition."""
    return f"{TOPIC_PREFIX}{day}"


class PollResult(NamedTuple):
    """Result of a poll.

    Attributes:
        counts: Files by state.
        enqueued_count: Files that wait to be loaded since this poll.
        unsettled: Days of files that have not stayed the same for long enough.
        unreadable: Folders that could not be read.
    """

    counts: Mapping[str, int]
    enqueued_count: int
    unsettled: frozenset[date]
    unreadable: Sequence[str]


class DueDay(NamedTuple):
    """A partition with files that are due, and when the latest of them became so."""

    day: str
    item_count: int
    since: datetime


class Arrivals:
    """Files of a folder, and the work items of those that wait.

    Args:
        folder: The folder.
        warehouse: Has `documents_files`.
        clock: Its time.
        stable: How long a file has to stay the same before it is loaded.
    """

    def __init__(
        self, folder: DocumentFolder, warehouse: Warehouse, clock: Clock, stable: timedelta
    ) -> None:
        self.folder = folder
        self.stable = stable
        self._warehouse = warehouse
        self._clock = clock
        self._items = WorkItems(warehouse, clock)

    def poll(self) -> PollResult:
        """List the folder, record what changed, and enqueue files that wait to be loaded.

        Raises:
            ConfigurationError: The folder cannot be read.
        """
        listing = self.folder.listing()
        with self._warehouse.writing() as connection:
            lock_row(connection, documents_files.name)
            now = self._clock.now()
            rows = {row.path: row for row in _read(connection)}
            changed = list(after_poll(rows.values(), listing.files, now=now, stable=self.stable))
            _write(connection, changed)
            waiting = [row for row in changed if row.state == "stable"]
            self._enqueue(connection, waiting)
        rows |= {row.path: row for row in changed}
        return PollResult(
            Counter(row.state for row in rows.values()),
            len(waiting),
            frozenset(row.day for row in rows.values() if row.state in ("seen", "changed")),
            listing.unreadable,
        )

    def end_leases(self, is_at_work: Callable[[str], bool]) -> None:
        """Have files be due again that runs which have ended left claimed.

        Args:
            is_at_work: Whether a run, by its id, may still load them.
        """
        columns = work_items.c
        is_leased = and_(
            columns.topic.startswith(TOPIC_PREFIX, autoescape=True), columns.state == "leased"
        )
        with self._warehouse.reading() as connection:
            topics = connection.execute(select(columns.topic).where(is_leased).distinct())
            found = list(topics.scalars())
        for topic in found:
            end_leases(self._warehouse, self._clock, topic, is_at_work)

    def due(self) -> list[DueDay]:
        """Return the partitions with files that a run would claim now, oldest first."""
        now = self._clock.now()
        columns = work_items.c
        is_due = or_(
            columns.state == "ready",
            and_(columns.state == "failed", columns.due_at <= now),
            and_(columns.state == "leased", columns.expires_at <= now),
        )
        wanted = (
            select(columns.topic, func.count(), func.max(columns.changed_at))
            .where(columns.topic.startswith(TOPIC_PREFIX, autoescape=True), is_due)
            .group_by(columns.topic)
            .order_by(columns.topic)
        )
        with self._warehouse.reading() as connection:
            found = connection.execute(wanted).all()
        return [DueDay(row[0].removeprefix(TOPIC_PREFIX), row[1], row[2]) for row in found]

    def not_extracted_count(self) -> int:
        """Return how many files that are there have no document with text."""
        columns = documents_files.c
        is_left = or_(documents.c.state.is_(None), documents.c.state != "loaded")
        wanted = (
            select(func.count())
            .select_from(documents_files)
            .outerjoin(documents, documents.c.document_id == columns.document_id)
            .where(columns.state != "gone", is_left)
        )
        with self._warehouse.reading() as connection:
            return connection.execute(wanted).scalar_one()

    def _enqueue(self, connection: Connection, rows: Sequence[FileRow]) -> None:
        by_day: dict[date, list[NewItem]] = {}
        for row in rows:
            by_day.setdefault(row.day, []).append(NewItem(row.path, row.version))
        for day, items in sorted(by_day.items()):
            self._items.enqueue(topic_of(day), items, connection=connection)


def end_leases(
    warehouse: Warehouse, clock: Clock, topic: str, is_at_work: Callable[[str], bool]
) -> None:
    """Have items of a topic be due again that runs which have ended left claimed.

    Such a lease counts as an attempt.

    Args:
        warehouse: The database.
        clock: Its time.
        topic: Whose items.
        is_at_work: Whether a run, by its id, may still settle them.
    """
    items = WorkItems(warehouse, clock, pauses=AT_ONCE)
    ended = [holder for holder in items.lease_holders(topic) if not is_at_work(holder)]
    if ended:
        items.expire(topic, dict.fromkeys(ended))


def _read(connection: Connection) -> list[FileRow]:
    return [FileRow(*row) for row in connection.execute(select(*COLUMNS))]


def _write(connection: Connection, rows: Sequence[FileRow]) -> None:
    """Insert the rows that are new, and replace the others."""
    if not rows:
        return
    names = [each.name for each in fields(FileRow)]
    values = [dict(zip(names, astuple(row), strict=True)) for row in rows]
    inserted = {key for (key,) in insert_absent(connection, documents_files, values)}
    others = [{**row, "of": row["path"]} for row in values if row["path"] not in inserted]
    if others:
        statement = (
            update(documents_files)
            .where(documents_files.c.path == bindparam("of"))
            .values({name: bindparam(f"new_{name}") for name in CHANGED})
        )
        bound = [
            {"of": row["of"], **{f"new_{name}": row[name] for name in CHANGED}} for row in others
        ]
        connection.execute(statement, bound)


def stable_time(settings: DocumentsSettings) -> timedelta:
    """Return how long a file has to stay the same; those of the demo are whole when they come."""
    return timedelta(seconds=0 if settings.is_demo else settings.documents_stable_seconds)
