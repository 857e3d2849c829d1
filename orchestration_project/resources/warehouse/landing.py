"""One delivery into one table, in one transaction, with what it replaced kept as history.

A table's coarsest scope (its partition) has a row in `fences`: the lock, and a token that counts
deliveries. Who wants to land reads the token first, fetches, and must find it unchanged under
the lock: a process that was paused cannot commit over its successor.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
from sqlalchemy import Connection, Table, delete, insert, select, update

from orchestration_project.contracts import Checked, SourceName, content_sha256
from orchestration_project.errors import ContractError, TransientError
from orchestration_project.resources.captures import Capture
from orchestration_project.resources.warehouse.frames import (
    Scope,
    frame_of,
    insert_absent,
    insert_frame,
    read_scope,
    within,
)
from orchestration_project.tables.kinds import key_names, schema_of
from orchestration_project.tables.spine import audits, blobs, captures, fences, landings, rejects

BOOKKEEPING = ("capture_id", "known_from")
"""Columns that say where a row came from; a difference in them alone is none."""


class SupersededError(TransientError):
    """Another process recorded a delivery of the same partition first."""


class HeldBackError(ContractError):
    """An audit failed: the delivery is recorded with its evidence, and not landed."""


@dataclass(frozen=True)
class ScopeState:
    """What is landed of a partition: the fence's token, and the latest landing if there is one."""

    token: int
    source: str | None = None
    source_version: str | None = None
    content_sha256: str | None = None
    rule_version: str | None = None
    scope: str | None = None


@dataclass(frozen=True)
class Delivery:
    """What a source gave for a partition.

    Attributes:
        source: Where from.
        dataset: The source's name of it.
        source_version: What tells this state of the source from another.
        record_total: How many rows the source promised, if it did.
        scope: Further conditions, where the delivery is complete for a part of the partition.
        captures: What makes it up, in order.
        discarded: What else was fetched for it and turned out unusable.
    """

    source: SourceName
    dataset: str
    source_version: str
    record_total: int | None
    scope: Scope
    captures: Sequence[Capture]
    discarded: Sequence[Capture] = ()

    @property
    def all_captures(self) -> Sequence[Capture]:
        """Everything that was fetched; a capture's place here is its part number."""
        return [*self.captures, *self.discarded]


Derive = Mapping[Table, Callable[[pl.DataFrame], pl.DataFrame]]
"""Derived tables, and what makes their rows of a partition from all its rows."""


@dataclass(frozen=True)
class Order:
    """Where and how a delivery is to be landed.

    Attributes:
        table: The table, which has a history.
        history: That history.
        partition_key: Dagster's key, which is the fence's.
        partition: The same as a condition on the table's columns.
        token: The fence's token before anything was fetched.
        metadata_columns: Columns whose change alone is no restatement.
        rule_version: Version of the rules that made the rows.
        run_id: Dagster's run.
        derive: What is derived of the partition.
    """

    table: Table
    history: Table
    partition_key: str
    partition: Scope
    token: int
    metadata_columns: Sequence[str]
    rule_version: str
    run_id: str
    derive: Derive


@dataclass(frozen=True)
class Landed:
    """What a landing did; row counts are of the landed table, ``seconds`` without the commit."""

    group_id: str
    change_cause: str
    rows_added: int
    rows_changed: int
    rows_removed: int
    rows_unchanged: int
    derived_seconds: Mapping[str, float]
    seconds: float
    known_from: datetime


@dataclass(frozen=True)
class _Difference:
    """Rows to write with their new bookkeeping, and rows to move to the history."""

    rows: pl.DataFrame
    replaced: pl.DataFrame
    added: int
    changed: int
    metadata_changed: int
    removed: int
    unchanged: int

    @property
    def is_any(self) -> bool:
        """Whether anything is to be written."""
        return bool(self.added or len(self.replaced))


