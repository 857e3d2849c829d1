"""The change feed of a table: each row that loads added, changed or removed, in order of commit.

The records of a table's chain are numbered under a lock that is held until the load commits. So
their order is that of the commits, and who has read up to a number has missed nothing below it;
neither times nor IDs have this order, as a load that began first may commit last.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Table,
    and_,
    case,
    func,
    select,
)

from orchestration_project.engine.contracts.chain import LOAD, START
from orchestration_project.engine.warehouse.chaining import parse_partition
from orchestration_project.engine.warehouse.frames import Scope, match_scope
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.tables.catalogue import table_with_history
from orchestration_project.tables.queries.changes import (
    ADDED,
    CHANGE,
    CHANGED,
    CHANGED_AT,
    REMOVED,
    rows_of_loads,
)
from orchestration_project.tables.queries.paging import page, read_key, write_key
from orchestration_project.tables.queries.personal import masked
from orchestration_project.tables.queries.relations import Part, Relation
from orchestration_project.tables.schema import key_names
from orchestration_project.tables.spine import deliveries, landings, load_chain

LATEST = "latest"
"""Instead of a cursor: the place after all changes of now."""

RESET, PRESENT = "reset", "present"
"""Changes that no load made: forget the rows of a partition; a row that it has now."""

MAX_CHANGES = 10_000
"""Changes of a page."""

MAX_BATCH_RECORDS = 500
"""Records of the chain that a page reads, at least 2: one that it knows, and a new one."""

HASH_DIGITS = 12
"""Hex digits of a record's hash in a cursor: a database that was restored has other records."""


class ChangesMissingError(ContractError):
    """The tables do not have as many changes of a load as it counted."""


class Position(NamedTuple):
    """Place in the feed of a table; positions are compared as tuples.

    Attributes:
        number: Record of the chain; 0: before the first.
        is_whole: Whether all changes of the record are before the place.
        key: Else the key of the last change before it; empty: none of a row.
        sha256: First digits of the record's hash.
    """

    number: int
    is_whole: bool
    key: tuple[Any, ...]
    sha256: str

    def __str__(self) -> str:
        """Return the cursor as a reader keeps it."""
        parts = [str(self.number), self.sha256, *([] if self.is_whole else [write_key(self.key)])]
        return ".".join(part for part in parts if part)


BEGIN = Position(0, is_whole=True, key=(), sha256="")


@dataclass(frozen=True)
class Change:
    """Change of a row.

    Attributes:
        position: Place after it, from which a reader goes on.
        change: added, changed, removed, reset (of a partition, whose present rows follow) or
            present (such a row).
        row: Values by column: those that a load wrote, or of a removed row its last ones; None: the
            change is of a partition.
        partition: The partition, as values by column.
        cause: Cause of the load: first, more, source, metadata or ours; None: no load.
        group_id: Delivery that was loaded; None: none was.
        known_from: Time from which the row was known; None: no row.
        known_to: Time from which it was not; None: it still was after the load.
        published_on: Publication day of the delivery; None: the source dates none.
    """

    position: Position
    change: str
    row: Mapping[str, Any] | None
    partition: Mapping[str, Any]
    cause: str | None
    group_id: str | None
    known_from: datetime | None
    known_to: datetime | None
    published_on: date | None

    def to_fields(self) -> dict[str, Any]:
        """Return it as JSON's values, with days, times and decimals as they are."""
        values = {name: getattr(self, name) for name in CHANGE_FIELDS}
        return {"cursor": str(self.position), **values}


CHANGE_FIELDS = [field.name for field in fields(Change) if field.name != "position"]


class ChangePage(NamedTuple):
    """Changes in their order.

    Attributes:
        changes: The changes.
        position: Place up to which all was read; it may be after that of the last change.
        is_more: Whether there may be more now.
    """

    changes: Sequence[Change]
    position: Position
    is_more: bool


def read_last_position(connection: Connection, name: str) -> Position:
    """Return the place after all changes of a table.

    Raises:
        ConfigurationError: The table is unknown or keeps no history.
    """
    is_of_table = load_chain.c.table_name == table_with_history(name).name
    last = select(func.max(load_chain.c.number)).where(is_of_table).scalar_subquery()
    columns = (load_chain.c.number, load_chain.c.record_sha256)
    head = connection.execute(select(*columns).where(is_of_table, load_chain.c.number == last))
    found = head.first()
    return _build_position(found.number, found.record_sha256) if found else BEGIN


def find_position(connection: Connection, name: str, written: str | None) -> Position:
    """Return the place that a cursor names, or `LATEST`; None: before the first change.

    Raises:
        ConfigurationError: The table is unknown or keeps no history, or the cursor is none of it.
    """
    if written == LATEST:
        return read_last_position(connection, name)
    return parse_position(name, written)


