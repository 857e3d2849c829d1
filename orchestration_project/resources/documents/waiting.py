"""Files that wait for a run: days that are due, leases of runs that have ended, late files."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Column, ColumnElement, and_, func, or_, select, union_all

from orchestration_project.domains.documents.options import LOAD_JOB
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.problems import OldestMissing
from orchestration_project.engine.environment import open_clock
from orchestration_project.engine.listed_datasets import ListedDataset
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.settings import load_shared_settings
from orchestration_project.tables.spine import work_items

TOPIC_PREFIX = "documents/"
"""Topics of files, a topic for each partition."""

REPLAY_PREFIX = "documents_replay/"
"""Topics of recorded documents, a topic for each partition."""

NO_PAUSES = (timedelta(0),)
"""Pauses of items whose run ended: nothing is wrong with them."""

LATE_AFTER = timedelta(hours=1)
"""A stable file that waits longer for a run is late."""


def topic_of(day: date | str) -> str:
    """Return the topic of the files of a partition."""
    return f"{TOPIC_PREFIX}{day}"


class DueDay(NamedTuple):
    """A partition with files that are due, and when the latest of them became so."""

    day: str
    item_count: int
    since: datetime


def file_items(warehouse: Warehouse, clock: Clock) -> WorkItems:
    """Open the work items of files, of which a lease that ended is due at once."""
    return WorkItems(warehouse, clock, pauses=NO_PAUSES)


def end_all_leases(warehouse: Warehouse, clock: Clock, is_at_work: Callable[[str], bool]) -> None:
    """Have files of all days be due again that runs which have ended left claimed."""
    columns = work_items.c
    is_leased = and_(
        columns.topic.startswith(TOPIC_PREFIX, autoescape=True), columns.state == "leased"
    )
    with warehouse.reading() as connection:
        topics = connection.execute(select(columns.topic).where(is_leased).distinct())
        entries = list(topics.scalars())
    for topic in entries:
        file_items(warehouse, clock).end_leases(topic, is_at_work)


def due_days(warehouse: Warehouse, now: datetime) -> list[DueDay]:
    """Return the partitions with files that a run would claim now, oldest first."""
    columns = work_items.c
    each_state = union_all(
        *(
            select(columns.topic, func.count().label("count"), func.max(columns.changed_at))
            .where(condition)
            .group_by(columns.topic)
            for condition in _match_due_at(now)
        )
    )
    with warehouse.reading() as connection:
        rows = connection.execute(each_state).all()
    days: dict[str, DueDay] = {}
    for topic, count, since in rows:
        day = topic.removeprefix(TOPIC_PREFIX)
        before = days.get(day, DueDay(day, 0, since))
        days[day] = DueDay(day, before.item_count + count, max(before.since, since))
    return [days[day] for day in sorted(days)]


def _match_due_at(now: datetime) -> Sequence[ColumnElement[bool]]:
    """Return the conditions of files that a run would claim now, as `WorkItems.claim` does.

    What changed later than now was changed before the clock was set back: it waits for nothing.
    """
    columns = work_items.c
    is_late = or_(columns.due_at <= now, columns.changed_at > now)
    return [
        _are("ready"),
        and_(_are("failed"), is_late),
        and_(_are("leased"), columns.expires_at <= now),
    ]


def _match_due_before(at: datetime) -> Sequence[tuple[ColumnElement[bool], Column[datetime]]]:
    """Return the conditions of files that a run could claim at a time, and since when they could.

    Each is a range of an index, without items that are done.
    """
    columns = work_items.c
    since = {"ready": columns.due_at, "failed": columns.due_at, "leased": columns.expires_at}
    return [(and_(_are(state), column <= at), column) for state, column in since.items()]


def _are(state: str) -> ColumnElement[bool]:
    columns = work_items.c
    below = and_(columns.topic >= TOPIC_PREFIX, columns.topic < _find_prefix_end(TOPIC_PREFIX))
    return and_(columns.state == state, below)


def oldest_waiting(warehouse: Warehouse, now: datetime) -> OldestMissing | None:
    """Return the files that wait for a run longer than `LATE_AFTER`; None: there is none."""
    columns = work_items.c
    found: list[tuple[str, int, datetime]] = []
    with warehouse.reading() as connection:
        for condition, since in _match_due_before(now - LATE_AFTER):
            query = select(columns.topic, func.count(), func.min(since)).where(condition)
            rows = connection.execute(query.group_by(columns.topic)).all()
            found += [(topic, count, since) for topic, count, since in rows]
    if not found:
        return None
    topic, _, since = min(found, key=lambda each: each[2])
    count, day = sum(row[1] for row in found), topic.removeprefix(TOPIC_PREFIX)
    what = f"{count:,} files wait" if count > 1 else "1 file waits"
    return OldestMissing(
        "documents/capture",
        day,
        since + LATE_AFTER,
        missing_count=count,
        unit="file",
        remedy=f"start documents_load for {day}, or switch the sensor documents_on_arrival on",
        reason=f"{what}, the oldest since {since:%Y-%m-%d %H:%M} UTC",
        job="documents_load",
    )


def _find_prefix_end(prefix: str) -> str:
    """Return the first text after all that begin with ``prefix``."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


FIRST_DAY = date(2026, 1, 1)
"""No file was seen before."""


def list_days() -> Sequence[str]:
    """Return the keys of the UTC days from the first one to today."""
    count = (open_clock(load_shared_settings()).today("UTC") - FIRST_DAY).days + 1
    return [(FIRST_DAY + timedelta(days=number)).isoformat() for number in range(count)]


LISTED_PAGES = ListedDataset(
    LOAD_JOB,
    "Loads the files of a day that wait: capture, extract, write pages and chunks, derive "
    "similarity.",
    ("documents", "documents_pages", "documents_chunks", "documents_similarity"),
    list_days,
    table="documents_pages",
)
LISTED_SIMILARITY = ListedDataset(
    "documents_derive",
    "Derives the similarity of the documents of a day that are not derived yet, or whose text "
    "changed.",
    ("documents_similarity",),
    list_days,
)


def list_datasets() -> Sequence[ListedDataset]:
    """Return the datasets of documents."""
    return [LISTED_PAGES, LISTED_SIMILARITY]
