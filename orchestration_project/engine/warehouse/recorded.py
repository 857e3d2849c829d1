"""Recorded deliveries: their parts, and which of them are effective."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, Table, func, or_, select

from orchestration_project.engine.contracts.key_ranges import Days
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.warehouse.delivery import Outcome
from orchestration_project.engine.warehouse.frames import Scope, decode_scope, find_part, find_range
from orchestration_project.engine.warehouse.target import WriteDisposition
from orchestration_project.errors import UnknownNameError
from orchestration_project.tables.spine import audits, blobs, captures, deliveries, landings

MAX_BATCH_ROWS = 10_000
"""Rows of deliveries that are read at once."""


@dataclass(frozen=True)
class RecordedDelivery:
    """One row of `deliveries`, with its scope as conditions."""

    group_id: str
    partition_key: str
    source: str
    dataset: str
    source_version: str
    record_total: int | None
    scope: Scope
    part_count: int
    outcome: Outcome
    replay_of: str | None
    write_disposition: WriteDisposition = "replace_scope"

    @property
    def fetched_group(self) -> str:
        """The delivery that was fetched; of a replay, an earlier one."""
        return self.replay_of or self.group_id

    @property
    def fetched_number(self) -> int:
        """The place of that among the deliveries of the partition: the greater, the later."""
        return parse_group_number(self.fetched_group)

    @property
    def replaces_scope(self) -> bool:
        """Whether loaded rows of its scope that it lacks are removed."""
        return self.write_disposition == "replace_scope"

    @property
    def is_vain_replay(self) -> bool:
        """Whether it left all as it was: what it was made of is recorded as it was fetched."""
        return self.replay_of is not None and self.outcome != "landed"


@dataclass(frozen=True)
class EffectivePart:
    """A delivery, and those of its values for which no later one holds; None: it is of no part."""

    recorded: RecordedDelivery
    values: frozenset[str] | None


def build_part_layers(recorded: Sequence[RecordedDelivery]) -> list[EffectivePart]:
    """Return the parts that make up a partition, oldest first, by all its deliveries in order.

    The latest delivery that was read whole counts, loaded or not. One of the whole partition holds
    for what later ones of parts leave, and is not taken with them: its captures cannot be parted.
    """
    layers: list[EffectivePart] = []
    covered: frozenset[str] = frozenset()
    whole = [
        recorded_delivery
        for recorded_delivery in recorded
        if recorded_delivery.part_count and not recorded_delivery.is_vain_replay
    ]
    for recorded_delivery in reversed(whole):
        if layers and recorded_delivery.outcome != "landed":
            continue
        part = find_part(recorded_delivery.scope)
        if part is None:
            return layers[::-1] or [EffectivePart(recorded_delivery, None)]
        values = part[1] - covered
        if values:
            layers.append(EffectivePart(recorded_delivery, values))
            covered |= values
    return layers[::-1]


def select_effective(
    recorded: Sequence[RecordedDelivery], *, only_loaded: bool = False
) -> list[RecordedDelivery]:
    """Return the deliveries that make up a partition, oldest first, from all in their order.

    Written in this order, each in its own way, their rows are those of the table. A merge or append
    ends none of the others. A delivery that replaced its scope ends the ones before it: all of them
    if it was of the whole partition, else those whose scope lies in its own and that of later ones
    which replaced theirs.

    The latest delivery that was read whole counts, loaded or not, unless ``only_loaded`` do. A
    replay of one delivery stands for it, in the place where it loaded. A replay of several is not
    one of them, nor is a replay that loaded nothing.
    """
    recorded_deliveries = _select_of_one(recorded)
    loaded = {
        name
        for recorded_delivery in recorded
        if recorded_delivery.outcome == "landed"
        for name in (recorded_delivery.group_id, recorded_delivery.replay_of)
    }
    effective: dict[str, RecordedDelivery] = {}
    for delivery in reversed(recorded_deliveries):
        is_latest = delivery is recorded_deliveries[-1] and not only_loaded
        is_loaded = bool(loaded & {delivery.group_id, delivery.fetched_group})
        if not (is_latest or is_loaded) or delivery.fetched_group in effective:
            continue
        replaced = [one.scope for one in effective.values() if one.replaces_scope]
        if _is_covered(delivery.scope, replaced):
            continue
        effective[delivery.fetched_group] = delivery
    return list(effective.values())[::-1]


def _select_of_one(recorded: Sequence[RecordedDelivery]) -> list[RecordedDelivery]:
    """Return the deliveries that `is_of_one` accepts, without replays that left all as it was."""
    fetched = {
        recorded_delivery.group_id: (recorded_delivery.scope, recorded_delivery.part_count)
        for recorded_delivery in recorded
    }
    return [
        recorded_delivery
        for recorded_delivery in recorded
        if recorded_delivery.part_count
        and fetched.get(recorded_delivery.fetched_group)
        == (recorded_delivery.scope, recorded_delivery.part_count)
        and not recorded_delivery.is_vain_replay
    ]


def _is_covered(scope: Scope, later: Sequence[Scope]) -> bool:
    """Whether each row of a scope lies in a later one; parts and ranges of one column add up."""
    if any(not entry or entry == scope for entry in later):
        return True
    if len(scope) != 1:
        return False
    alike = [entry for entry in later if entry.keys() == scope.keys()]
    days, part = find_range(scope), find_part(scope)
    if days is not None:
        return not _exclude_covered(
            days, (each for each in map(find_range, alike) if each is not None)
        )
    other_items = (pair[1] for pair in map(find_part, alike) if pair is not None)
    return part is not None and part[1] <= frozenset().union(*other_items)


@dataclass(frozen=True)
class RecordedPart:
    """One capture of a delivery, with where its bytes lie; ``request`` and headers are JSON."""

    sha256: str
    byte_count: int
    stored_byte_count: int
    storage_uri: str
    byte_offset: int | None
    url: str
    request: str
    response_headers: str
    http_status: int | None
    row_count: int | None
    fetched_at: datetime
    run_id: str
    erased_at: datetime | None

    @property
    def blob(self) -> Blob:
        """The row of its bytes."""
        values = (self.sha256, self.byte_count, self.stored_byte_count, self.storage_uri)
        return Blob(*values, self.byte_offset)


@dataclass(frozen=True)
class LoadRecord:
    """The figures of a delivery that loaded.

    ``captures``, ``lines`` and ``bytes`` are of all that was fetched for it, ``audits`` the outcome
    of each by name, ``warning_count`` those of them that failed and did not hold it back.
    """

    group_id: str
    partition_key: str
    change_cause: str
    rows_added: int
    rows_changed: int
    rows_removed: int
    rows_unchanged: int
    rejects: int
    content_sha256: str
    run_id: str
    landed_at: datetime
    captures: int
    lines: int
    bytes: int
    stored_bytes: int
    audits: Mapping[str, str]
    warning_count: int

    @property
    def rows(self) -> int:
        """How many rows the delivery has."""
        return self.rows_added + self.rows_changed + self.rows_unchanged


GROUP_ID = re.compile(r"([a-z0-9_]+):(.+)#[0-9]+")


def parse_group_id(group: str) -> tuple[str, str]:
    """Return table and partition key in a delivery's name, as ``table:T1|2025-11-10#2``.

    Raises:
        ConfigurationError: The name has another shape.
    """
    match = GROUP_ID.fullmatch(group)
    if match is None:
        raise UnknownNameError(
            f"{group} is not a delivery",
            expected="a group_id as in the table deliveries: finra_otc_weekly:T1|2025-11-10#2",
            remedy="copy it from that table; quote it for the shell",
        )
    return match[1], match[2]


def parse_group_number(group: str) -> int:
    """Return the place of a delivery among those of its partition, from 1."""
    return int(group.rpartition("#")[2])


def read_recorded(
    connection: Connection, table: Table, partition_key: str
) -> list[RecordedDelivery]:
    """Return the deliveries of a partition, oldest first."""
    rows = connection.execute(
        select(*(deliveries.c[name] for name in RecordedDelivery.__dataclass_fields__)).where(
            deliveries.c.table_name == table.name, deliveries.c.partition_key == partition_key
        )
    )
    return _sort_recorded(rows)


def _sort_recorded(rows: Iterable[Row[Any]]) -> list[RecordedDelivery]:
    return sorted(map(_parse_row, rows), key=lambda each: parse_group_number(each.group_id))


def _parse_row(row: Row[Any]) -> RecordedDelivery:
    values = {name: row._mapping[name] for name in RecordedDelivery.__dataclass_fields__}
    values["scope"] = decode_scope(values["scope"])
    return RecordedDelivery(**values)


def read_parts(connection: Connection, recorded: RecordedDelivery) -> list[RecordedPart]:
    """Return the captures that make up a delivery, in order."""
    columns = {**dict(captures.columns.items()), **dict(blobs.columns.items())}
    rows = connection.execute(
        select(*(columns[name] for name in RecordedPart.__dataclass_fields__))
        .join(blobs, blobs.c.sha256 == captures.c.sha256)
        .where(
            captures.c.group_id == recorded.group_id,
            captures.c.part_number <= recorded.part_count,
        )
        .order_by(captures.c.part_number)
    )
    return [RecordedPart(**row._mapping) for row in rows]


def find_replayable(connection: Connection, table: Table) -> list[str]:
    """Return the keys of the partitions that have a delivery which was read whole."""
    rows = connection.execute(
        select(deliveries.c.partition_key)
        .distinct()
        .where(deliveries.c.table_name == table.name, deliveries.c.part_count > 0)
        .order_by(deliveries.c.partition_key)
    )
    return list(rows.scalars())


def read_load_record(
    connection: Connection, table: Table, partition_key: str, landed_at: datetime
) -> LoadRecord:
    """Return the figures of the delivery that loaded in a partition at a time."""
    columns = landings.c
    names = ("group_id", "partition_key", "change_cause", "content_sha256", "run_id", "landed_at")
    counted = ("rows_added", "rows_changed", "rows_removed", "rows_unchanged")
    loaded = connection.execute(
        select(
            *(columns[name] for name in (*names, *counted)),
            columns.rows_rejected.label("rejects"),
        ).where(
            columns.table_name == table.name,
            columns.partition_key == partition_key,
            columns.landed_at == landed_at,
        )
    ).one()
    fetched = connection.execute(
        select(
            func.count().label("captures"),
            func.coalesce(func.sum(captures.c.row_count), 0).label("lines"),
            func.coalesce(func.sum(blobs.c.byte_count), 0).label("bytes"),
            func.coalesce(func.sum(blobs.c.stored_byte_count), 0).label("stored_bytes"),
        )
        .select_from(captures)
        .join(blobs, blobs.c.sha256 == captures.c.sha256)
        .where(captures.c.group_id == loaded.group_id)
    ).one()
    verdicts = connection.execute(
        select(audits.c.name, audits.c.severity, audits.c.outcome).where(
            audits.c.group_id == loaded.group_id, audits.c.table_name == table.name
        )
    ).all()
    sums = {name: int(value) for name, value in fetched._mapping.items()}
    figures: dict[str, Any] = {**loaded._mapping, **sums}
    return LoadRecord(
        **figures,
        audits={verdict.name: verdict.outcome for verdict in verdicts},
        warning_count=sum((v.severity, v.outcome) == ("warning", "failed") for v in verdicts),
    )


A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class EffectiveDelivery:
    """A delivery of a range, and those of its days for which no later one holds.

    ``is_loaded`` is False of the latest one that was read whole, where it was not loaded.
    """

    recorded: RecordedDelivery
    range: Days
    days: Sequence[Days]
    is_loaded: bool

    def holds_within(self, days: Days) -> bool:
        """Whether it holds for any of ``days``."""
        return any(day.first <= days.last and days.first <= day.last for day in self.days)


def build_layers(
    recorded: Sequence[RecordedDelivery], *, only_loaded: bool = False
) -> list[EffectiveDelivery]:
    """Return a partition's effective deliveries, oldest first, by all its deliveries in order.

    The latest delivery that was read whole counts, loaded or not, unless ``only_loaded`` do. A
    replay of several deliveries changes nothing of which days each of them holds for, and is none
    of them itself; nor is one that loaded nothing.
    """
    effective = select_effective(recorded, only_loaded=only_loaded)
    return [
        EffectiveDelivery(item, read_delivered_days(item), days, has_loaded(item, recorded))
        for item, days in zip(effective, find_own_days(effective), strict=True)
    ]


def find_own_days(deliveries: Sequence[RecordedDelivery]) -> list[Sequence[Days]]:
    """Return the days of each delivery of a range, oldest first, for which no later one holds."""
    ranges = [read_delivered_days(delivery) for delivery in deliveries]
    return [_exclude_covered(days, ranges[index:]) for index, days in enumerate(ranges, start=1)]


def read_delivered_days(delivery: RecordedDelivery) -> Days:
    """Return the days of a delivery of a range.

    Raises:
        ValueError: It is of no range.
    """
    days = find_range(delivery.scope)
    if days is None:
        raise ValueError(f"{delivery.group_id} is of no range")
    return days


def find_effective_groups(connection: Connection) -> set[str]:
    """Return the group_id of all deliveries that make up a partition with others.

    The deliveries of one partition are in memory at a time.
    """
    key = (deliveries.c.table_name, deliveries.c.partition_key)
    is_partial = or_(deliveries.c.scope != "{}", deliveries.c.write_disposition != "replace_scope")
    partial = select(*key).where(is_partial).distinct().subquery()
    columns = (deliveries.c[name] for name in RecordedDelivery.__dataclass_fields__)
    rows = connection.execute(
        select(*columns, deliveries.c.table_name)
        .join(partial, (partial.c.table_name == key[0]) & (partial.c.partition_key == key[1]))
        .order_by(*key)
        .execution_options(yield_per=MAX_BATCH_ROWS)
    )
    return {
        delivery.group_id
        for _, records in groupby(rows, lambda row: (row.table_name, row.partition_key))
        for delivery in select_effective(_sort_recorded(records))
    }


def has_loaded(each: RecordedDelivery, recorded: Sequence[RecordedDelivery]) -> bool:
    """Whether one of the ``recorded`` deliveries, or a replay of what was fetched, has loaded."""
    names = {each.group_id, each.fetched_group}
    return any(
        other.outcome == "landed" and {other.group_id, other.replay_of} & names
        for other in recorded
    )


def is_of_one(each: RecordedDelivery, recorded: Sequence[RecordedDelivery]) -> bool:
    """Whether it was read whole, and does not replay several deliveries."""
    return each.part_count > 0 and any(
        other.group_id == each.fetched_group
        and (other.scope, other.part_count) == (each.scope, each.part_count)
        for other in recorded
    )


def _exclude_covered(days: Days, covered: Iterable[Days]) -> list[Days]:
    """Return the parts of ``days`` that lie in none of the ``covered`` ranges."""
    left = [days]
    for each in covered:
        left = [part for one in left for part in _cut_hole(one, each)]
    return left


def _cut_hole(days: Days, hole: Days) -> list[Days]:
    before = Days(days.first, min(days.last, hole.first - A_DAY))
    after = Days(max(days.first, hole.last + A_DAY), days.last)
    return [each for each in (before, after) if each.first <= each.last]