def parse_position(name: str, written: str | None) -> Position:
    """Return the place that a cursor names; None: before the first change.

    Raises:
        ConfigurationError: The table is unknown or keeps no history, or the cursor is none of it.
    """
    table = table_with_history(name)
    if written in (None, str(BEGIN)):
        return BEGIN
    number, sha256, key = (*str(written).split(".", 2), "", "")[:3]
    if not (number.isascii() and number.isdigit() and len(number) < 19 and sha256):
        raise ConfigurationError(
            "invalid cursor", expected="the cursor of a change, or of a page", found=str(written)
        )
    if not key:
        return Position(int(number), is_whole=True, key=(), sha256=sha256)
    columns = [table.c[column] for column in key_names(table)]
    values = () if key == write_key(()) else tuple(read_key(columns, key))
    return Position(int(number), is_whole=False, key=values, sha256=sha256)


def read_changes(
    connection: Connection,
    name: str,
    after: Position,
    *,
    limit: int = MAX_CHANGES,
    columns: Sequence[str] = (),
    is_masked: bool = True,
    record_limit: int = MAX_BATCH_RECORDS,
) -> ChangePage:
    """Return the changes of a table after a place, those of each load in the order of the key.

    A page ends before a load whose changes are refused.

    Args:
        connection: Reads one state of the database.
        name: A table with history.
        after: The place.
        limit: Maximum number of changes.
        columns: Columns of the rows, beside the key; empty: all but those of persons.
        is_masked: Whether personal values are masked.
        record_limit: Records of the chain that are read, at least 2.

    Raises:
        ConfigurationError: The table is unknown, keeps no history, or has rows but no chain; a
            column is unknown; or the place is not one of its chain: the database is another, or was
            restored.
        ChangesMissingError: The first load counted another number of changes than the tables have.
    """
    reader = _Reader(connection, table_with_history(name), columns, is_masked=is_masked)
    remaining, is_last = reader.read_records(after, record_limit)
    changes: list[Change] = []
    position = after
    while remaining and len(changes) < limit:
        try:
            batch = _take_small_loads(remaining, limit - len(changes)) if position.is_whole else []
            if batch:
                changes += reader.read_loads(batch)
                position = batch[-1].end
            else:
                batch = remaining[:1]
                found, position = reader.read_record(batch[0], position, limit - len(changes))
                changes += found
        except ChangesMissingError:
            if not changes:
                raise
            return ChangePage(changes, changes[-1].position, is_more=True)
        if not position.is_whole:
            return ChangePage(changes, position, is_more=True)
        del remaining[: len(batch)]
    return ChangePage(changes, position, bool(remaining) or not is_last)


class _Record(NamedTuple):
    """Record of the chain, with the figures of its load."""

    number: int
    kind: str
    group_id: str | None
    partition_key: str | None
    partition: str | None
    amends: int | None
    payload: str | None
    sha256: str
    recorded_at: datetime
    cause: str | None
    added: int | None
    changed: int | None
    removed: int | None
    published_on: date | None

    @property
    def counts(self) -> Mapping[str, int] | None:
        """Numbers of rows by change, as the load counted them; None: it recorded none."""
        numbers = (self.added, self.changed, self.removed)
        names = (ADDED, CHANGED, REMOVED)
        return {
            name: number for name, number in zip(names, numbers, strict=True) if number is not None
        } or None

    @property
    def change_count(self) -> int | None:
        """Number of rows that the load changed; None: it recorded none."""
        return None if self.counts is None else sum(self.counts.values())

    @property
    def end(self) -> Position:
        return _build_position(self.number, self.sha256)

    @property
    def resets(self) -> bool:
        """Whether rows changed otherwise than by a load: before the chain, or by an amendment."""
        if self.kind == START:
            return json.loads(self.payload or "")["unchained"]["rows"] > 0
        return self.amends is not None


def _describe_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts.get(name, 0)} {name}" for name in (ADDED, CHANGED, REMOVED))


def _build_position(number: int, record_sha256: str) -> Position:
    return Position(number, is_whole=True, key=(), sha256=record_sha256[:HASH_DIGITS])


def _take_small_loads(records: Sequence[_Record], limit: int) -> list[_Record]:
    """Return the first records, as many as are loads of at most ``limit`` changes together."""
    taken: list[_Record] = []
    for record in records:
        if record.resets or (record.kind == LOAD and record.change_count is None):
            break
        limit -= record.change_count or 0
        if limit < 0:
            break
        taken.append(record)
    return taken


