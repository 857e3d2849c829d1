"""Records of the chain, written in the transaction of the load.

Writer and verifier read recorded evidence by the same functions, so what is hashed is what is
stored. Rows are hashed by contract columns and public names, as `contracts.chain` says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, insert, select, update

from orchestration_project.engine.contracts import lazy_polars as pl
from orchestration_project.engine.contracts.chain import (
    COLUMNS,
    GROUP,
    START,
    ChainHead,
    ChainKey,
    ChainRecord,
    format_payload,
    generate_salt,
    hash_groups,
    hash_payload,
    hash_rows,
    hash_subject,
    hash_with_salt,
)
from orchestration_project.engine.contracts.key_ranges import Days, KeyRange
from orchestration_project.engine.contracts.values import BATCH_INDEX, derive_schema
from orchestration_project.engine.warehouse.delivery import (
    Publication,
    ValidatedBatch,
    capture_id,
    group_id,
)
from orchestration_project.engine.warehouse.frames import (
    MAX_BATCH_KEYS,
    Scope,
    insert_absent,
    iterate_chunks,
)
from orchestration_project.engine.warehouse.target import WriteTarget
from orchestration_project.tables.schema import ENDED_ON, HISTORY, IS_LOAD_DAY, key_names
from orchestration_project.tables.spine import (
    audits,
    captures,
    chain_heads,
    deliveries,
    landings,
    load_chain,
    rejects,
)

CHAIN_KEY = "chain_key"
"""Execution option of a writing connection: the key that signs; without it nothing is recorded."""

EVIDENCE = (deliveries, landings, audits, captures)
"""Tables with rows of a delivery, by ``group_id``."""

NOT_HASHED = ("known_from", "known_to", ENDED_ON, IS_LOAD_DAY)
"""Columns of rows that a record states once for all of them."""


RowsDigest = tuple[int, str, str]
"""Number of rows, their SHA-256 (hex) without salt, and their range of keys, JSON; blank: all."""

ChangeDigests = tuple[Sequence[RowsDigest], Sequence[RowsDigest]]
"""Digests of the rows that a load wrote, and of those that it ended."""

NO_CHANGE: ChangeDigests = ((), ())


def find_chain_key(connection: Connection) -> ChainKey | None:
    """Return the key with which a connection signs; None: it records no chain."""
    return connection.get_execution_options().get(CHAIN_KEY)


def list_hashed_columns(table: Table) -> dict[str, list[str]]:
    """Return the columns that records of a table hash, by table or part of the rows."""
    history: Table | None = table.info.get(HISTORY)
    named = {
        "written": [name for name in derive_schema(table) if name not in NOT_HASHED],
        "ended": []
        if history is None
        else [name for name in derive_schema(history) if name not in NOT_HASHED] + ["known_from"],
    }
    return named | {each.name: list(derive_schema(each)) for each in (*EVIDENCE, rejects)}


def hash_changes(
    connection: Connection,
    target: WriteTarget,
    written: pl.DataFrame,
    ended: pl.DataFrame | None,
    batch_count: int,
    condition: Scope | None = None,
) -> list[ChangeDigests]:
    """Return the digests of the rows that each of several deliveries changes.

    Args:
        connection: The transaction; without a key of the chain nothing is computed.
        target: Target of one of the deliveries.
        written: New rows, with `BATCH_INDEX`.
        ended: Earlier rows as the history stores them, with `BATCH_INDEX`; None: no earlier rows.
        batch_count: Number of deliveries.
        condition: Range of keys that the rows are of; None: all.
    """
    if find_chain_key(connection) is None:
        return [NO_CHANGE] * batch_count
    columns, key = list_hashed_columns(target.table), key_names(target.table)
    text = "" if not condition else format_range(condition)
    return list(
        zip(
            _hash_batches(written, columns["written"], key, batch_count, text),
            _hash_batches(ended, columns["ended"], key, batch_count, text),
            strict=True,
        )
    )


def _hash_batches(
    rows: pl.DataFrame | None,
    columns: Sequence[str],
    key: Sequence[str],
    count: int,
    condition: str,
) -> list[list[RowsDigest]]:
    if rows is None or rows.is_empty():
        return [[] for _ in range(count)]
    numbered = rows.select(*columns, pl.col(BATCH_INDEX).alias(GROUP))
    lengths = dict(numbered.group_by(GROUP).len().iter_rows())
    hashes = hash_groups(numbered, key, count)
    return [
        [(lengths[index], sha256, condition)] if index in lengths else []
        for index, sha256 in enumerate(hashes)
    ]


def join_digests(digests: Sequence[ChangeDigests]) -> ChangeDigests:
    """Return the digests of rows in several ranges."""
    return (
        [part for written, _ in digests for part in written],
        [part for _, ended in digests for part in ended],
    )


def format_range(condition: Scope) -> str:
    """Return a range of keys as JSON."""
    return format_payload(
        {
            name: {"first": value.first, "last": value.last}
            if isinstance(value, Days)
            else {"after": value.after, "until": value.until}
            if isinstance(value, KeyRange)
            else value
            for name, value in condition.items()
        }
    )


def parse_range(text: str) -> Scope:
    """Return a range of keys that was written as JSON; of a blank text, no condition."""

    def parsed(value: Any) -> object:
        if isinstance(value, dict) and "first" in value:
            return Days(date.fromisoformat(value["first"]), date.fromisoformat(value["last"]))
        if isinstance(value, dict):
            return KeyRange(value["after"], value["until"])
        return tuple(value) if isinstance(value, list) else value

    return {name: parsed(value) for name, value in json.loads(text).items()} if text else {}


def format_partition(partition: Scope) -> str:
    """Return a partition as JSON."""
    return format_payload(partition)


def parse_partition(table: Table, text: str) -> Scope:
    """Return a partition as a condition on the columns of its table."""

    def typed(name: str, value: object) -> object:
        if isinstance(value, list):
            return tuple(typed(name, one) for one in value)
        is_date = derive_schema(table, [name])[name] == pl.Date
        return date.fromisoformat(str(value)) if is_date else value

    return {name: typed(name, value) for name, value in json.loads(text).items()}


# -- evidence ------------------------------------------------------------------------------------


Evidence = tuple[Mapping[str, Mapping[str, str]], Mapping[int, str]]
"""Hashes of the recorded rows of deliveries, by table and group, and of rejects by capture."""


def read_evidence(
    connection: Connection,
    table: Table,
    groups: Sequence[str],
    capture_ids: Sequence[int],
    columns: Mapping[str, Sequence[str]],
) -> Evidence:
    """Return the hashes of the recorded rows of deliveries.

    Args:
        connection: Reads.
        table: Their table.
        groups: The deliveries.
        capture_ids: Captures whose rejects are hashed.
        columns: Columns that are hashed, by table.
    """
    by_group: dict[str, dict[str, str]] = {}
    for recorded in EVIDENCE:
        is_own = [recorded.c.table_name == table.name] if "table_name" in recorded.c else []
        rows = _read_hashed(connection, recorded, "group_id", groups, columns, is_own)
        by_group[recorded.name] = {group: hash_rows(rows.get(group, [])) for group in groups}
    is_own = [rejects.c.table_name == table.name]
    rejected = _read_hashed(connection, rejects, "capture_id", capture_ids, columns, is_own)
    return by_group, {one: hash_rows(rows) for one, rows in rejected.items()}


def _read_hashed(
    connection: Connection,
    recorded: Table,
    name: str,
    values: Sequence[Any],
    columns: Mapping[str, Sequence[str]],
    conditions: Sequence[ColumnElement[bool]],
) -> dict[Any, list[Sequence[object]]]:
    """Return the hashed columns of rows by the value of a column, in the order of their key."""
    hashed = [recorded.c[one] for one in columns[recorded.name]]
    order = [recorded.c[one] for one in key_names(recorded)]
    rows: dict[Any, list[Sequence[object]]] = {}
    for some in iterate_chunks(values):
        is_named = recorded.c[name].in_(some)
        statement = select(recorded.c[name], *hashed).where(is_named, *conditions).order_by(*order)
        for value, *row in connection.execute(statement):
            rows.setdefault(value, []).append(row)
    return rows


# -- writing -------------------------------------------------------------------------------------


def append_to_chain(
    connection: Connection,
    batches: Sequence[ValidatedBatch],
    kind: str,
    at: datetime,
    digests: Sequence[ChangeDigests] = (),
    publications: Sequence[Publication] = (),
) -> None:
    """Add a record for each delivery of a table to its chain, after all of it is recorded.

    Args:
        connection: The transaction; without a key of the chain nothing is recorded.
        batches: Deliveries of one table.
        kind: load, quarantine or refusal.
        at: ``known_from`` of the transaction.
        digests: What each changed, in the order of the deliveries; empty: nothing.
        publications: Their publications; empty: none.
    """
    key = find_chain_key(connection)
    if key is None or not batches:
        return
    table = batches[0].target.table
    columns = list_hashed_columns(table)
    groups = [group_id(batch.target) for batch in batches]
    rejected = [_find_rejecting_captures(batch) for batch in batches]
    recorded, rejects_by_capture = read_evidence(
        connection, table, groups, sorted({one for some in rejected for one in some}), columns
    )
    drafts = [
        Draft(
            kind,
            group,
            batch.target.partition_key,
            format_partition(batch.target.partition),
            state=build_recorded_state(
                {name: hashes[group] for name, hashes in recorded.items()},
                {one: rejects_by_capture[one] for one in ids if one in rejects_by_capture},
                change,
                (publication.day, publication.is_load_day),
            ),
        )
        for batch, group, ids, change, publication in zip(
            batches,
            groups,
            rejected,
            digests or [NO_CHANGE] * len(batches),
            publications or [Publication()] * len(batches),
            strict=True,
        )
    ]
    ChainTail(connection, table, key, at).append(drafts)


def _find_rejecting_captures(batch: ValidatedBatch) -> Sequence[int]:
    rejected = batch.validated.rejects
    if rejected.is_empty():
        return []
    if "capture_id" in rejected.columns:
        return rejected["capture_id"].unique().to_list()
    group = group_id(batch.target)
    return [capture_id(group, part) for part in rejected["part_number"].unique().to_list()]


RecordedState = Callable[[str], dict[str, object]]
"""Returns the fields of a payload with the hashes of a delivery, each with a given salt."""


def build_recorded_state(
    evidence: Mapping[str, str],
    rejects_by_capture: Mapping[int, str],
    change: ChangeDigests,
    ending: tuple[date | None, bool | None],
) -> RecordedState:
    """Return the state of a delivery that a record hashes.

    Args:
        evidence: Hash of its recorded rows by table.
        rejects_by_capture: Hash of its rejects.
        change: Rows that it wrote and ended.
        ending: Publication day of the rows that it ended, and whether that is the day of the load.
    """
    written, ended = change

    def fields(salt: str) -> dict[str, object]:
        return {
            "evidence": {name: hash_with_salt(salt, sha256) for name, sha256 in evidence.items()},
            "rejects": {
                str(capture): hash_with_salt(salt, sha256)
                for capture, sha256 in rejects_by_capture.items()
            },
            "written": _build_salted_parts(salt, written),
            "ended": _build_salted_parts(salt, ended),
            "ending": ending,
        }

    return fields


def _build_salted_parts(salt: str, parts: Sequence[RowsDigest]) -> list[list[object]]:
    return [
        [row_count, hash_with_salt(salt, sha256), condition]
        for row_count, sha256, condition in parts
    ]


@dataclass(frozen=True)
class Draft:
    """Record before it has a number."""

    kind: str
    group_id: str | None = None
    partition_key: str | None = None
    partition: str | None = None
    amends: int | None = None
    state: RecordedState | None = None
    fields: Mapping[str, object] = field(default_factory=dict)


class ChainTail:
    """End of a table's chain, locked until the transaction ends."""

    def __init__(self, connection: Connection, table: Table, key: ChainKey, at: datetime) -> None:
        self.connection = connection
        self.table = table
        self.key = key
        self.at = at

    def append(self, drafts: Sequence[Draft]) -> None:
        """Append records, and one of the columns where these are new; the last one is signed."""
        number, previous, columns_number, columns_sha256 = self._lock()
        columns = list_hashed_columns(self.table)
        sha256 = hash_payload(format_payload(columns))
        if number == 0:
            drafts = [Draft(START, fields=self._unchained()), *drafts]
        if sha256 != columns_sha256:
            name = 1 if number == 0 else 0
            named = Draft(COLUMNS, fields={"columns": columns})
            drafts = [*drafts[:name], named, *drafts[name:]]
        rows: list[dict[str, object]] = []
        for draft in drafts:
            number += 1
            if draft.kind == COLUMNS:
                columns_number = number
            row = self._row(draft, number, previous, columns_number)
            previous = str(row["record_sha256"])
            rows.append(row)
        if not rows:
            return
        rows[-1] |= {"signature": self.key.sign(previous), "public_key": self.key.public_key}
        self.connection.execute(insert(load_chain), rows)
        head = {
            "number": number,
            "record_sha256": previous,
            "columns_number": columns_number,
            "columns_sha256": sha256,
        }
        condition = chain_heads.c.table_name == self.table.name
        self.connection.execute(update(chain_heads).where(condition).values(head))

    def _row(
        self, draft: Draft, number: int, previous: str, columns_number: int
    ) -> dict[str, object]:
        salt, at = generate_salt(), self.at.astimezone(UTC)
        payload = format_payload(
            {
                "table": self.table.name,
                "number": number,
                "kind": draft.kind,
                "amends": draft.amends,
                "at": at,
                "previous": previous,
                "columns_number": columns_number,
                "subject": hash_subject(salt, draft.group_id, draft.partition_key, draft.partition),
                **draft.fields,
                **(draft.state(salt) if draft.state else {}),
            }
        )
        return {
            "table_name": self.table.name,
            "number": number,
            "kind": draft.kind,
            "group_id": draft.group_id,
            "partition_key": draft.partition_key,
            "partition": draft.partition,
            "amends": draft.amends,
            "payload": payload,
            "salt": salt,
            "record_sha256": hash_payload(payload),
            "signature": None,
            "public_key": None,
            "recorded_at": at,
        }

    def _lock(self) -> tuple[int, str, int, str]:
        """Lock the head of the chain, and return it."""
        none = {"number": 0, "record_sha256": "", "columns_number": 0, "columns_sha256": ""}
        columns = [chain_heads.c[name] for name in none]
        condition = chain_heads.c.table_name == self.table.name
        statement = select(*columns).where(condition).with_for_update()
        head = self.connection.execute(statement).first()
        if head is None:
            insert_absent(self.connection, chain_heads, [{"table_name": self.table.name, **none}])
            head = self.connection.execute(statement).one()
        number, record_sha256, columns_number, columns_sha256 = tuple(head)
        return number, record_sha256, columns_number, columns_sha256

    def _unchained(self) -> Mapping[str, object]:
        """Count the rows and deliveries from before the chain."""
        history: Table | None = self.table.info.get(HISTORY)
        counted = self.connection.execute
        rows = ended = 0
        known_from = self.table.c.get("known_from")
        if known_from is not None:  # otherwise no delivery writes its rows: it has refusals alone
            is_earlier = known_from != self.at
            rows = counted(
                select(func.count()).select_from(self.table).where(is_earlier)
            ).scalar_one()
        if history is not None:
            is_before = history.c.known_to != self.at
            ended = counted(select(func.count()).select_from(history).where(is_before)).scalar_one()
            condition = history.c.known_to == self.at
            rows += counted(select(func.count()).select_from(history).where(condition)).scalar_one()
        groups = select(deliveries.c.group_id).where(
            deliveries.c.table_name == self.table.name, deliveries.c.recorded_at != self.at
        )
        count = counted(select(func.count()).select_from(groups.subquery())).scalar_one()
        return {"unchained": {"rows": rows + ended, "ended": ended, "deliveries": count}}


def read_chain_heads(connection: Connection) -> dict[str, ChainHead]:
    """Return the newest record of each table's chain."""
    columns = (chain_heads.c.table_name, chain_heads.c.number, chain_heads.c.record_sha256)
    return {
        name: ChainHead(number, sha256)
        for name, number, sha256 in connection.execute(select(*columns))
    }


def read_chain(
    connection: Connection, table_name: str, *conditions: ColumnElement[bool]
) -> Iterator[ChainRecord]:
    """Yield the records of a table's chain, by number."""
    columns = [load_chain.c[name] for name in ChainRecord.__dataclass_fields__]
    statement = (
        select(*columns)
        .where(load_chain.c.table_name == table_name, *conditions)
        .order_by(load_chain.c.number)
        .execution_options(yield_per=MAX_BATCH_KEYS)
    )
    for row in connection.execute(statement):
        yield ChainRecord(*row)
