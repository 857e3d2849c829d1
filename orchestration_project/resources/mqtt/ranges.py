"""Ranges of arrivals as work items: planned from the cursor of the mirror, claimed by a run."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import NamedTuple

from sqlalchemy import Connection, func, select, update

from orchestration_project.domains.mqtt.judging import RULE_VERSION, Message
from orchestration_project.domains.mqtt.tables import mqtt_cursors, mqtt_inbox, mqtt_mirror
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.contracts.work_items import (
    OPEN_STATES,
    ClaimedItem,
    ItemSettlement,
    NewItem,
)
from orchestration_project.engine.environment import open_clock
from orchestration_project.engine.equations import SubjectBalance, record_balance
from orchestration_project.engine.listed_datasets import ListedDataset
from orchestration_project.engine.run_items import ItemSummary
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.resources.mqtt.mirroring import KeptMessages, Mirror, MirrorCounts
from orchestration_project.settings import load_shared_settings
from orchestration_project.tables.spine import work_items

TOPIC = "mqtt/mirror"
"""Topic of the work items of ranges."""

MESSAGES = "messages"
"""Equation of a range."""

CONSUMER = "mirror"
"""Row of `mqtt_cursors`."""

MAX_RANGE = 2_000
"""Arrivals of a range: what one transaction writes."""

MAX_RANGE_BYTES = 64 * 2**20
"""Bytes of the messages of a range, unless it is a single message: what a run has in memory."""

MAX_RANGES = 1_000
"""Ranges that are planned at once."""

ALLOWED_ATTEMPTS = 1_000
"""Attempts at a range: nothing in a message fails it, so only the end of its run does."""

NO_PAUSES = (timedelta(0),)
"""Pause after such an end."""


class Waiting(NamedTuple):
    """Messages that no range has yet, or whose range is not mirrored.

    Attributes:
        message_count: Their number, at most.
        oldest_at: Arrival of the oldest; None: none waits.
        newest_at: Arrival of the newest; None: none waits.
    """

    message_count: int
    oldest_at: datetime | None
    newest_at: datetime | None


def range_items(warehouse: Warehouse, clock: Clock) -> WorkItems:
    """Open the work items of ranges."""
    return WorkItems(warehouse, clock, pauses=NO_PAUSES)


def plan_ranges(
    warehouse: Warehouse,
    clock: Clock,
    *,
    max_range: int = MAX_RANGE,
    max_bytes: int = MAX_RANGE_BYTES,
) -> int:
    """Enqueue the arrivals since the last call as ranges; return the number of ranges.

    The cursor moves in the same transaction, so each arrival is in one range.
    """
    now = clock.now()
    with warehouse.writing() as connection:
        locked_cursor = _lock_cursor(connection, now)
        last = connection.execute(select(func.max(mqtt_inbox.c.arrival_id))).scalar() or 0
        bounds = [
            *islice(
                _iterate_ranges(connection, locked_cursor, last, max_range, max_bytes), MAX_RANGES
            )
        ]
        if not bounds:
            return 0
        items = [
            NewItem(
                key=f"{start:012d}-{end:012d}",
                version=RULE_VERSION,
                allowed_count=ALLOWED_ATTEMPTS,
                # in the order of arrival, also within one microsecond of the clock
                enqueued_at=now + timedelta(microseconds=index),
            )
            for index, (start, end) in enumerate(bounds)
        ]
        range_items(warehouse, clock).enqueue(TOPIC, items, are_new=True, connection=connection)
        connection.execute(
            update(mqtt_cursors)
            .where(mqtt_cursors.c.consumer == CONSUMER)
            .values(arrival_id=bounds[-1][1], changed_at=now)
        )
    return len(items)


def waiting(warehouse: Warehouse) -> Waiting:
    """Return the messages that are not mirrored yet, by indexes alone."""
    with warehouse.reading() as connection:
        first = first_unread(connection)
        edge = select(mqtt_inbox.c.arrival_id, mqtt_inbox.c.received_at)
        unread = edge.where(mqtt_inbox.c.arrival_id >= first)
        oldest = connection.execute(unread.order_by(mqtt_inbox.c.arrival_id).limit(1)).first()
        if oldest is None:
            return Waiting(0, None, None)
        newest = connection.execute(unread.order_by(mqtt_inbox.c.arrival_id.desc()).limit(1)).one()
    count = newest.arrival_id - oldest.arrival_id + 1
    return Waiting(count, oldest.received_at, newest.received_at)


def mirror_lag(warehouse: Warehouse, now: datetime) -> float:
    """Return the age of the oldest message that is not mirrored yet, seconds; 0: none."""
    oldest_at = waiting(warehouse).oldest_at
    return 0.0 if oldest_at is None else max(0.0, (now - oldest_at).total_seconds())


def first_unread(connection: Connection) -> int:
    """Return the number of the first arrival that may not be mirrored yet."""
    cursor = select(mqtt_cursors.c.arrival_id).where(mqtt_cursors.c.consumer == CONSUMER)
    planned = connection.execute(cursor).scalar() or 0
    columns = work_items.c
    open_keys = (
        select(columns.item_key)
        .where(columns.topic == TOPIC, columns.state.in_(OPEN_STATES))
        .order_by(columns.item_key)
        .limit(1)
    )
    key = connection.execute(open_keys).scalar()
    return planned + 1 if key is None else min(planned + 1, bounds_of(key)[0])


def read_messages(connection: Connection, first: int, last: int) -> list[Message]:
    """Return the messages of a range of arrivals, in their order."""
    columns = mqtt_inbox.c
    query = (
        select(
            columns.arrival_id,
            columns.broker,
            columns.topic,
            columns.payload,
            columns.byte_count,
            columns.sha256,
            columns.received_at,
            columns.trace_id,
        )
        .where(columns.arrival_id.between(first, last))
        .order_by(columns.arrival_id)
    )
    return [
        Message(*row[:3], base64.b64decode(row.payload), *row[4:])
        for row in connection.execute(query)
    ]


def count_messages(connection: Connection, first: int, last: int) -> int:
    """Return the number of stored messages of a range of arrivals."""
    query = select(func.count()).where(mqtt_inbox.c.arrival_id.between(first, last))
    return connection.execute(query).scalar_one()


@dataclass(frozen=True)
class RangeLoader:
    """Mirrors ranges; doing so again changes nothing.

    Attributes:
        mirror: Writes messages.
        written: Counts of each range that was written and not yet settled, by its key.
    """

    mirror: Mirror
    written: dict[str, MirrorCounts] = field(default_factory=dict)

    def ready(self) -> None:
        """Open nothing: the run has its database and its store."""

    def extract(self, items: Sequence[ClaimedItem]) -> Iterator[tuple[ClaimedItem, KeptMessages]]:
        """Yield each range with its messages, judged, with their bytes stored.

        Raises:
            OrchestrationError: The database or the store fails, for all ranges.
        """
        for item in items:
            with self.mirror.warehouse.reading() as connection:
                messages = read_messages(connection, *bounds_of(item.key))
            yield item, self.mirror.keep(messages)

    def load(
        self, connection: Connection, batch: Sequence[tuple[ClaimedItem, KeptMessages]]
    ) -> Sequence[ItemSettlement]:
        """Write ranges, in the transaction that settles them.

        Raises:
            ContractError: A range has other messages than those that were written.
        """
        settlements: list[ItemSettlement] = []
        for item, kept_messages in batch:
            self.written[item.key] = self.mirror.write(connection, kept_messages)
            self._record_balance(connection, item.key)
            settlements.append(ItemSettlement(item, "done", result_version=RULE_VERSION))
        return settlements

    def _record_balance(self, connection: Connection, key: str) -> None:
        count = count_messages(connection, *bounds_of(key))
        balance = Balance(MESSAGES, count, self.written[key].went_to)
        stage = SubjectBalance(mqtt_mirror.name, key, balance)
        record_balance(connection, stage, run_id=self.mirror.run_id, at=self.mirror.clock.now())


@dataclass
class RangeSummary(ItemSummary):
    """Outcomes of a run's ranges, and the counts of their messages.

    Attributes:
        written: Counts by range that its loader wrote.
        totals: Counts of all ranges that were settled.
    """

    written: dict[str, MirrorCounts] = field(default_factory=dict)
    totals: MirrorCounts = field(default_factory=MirrorCounts)

    def add(self, settlements: Sequence[ItemSettlement]) -> None:
        """Count how ranges ended."""
        super().add(settlements)
        for settlement in settlements:
            counts = self.written.pop(settlement.item.key, None)
            if counts is not None and settlement.state == "done":
                self.totals.add(counts)


def _iterate_ranges(
    connection: Connection, done: int, last: int, max_range: int, max_bytes: int
) -> Iterator[tuple[int, int]]:
    """Yield the first and last arrivals of ranges, within the limits of count and bytes."""
    columns = mqtt_inbox.c
    for start in range(done + 1, last + 1, max_range):
        end = min(start + max_range - 1, last)
        of_range = columns.arrival_id.between(start, end)
        total = select(func.sum(columns.byte_count)).where(of_range)
        if (connection.execute(total).scalar() or 0) > max_bytes:
            sizes = select(columns.arrival_id, columns.byte_count).where(of_range)
            byte_count = 0
            for arrival_id, size in connection.execute(sizes.order_by(columns.arrival_id)):
                byte_count += size
                if byte_count > max_bytes and arrival_id > start:
                    yield start, arrival_id - 1
                    start, byte_count = arrival_id, size
        yield start, end


def bounds_of(key: str) -> tuple[int, int]:
    """Return the first and last arrival of a range, by the key of its item."""
    first, _, last = key.partition("-")
    return int(first), int(last)


def _lock_cursor(connection: Connection, now: datetime) -> int:
    """Return the last arrival that is in a range; others wait until the transaction ends."""
    empty = {"consumer": CONSUMER, "arrival_id": 0, "changed_at": now}
    insert_absent(connection, mqtt_cursors, [empty])
    query = select(mqtt_cursors.c.arrival_id).where(mqtt_cursors.c.consumer == CONSUMER)
    return connection.execute(query.with_for_update()).scalar_one()


FIRST_HOUR = datetime(2026, 1, 1, tzinfo=UTC)
"""No message was received before."""

HOUR_FORMAT = "%Y-%m-%d-%H:%M"
"""How the key of a partition is written."""


def list_hours() -> Sequence[str]:
    """Return the keys of the UTC hours from the first one to the present one."""
    count = (open_clock(load_shared_settings()).now() - FIRST_HOUR) // timedelta(hours=1) + 1
    hours = (FIRST_HOUR + timedelta(hours=number) for number in range(count))
    return [hour.strftime(HOUR_FORMAT) for hour in hours]


LISTED_MIRROR = ListedDataset(
    "mqtt_mirror",
    "Loads all received messages that wait into the mirror, folds projects, components, tasks and "
    "metrics, and draws the graph.",
    ("mqtt_mirror",),
    list_hours,
)


def list_datasets() -> Sequence[ListedDataset]:
    """Return the mirror."""
    return [LISTED_MIRROR]