class _Reader:
    """Reads the changes of a table's records."""

    def __init__(
        self, connection: Connection, table: Table, columns: Sequence[str], *, is_masked: bool
    ) -> None:
        self._connection = connection
        self._table = table
        self._is_masked = is_masked
        self._key = key_names(table)
        shown = Relation(table, [Part(table)]).columns(columns)
        self._columns = list(dict.fromkeys([*self._key, *shown]))

    def read_records(self, after: Position, limit: int) -> tuple[list[_Record], bool]:
        """Return the records from a place on, and whether the last of all is among them.

        Raises:
            ConfigurationError: The place is not one of the table's chain; or the table has rows and
                lacks a chain.
        """
        rows = self._connection.execute(_select_records(self._table, after.number, limit))
        records = [_Record(*row) for row in rows]
        is_last = len(records) < limit
        if after.number == 0:
            if not records:
                self._require_no_rows()
            return records, is_last
        if not records or (records[0].number, records[0].end.sha256) != (
            after.number,
            after.sha256,
        ):
            raise ConfigurationError(
                f"invalid cursor: it names a load that {self._table.name} does not have",
                expected="a cursor of this database",
                remedy="if the database was restored or replaced, start again without a cursor",
            )
        return records[after.is_whole :], is_last

    def _require_no_rows(self) -> None:
        """Refuse a table without a chain whose rows are of before there were chains."""
        row = select(self._table.c[self._key[0]]).limit(1)
        if self._connection.execute(row).first() is not None:
            raise ConfigurationError(
                f"no changes of {self._table.name} are recorded: its rows are older than its chain",
                expected="a load since the chain of loads was introduced",
                remedy="load a partition again; then its feed begins with a reset and all rows",
            )

    def read_loads(self, records: Sequence[_Record]) -> Iterator[Change]:
        """Return the changes of loads, whose records follow each other."""
        loads = [record for record in records if record.kind == LOAD and record.change_count]
        by_partition = sorted(loads, key=lambda record: record.partition or "")
        changes: dict[int, list[Change]] = {}
        for _, group in groupby(by_partition, key=lambda record: record.partition):
            by_time = {record.recorded_at: record for record in group}
            for row in self._rows_of_loads(list(by_time.values()), None, None):
                record = by_time[row[CHANGED_AT]]
                changes.setdefault(record.number, []).append(self._change_of(record, row))
        for record in loads:
            found = changes.get(record.number, [])
            self._require_counts(record, Counter(change.change for change in found))
            if found:
                found[-1] = replace(found[-1], position=record.end)
            yield from found

    def read_record(
        self, record: _Record, position: Position, limit: int
    ) -> tuple[Sequence[Change], Position]:
        """Return changes of one record after a place in it, and the place after them."""
        is_inside = position.number == record.number
        key = write_key(position.key) if is_inside and position.key else None
        changes: list[Change] = []
        if record.resets:
            if self._is_repeated(record):
                return changes, record.end
            if not is_inside:
                changes.append(self._reset(record))
            rows = self._present_rows(record, key, limit)
        elif record.kind == LOAD:
            rows = self._rows_of_loads([record], key, limit + 1)
            if not is_inside:
                is_all = len(rows) <= limit
                found = Counter(row[CHANGE] for row in rows)
                self._require_counts(record, found if is_all else self._count_changes(record))
        else:
            return changes, record.end
        changes += [self._change_of(record, row) for row in rows]
        if len(changes) > limit:
            return changes[:limit], changes[limit - 1].position
        if changes:
            changes[-1] = replace(changes[-1], position=record.end)
        return changes, record.end

    def _require_counts(self, record: _Record, found: Mapping[str, int]) -> None:
        """Refuse changes of a load that are not as many as it counted.

        An erasure or retention removes some; its record amends that of the load.

        Raises:
            ChangesMissingError: They differ in number.
        """
        counts = record.counts
        if counts is None or all(found.get(name, 0) == count for name, count in counts.items()):
            return
        is_of_load = (
            load_chain.c.table_name == self._table.name,
            load_chain.c.partition_key == record.partition_key,
            load_chain.c.amends == record.number,
        )
        amendment = select(load_chain.c.number).where(*is_of_load).limit(1)
        if self._connection.execute(amendment).first() is None:
            raise ChangesMissingError(
                f"{self._table.name} and its history lack changes that a load counted",
                expected=_describe_counts(counts),
                found=_describe_counts(found),
                remedy="find the altered rows by `orchestrate verify --chain`; restore a backup",
                delivery=record.group_id,
                record=record.number,
            )

    def _count_changes(self, record: _Record) -> Mapping[str, int]:
        rows = self._relation_of_loads([record]).select([*self._key, CHANGE], ()).order_by(None)
        changes = rows.subquery()
        counts = select(changes.c[CHANGE], func.count().label("row_count")).group_by(
            changes.c[CHANGE]
        )
        return {row.change: row.row_count for row in self._connection.execute(counts)}

    def _is_repeated(self, record: _Record) -> bool:
        """Whether an earlier record of the same transaction resets the partition.

        The last record of a transaction is signed, so no record between the two is.
        """
        is_earlier = (
            load_chain.c.table_name == self._table.name,
            load_chain.c.number < record.number,
        )
        is_signed = load_chain.c.signature.is_not(None)
        last_signed = select(func.max(load_chain.c.number)).where(*is_earlier, is_signed)
        earlier = select(load_chain.c.number).where(
            *is_earlier,
            load_chain.c.number > func.coalesce(last_signed.scalar_subquery(), 0),
            load_chain.c.partition_key == record.partition_key,
            load_chain.c.amends.is_not(None),
        )
        return self._connection.execute(earlier.limit(1)).first() is not None

    def _scope_of(self, record: _Record) -> Scope:
        return parse_partition(self._table, record.partition or "{}")

    def _present_rows(
        self, record: _Record, key: str | None, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        is_of_partition = match_scope(self._table, self._scope_of(record))
        relation = Relation(self._table, [Part(self._table, [is_of_partition])])
        return self._rows(relation, [*self._columns, "known_from"], key, limit + 1)

    def _rows_of_loads(
        self, records: Sequence[_Record], key: str | None, limit: int | None
    ) -> Sequence[Mapping[str, Any]]:
        names = [*self._columns, "known_from", CHANGE, CHANGED_AT]
        return self._rows(self._relation_of_loads(records), names, key, limit)

    def _relation_of_loads(self, records: Sequence[_Record]) -> Relation:
        """Return the changes of loads of one partition."""
        scope = self._scope_of(records[0])

        def is_of_partition(rows: FromClause) -> ColumnElement[bool]:
            return match_scope(rows, scope)

        times = [record.recorded_at for record in records]
        return rows_of_loads(self._table, is_of_partition, times)

    def _rows(
        self, relation: Relation, names: Sequence[str], key: str | None, limit: int | None
    ) -> Sequence[Mapping[str, Any]]:
        chosen = masked(relation) if self._is_masked else relation
        names = list(dict.fromkeys(names))
        if limit is None:  # sorted here: a database that sorts goes through all rows by their key
            query = chosen.select(names, ()).order_by(None)
        else:
            query = page(chosen, names, (), cursor=key, limit=limit)
        rows = [dict(row) for row in self._connection.execute(query).mappings()]
        if limit is None:
            rows.sort(key=lambda row: tuple(row[name] for name in self._key))
        return rows

    def _change_of(self, record: _Record, row: Mapping[str, Any]) -> Change:
        change = row.get(CHANGE, PRESENT)
        return Change(
            position=Position(
                record.number,
                is_whole=False,
                key=tuple(row[name] for name in self._key),
                sha256=record.end.sha256,
            ),
            change=change,
            row={name: row[name] for name in self._columns},
            partition=json.loads(record.partition or "{}"),
            cause=record.cause,
            group_id=record.group_id,
            known_from=row["known_from"],
            known_to=row[CHANGED_AT] if change == REMOVED else None,
            published_on=record.published_on,
        )

    def _reset(self, record: _Record) -> Change:
        return Change(
            position=Position(record.number, is_whole=False, key=(), sha256=record.end.sha256),
            change=RESET,
            row=None,
            partition=json.loads(record.partition or "{}"),
            cause=None,
            group_id=None,
            known_from=None,
            known_to=None,
            published_on=None,
        )


def _select_records(table: Table, first: int, limit: int) -> Select[Any]:
    """Return the records of a table's chain from a number on, with the figures of their loads."""
    is_load = and_(load_chain.c.kind == LOAD, load_chain.c.group_id == landings.c.group_id)
    is_delivery = and_(load_chain.c.kind == LOAD, load_chain.c.group_id == deliveries.c.group_id)
    names = ("number", "kind", "group_id", "partition_key", "partition", "amends")
    payload = case((load_chain.c.kind == START, load_chain.c.payload))
    joined = load_chain.outerjoin(
        landings, and_(is_load, landings.c.table_name == load_chain.c.table_name)
    ).outerjoin(deliveries, and_(is_delivery, deliveries.c.table_name == load_chain.c.table_name))
    return (
        select(
            *(load_chain.c[name] for name in names),
            payload,
            load_chain.c.record_sha256,
            load_chain.c.recorded_at,
            landings.c.change_cause,
            landings.c.rows_added,
            landings.c.rows_changed,
            landings.c.rows_removed,
            deliveries.c.published_on,
        )
        .select_from(joined)
        .where(load_chain.c.table_name == table.name, load_chain.c.number >= first)
        .order_by(load_chain.c.number)
        .limit(limit)
    )