def group_id(order: Order) -> str:
    """Return the name of the delivery that follows ``order.token`` deliveries."""
    return f"{order.table.name}:{order.partition_key}#{order.token + 1}"


def capture_id(group: str, part_number: int) -> int:
    """Return the first 63 bits of the SHA-256 of group and part."""
    digest = hashlib.sha256(f"{group}/{part_number}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def read_state(connection: Connection, table: Table, partition_key: str) -> ScopeState:
    """Return the token and the latest landing of a partition."""
    token = connection.execute(
        select(fences.c.token).where(
            fences.c.table_name == table.name, fences.c.scope_key == partition_key
        )
    ).scalar()
    latest = connection.execute(
        select(
            landings.c.source,
            landings.c.source_version,
            landings.c.content_sha256,
            landings.c.rule_version,
            landings.c.scope,
        )
        .where(landings.c.table_name == table.name, landings.c.partition_key == partition_key)
        .order_by(landings.c.landed_at.desc())
        .limit(1)
    ).first()
    return ScopeState(token or 0, *(latest or ()))


def take_fence(
    connection: Connection, order: Order, now: datetime, source_version: str | None
) -> datetime:
    """Lock the partition, move its token on, and return the next ``known_from``.

    ``source_version`` is the delivery's, None for one that could not be audited.

    Raises:
        SupersededError: The token is not the one of the order any more.
    """
    at = {"table_name": order.table.name, "scope_key": order.partition_key}
    epoch = datetime.fromtimestamp(0, tz=now.tzinfo)
    insert_absent(
        connection, fences, [{**at, "token": 0, "known_from": epoch, "source_version": None}]
    )
    fence = connection.execute(
        select(fences.c.token, fences.c.known_from).where(within(fences, at)).with_for_update()
    ).one()
    if fence.token != order.token:
        raise SupersededError(
            "another run delivered the same partition first",
            expected=f"delivery {order.token + 1}",
            found=f"{fence.token} deliveries",
            remedy="nothing: the partition is looked at once more",
            partition=order.partition_key,
        )
    known_from = max(now, fence.known_from + timedelta(microseconds=1))
    connection.execute(
        update(fences)
        .where(within(fences, at))
        .values(token=order.token + 1, known_from=known_from, source_version=source_version)
    )
    return known_from


def land(
    connection: Connection, order: Order, delivery: Delivery, checked: Checked, known_from: datetime
) -> Landed:
    """Bring the checked rows in, move what they replace to the history, derive, and record it."""
    started = time.monotonic()
    group = group_id(order)
    scope = {**order.partition, **delivery.scope}
    incoming = _with_captures(checked.rows, order.table, group, known_from)
    before = read_state(connection, order.table, order.partition_key)
    content = content_sha256(incoming.drop(BOOKKEEPING))
    is_same = (before.content_sha256, before.rule_version, before.scope) == (
        content,
        order.rule_version,
        _shown(scope),
    )
    change = _no_difference(incoming) if is_same else _write(connection, order, scope, incoming)
    derived: dict[str, float] = {}
    if change.is_any or before.rule_version != order.rule_version:
        _keep_history(
            connection, order, change, known_from, _cause_of_value(before, delivery, order)
        )
        derived = _derive(connection, order, scope, change.rows)
    landed = Landed(
        group,
        _cause(before, delivery, order, change),
        change.added,
        change.changed,
        change.removed,
        change.unchanged,
        derived,
        time.monotonic() - started,
        known_from,
    )
    record_evidence(connection, order, delivery, checked, known_from)
    _record_landing(connection, order, delivery, checked, landed, content, _shown(scope))
    return landed


def _with_captures(
    rows: pl.DataFrame, table: Table, group: str, known_from: datetime
) -> pl.DataFrame:
    return rows.with_columns(
        capture_id=_capture_ids(rows, group),
        known_from=pl.lit(known_from, pl.Datetime("us", "UTC")),
    ).select(list(schema_of(table)))


def _capture_ids(rows: pl.DataFrame, group: str) -> pl.Series:
    ids = {part: capture_id(group, part) for part in rows["part_number"].unique()}
    return rows["part_number"].replace_strict(ids, return_dtype=pl.Int64)


def _no_difference(incoming: pl.DataFrame) -> _Difference:
    return _Difference(incoming, incoming.clear(), 0, 0, 0, 0, len(incoming))


def _write(
    connection: Connection, order: Order, scope: Scope, incoming: pl.DataFrame
) -> _Difference:
    current = read_scope(connection, order.table, scope)
    change = difference(order.table, order.metadata_columns, current, incoming)
    if change.is_any:
        if not current.is_empty():
            connection.execute(delete(order.table).where(within(order.table, scope)))
        insert_frame(connection, order.table, change.rows)
    return change


def difference(
    table: Table, metadata_columns: Sequence[str], current: pl.DataFrame, incoming: pl.DataFrame
) -> _Difference:
    """Compare two states of one scope by key.

    Unchanged rows keep their bookkeeping. ``replaced`` holds the current rows that changed or
    went, with ``is_metadata``: only metadata columns differ.
    """
    if current.is_empty():
        return _Difference(incoming, current, len(incoming), 0, 0, 0, 0)
    key = key_names(table)
    values = [name for name in incoming.columns if name not in (*key, *BOOKKEEPING)]
    both = incoming.join(current, on=key, how="left", suffix="_now", maintain_order="left")
    is_new = pl.col("known_from_now").is_null()
    differs = {name: pl.col(name).ne_missing(pl.col(f"{name}_now")) for name in values}
    value_differs = pl.any_horizontal(
        differs[name] for name in values if name not in metadata_columns
    )
    any_differs = pl.any_horizontal(differs.values())
    judged = both.with_columns(
        is_new=is_new,
        differs=~is_new & any_differs,
        is_metadata=~is_new & any_differs & ~value_differs,
    )
    kept = ~pl.col("is_new") & ~pl.col("differs")
    rows = judged.with_columns(
        pl.when(kept).then(pl.col(f"{name}_now")).otherwise(pl.col(name)).alias(name)
        for name in BOOKKEEPING
    ).select(incoming.columns)
    differing = judged.filter("differs").select(*key, "is_metadata")
    removed = current.join(incoming, on=key, how="anti").with_columns(
        is_metadata=pl.lit(value=False)
    )
    replaced = pl.concat([current.join(differing, on=key), removed])
    added = int(judged["is_new"].sum())
    return _Difference(
        rows,
        replaced,
        added,
        len(differing),
        int(differing["is_metadata"].sum()),
        len(removed),
        len(incoming) - added - len(differing),
    )


def _keep_history(
    connection: Connection, order: Order, change: _Difference, known_to: datetime, cause: str
) -> None:
    if change.replaced.is_empty():
        return
    earlier = change.replaced.with_columns(
        known_to=pl.lit(known_to, pl.Datetime("us", "UTC")),
        change_cause=pl.when("is_metadata").then(pl.lit("metadata")).otherwise(pl.lit(cause)),
        rule_version=pl.lit(order.rule_version),
    )
    insert_frame(connection, order.history, earlier.select(list(schema_of(order.history))))


def _cause_of_value(before: ScopeState, delivery: Delivery, order: Order) -> str:
    same_source = before.source_version == delivery.source_version
    return "ours" if same_source and before.rule_version != order.rule_version else "source"


def _cause(before: ScopeState, delivery: Delivery, order: Order, change: _Difference) -> str:
    if before.source is None:
        return "first"
    if change.added or change.removed or change.changed > change.metadata_changed:
        return _cause_of_value(before, delivery, order)
    return "metadata" if change.metadata_changed else "none"


def _derive(
    connection: Connection, order: Order, scope: Scope, rows: pl.DataFrame
) -> dict[str, float]:
    """Replace the partition in each derived table; return the seconds that each took.

    Rows that the delivery left alone count too.
    """
    if scope != order.partition:
        rows = read_scope(connection, order.table, order.partition)
    seconds: dict[str, float] = {}
    for table, make in order.derive.items():
        started = time.monotonic()
        connection.execute(delete(table).where(within(table, order.partition)))
        insert_frame(connection, table, make(rows))
        seconds[table.name] = time.monotonic() - started
    return seconds


def record_evidence(
    connection: Connection, order: Order, delivery: Delivery, checked: Checked, at: datetime
) -> None:
    """Record what was fetched, refused and audited, whether or not it is landed."""
    group = group_id(order)
    insert_absent(
        connection, blobs, [{**each.blob_row, "stored_at": at} for each in delivery.all_captures]
    )
    fetches = [
        {
            **each.capture_row,
            "capture_id": capture_id(group, part_number),
            "part_number": part_number,
            "source": delivery.source,
            "dataset": delivery.dataset,
            "partition_key": order.partition_key,
            "group_id": group,
            "run_id": order.run_id,
        }
        for part_number, each in enumerate(delivery.all_captures, start=1)
    ]
    insert_frame(connection, captures, frame_of(fetches, captures))
    refused = checked.rejects.with_columns(
        capture_id=_capture_ids(checked.rejects, group),
        table_name=pl.lit(order.table.name),
        run_id=pl.lit(order.run_id),
        rejected_at=pl.lit(at, pl.Datetime("us", "UTC")),
    )
    insert_frame(connection, rejects, refused.select(list(schema_of(rejects))))
    verdicts = [
        {
            "group_id": group,
            "table_name": order.table.name,
            "audit": audit.name,
            "partition_key": order.partition_key,
            "severity": audit.severity,
            "outcome": audit.outcome,
            "expected": audit.expected,
            "found": audit.found,
            "offenders": audit.offenders_json,
            "run_id": order.run_id,
            "audited_at": at,
        }
        for audit in checked.audits
    ]
    insert_frame(connection, audits, frame_of(verdicts, audits))


def _record_landing(
    connection: Connection,
    order: Order,
    delivery: Delivery,
    checked: Checked,
    landed: Landed,
    content: str,
    scope: str,
) -> None:
    connection.execute(
        insert(landings).values(
            group_id=landed.group_id,
            table_name=order.table.name,
            scope=scope,
            partition_key=order.partition_key,
            source=delivery.source,
            source_version=delivery.source_version,
            content_sha256=content,
            rows_added=landed.rows_added,
            rows_changed=landed.rows_changed,
            rows_removed=landed.rows_removed,
            rows_unchanged=landed.rows_unchanged,
            rows_rejected=len(checked.rejects),
            change_cause=landed.change_cause,
            rule_version=order.rule_version,
            run_id=order.run_id,
            landed_at=landed.known_from,
        )
    )


def _shown(scope: Scope) -> str:
    """Return a scope as text: ``tier=T1,week_start=2025-11-10,market=ATS``."""
    return ",".join(
        f"{name}={'+'.join(map(str, value)) if isinstance(value, tuple) else value}"
        for name, value in scope.items()
    )


def held_back(order: Order, checked: Checked) -> HeldBackError:
    """Return the error that names the audits which failed, with numbers."""
    failed = [audit for audit in checked.audits if audit.blocks]
    return HeldBackError(
        f"{order.partition_key} is held back by " + ", ".join(audit.name for audit in failed),
        expected="; ".join(audit.expected for audit in failed),
        found="; ".join(f"{audit.found} {audit.offenders_json[:300]}" for audit in failed),
        remedy=f"see the table audits, group_id {group_id(order)}; the published rows stay as they "
        "were; run the partition again once the source has corrected it",
        partition=order.partition_key,
    )
