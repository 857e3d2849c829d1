"""Deliveries into a table, in one transaction, with what they replaced kept as history.

A table's coarsest scope (its partition) has a row in `fences`: the lock, and a token that counts
deliveries. Who wants to land reads the token first, fetches, and must find it unchanged under
the lock: a process that was paused cannot commit over its successor.

Deliveries of several partitions land together or not at all, as if one by one: small ones cost
hardly more than one of them.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Generic

import polars as pl
from sqlalchemy import Connection, Table, delete

from orchestration_project.contracts.frames import PLACE, placed, split
from orchestration_project.contracts.rules import Validated, contents_sha256
from orchestration_project.engine.warehouse.delivery import (
    AsFile,
    Delivery,
    Note,
    ScopeState,
    StagedBatch,
    Told,
    Warn,
    WriteOutcome,
    WriteRequest,
    WriteResult,
    WriteTarget,
    group_id,
)
from orchestration_project.engine.warehouse.difference import (
    BOOKKEEPING,
    Counts,
    Difference,
    cause_of,
    cause_of_value,
    derive,
    derive_ranges,
    difference,
)
from orchestration_project.engine.warehouse.evidence import (
    capture_ids,
    held_back,
    record_evidence,
    record_landings,
)
from orchestration_project.engine.warehouse.fencing import read_states, take_fences
from orchestration_project.engine.warehouse.frames import (
    delete_rows,
    insert_frame,
    joined,
    read_scope,
    shown_scope,
    within,
)
from orchestration_project.tables.schema import schema_of

FEW = 10
"""Up to one in so many rows are replaced one by one; more are faster replaced with all the rest."""


def land_all(
    connection: Connection,
    batch: Sequence[WriteRequest[Told]],
    now: datetime,
    warn: Warn,
    note: Note,
) -> list[WriteOutcome[Told]]:
    """Land deliveries of partitions of one table, or record why not; return how each ended.

    What they are compared with is read here, under the lock: no other delivery can come between.
    """
    if not batch:
        note(connection, [])
        return []
    fenced = [(each.order, each.delivery.source_version) for each in batch]
    known_from, overtaken = take_fences(connection, fenced, now)
    first = [each for each in batch if each.order.partition_key not in overtaken]
    judged = [
        replace(
            each,
            prepared=replace(
                each.prepared, checked=replace(each.checked, audits=[*each.checked.audits, *more])
            ),
        )
        for each, more in zip(first, warn(connection, first), strict=True)
    ]
    passed = [each for each in judged if not each.checked.is_held_back]
    in_ranges = any(each.checked.ranges for each in passed)
    together = [[each] for each in passed] if in_ranges else [passed]
    landed = iter([each for some in together for each in land(connection, some, known_from)])
    refused = [each for each in judged if each.checked.is_held_back]
    record_evidence(connection, refused, known_from, "held_back")
    by_key: dict[str, WriteOutcome[Told]] = {
        **overtaken,
        **{
            each.order.partition_key: held_back(each.order, each.checked)
            if each.checked.is_held_back
            else next(landed)
            for each in judged
        },
    }
    ended = [by_key[each.order.partition_key] for each in batch]
    note(connection, ended)
    return ended


def land(
    connection: Connection, batch: Sequence[WriteRequest[Told]], known_from: datetime
) -> list[WriteResult[Told]]:
    """Bring the checked rows in, move what they replace to the history, derive, and record it.

    Rows in ranges are landed range by range; then they are the only delivery.
    """
    if not batch:
        return []
    started = time.monotonic()
    befores = _befores(connection, batch)
    is_new = [not _is_same(before, each) for before, each in zip(befores, batch, strict=True)]
    of_values = [cause_of_value(before, each) for before, each in zip(befores, batch, strict=True)]
    if is_new[0] and batch[0].checked.ranges:
        written = [_write_ranges(connection, batch[0], befores[0], known_from, of_values)]
    else:
        written = _write_all(connection, batch, befores, is_new, known_from, of_values)
    seconds = (time.monotonic() - started) / len(batch)
    landed = [
        WriteResult(
            group_id(each.order),
            cause_of(connection, before, each, own.counts, of_value, known_from),
            own.counts.added,
            own.counts.changed,
            own.counts.removed,
            own.counts.unchanged,
            own.derived_seconds,
            seconds,
            known_from,
            own.told if own.counts.is_any else None,
            [audit.name for audit in each.checked.audits if audit.warns],
        )
        for each, before, own, of_value in zip(batch, befores, written, of_values, strict=True)
    ]
    record_evidence(connection, batch, known_from, "landed")
    record_landings(connection, batch, landed)
    return landed


@dataclass(frozen=True)
class _Written(Generic[Told]):
    """What was written of a delivery."""

    counts: Counts
    told: Told | None
    derived_seconds: Mapping[str, float]


def _write_all(
    connection: Connection,
    batch: Sequence[WriteRequest[Told]],
    befores: Sequence[ScopeState],
    is_new: Sequence[bool],
    known_from: datetime,
    of_values: Sequence[str],
) -> list[_Written[Told]]:
    change = _write(connection, batch, is_new, known_from, of_values)
    counts = [
        own if new else Counts(unchanged=each.checked.row_count)
        for own, new, each in zip(change.counts, is_new, batch, strict=True)
    ]
    derived = [
        derive(connection, each)
        if own.is_any or before.rule_version != each.order.rule_version
        else {}
        for own, before, each in zip(counts, befores, batch, strict=True)
    ]
    told = _summaries(batch, change, known_from, [own.is_any for own in counts])
    return [_Written(*each) for each in zip(counts, told, derived, strict=True)]


def _write_ranges(
    connection: Connection,
    ready: WriteRequest[Told],
    before: ScopeState,
    known_from: datetime,
    of_values: Sequence[str],
) -> _Written[Told]:
    """Write a delivery whose rows are in ranges, none of which is held together with another."""
    counts, told = Counts(), []
    for condition, rows in ready.checked.ranges or ():
        scope = {**condition, **ready.delivery.scope}
        checked = replace(ready.checked, rows=rows, ranges=None)
        piece = replace(
            ready,
            delivery=replace(ready.delivery, scope=scope),
            prepared=replace(ready.prepared, checked=checked),
        )
        change = _write(connection, [piece], [True], known_from, of_values)
        counts += change.counts[0]
        told += _summaries([piece], change, known_from, [True])
    is_due = counts.is_any or before.rule_version != ready.order.rule_version
    derived = derive_ranges(connection, ready) if is_due else {}
    merge = ready.order.merge
    return _Written(counts, merge(told) if merge else None, derived)


def prepare(
    order: WriteTarget, delivery: Delivery, checked: Validated, as_file: AsFile | None = None
) -> StagedBatch:
    """Return ``checked`` with all that depends on it alone, so that its transaction is short.

    With ``as_file``, the hash of the file, which is staged anyway, is that of the content: no
    other rows make the same one, and its bytes are far fewer than the values'.
    """
    if as_file is None:
        return prepare_all([(order, delivery, checked)])[0]
    staged, sha256 = as_file(checked, _values(order.table))
    return StagedBatch(checked, sha256, _derived(order, delivery, checked), staged)


def prepare_all(batch: Sequence[tuple[WriteTarget, Delivery, Validated]]) -> list[StagedBatch]:
    """Return the same of several deliveries, one at least, of partitions of one table."""
    values = _values(batch[0][0].table)
    pieces = [rows.select(values) for _, _, checked in batch for rows in checked.pieces()]
    hashes = contents_sha256(pl.concat(pieces), [checked.row_count for _, _, checked in batch])
    return [
        StagedBatch(checked, sha256, _derived(order, delivery, checked))
        for (order, delivery, checked), sha256 in zip(batch, hashes, strict=True)
    ]


def _values(table: Table) -> list[str]:
    return [name for name in schema_of(table) if name not in BOOKKEEPING]


def _derived(
    order: WriteTarget, delivery: Delivery, checked: Validated
) -> Mapping[Table, pl.DataFrame] | None:
    if delivery.scope or checked.is_held_back or checked.ranges:
        return None
    return {table: maker.of_all(checked.rows) for table, maker in order.derive.items()}


def is_landed(
    before: ScopeState, order: WriteTarget, delivery: Delivery, prepared: StagedBatch
) -> bool:
    """Whether landing would write no row: content, rules, scope and source are the landed ones."""
    same_source = (before.source, before.source_version) == (
        delivery.source,
        delivery.source_version,
    )
    return same_source and _is_same(before, WriteRequest(order, delivery, prepared))


def are_there(connection: Connection, batch: Sequence[WriteRequest]) -> list[bool]:
    """Whether landing would write no row of each, whichever deliveries landed what is there."""
    if not batch:
        return []
    order = batch[0].order
    incoming = _incoming(batch, datetime.fromtimestamp(0, tz=UTC))
    current = _current(connection, batch, [True] * len(batch))
    change = difference(order.table, order.metadata_columns, current, incoming, len(batch))
    return [not counts.is_any for counts in change.counts]


def _befores(connection: Connection, batch: Sequence[WriteRequest]) -> list[ScopeState]:
    """Return what was landed of each; as long as the fence has the token, nothing else is."""
    unknown = [each.order.partition_key for each in batch if each.order.before is None]
    found = read_states(connection, batch[0].order.table, unknown)
    return [each.order.before or found[each.order.partition_key] for each in batch]


def _is_same(before: ScopeState, each: WriteRequest) -> bool:
    return (before.content_sha256, before.rule_version, before.scope) == (
        each.prepared.content_sha256,
        each.order.rule_version,
        shown_scope(each.scope),
    )


def _incoming(batch: Sequence[WriteRequest], known_from: datetime) -> pl.DataFrame:
    """Return the rows of all deliveries as the table has them, and `PLACE`."""
    rows = placed([each.checked.rows for each in batch])
    return rows.with_columns(
        capture_id=capture_ids(rows, [group_id(each.order) for each in batch]),
        known_from=pl.lit(known_from, pl.Datetime("us", "UTC")),
    ).select(*schema_of(batch[0].order.table), PLACE)


def _current(
    connection: Connection, batch: Sequence[WriteRequest], is_read: Sequence[bool]
) -> pl.DataFrame:
    """Return what is landed in the scopes of those that are ``is_read``, and `PLACE`."""
    table, schema = batch[0].order.table, schema_of(batch[0].order.table)
    scopes = [each.scope for each, read in zip(batch, is_read, strict=True) if read]
    rows = pl.concat(
        [pl.DataFrame(schema=schema)]
        + [read_scope(connection, table, scope) for scope in joined(scopes)]
    )
    if len(batch) == 1:
        return rows.with_columns(pl.lit(0, pl.Int64).alias(PLACE))
    own = {name: schema[name] for name in batch[0].order.partition}
    places = pl.DataFrame(
        [
            (*(each.order.partition[name] for name in own), place)
            for place, each in enumerate(batch)
        ],
        {**own, PLACE: pl.Int64()},
        orient="row",
    )
    return rows.join(places, on=list(own), maintain_order="left")


def _write(
    connection: Connection,
    batch: Sequence[WriteRequest],
    is_new: Sequence[bool],
    known_from: datetime,
    of_values: Sequence[str],
) -> Difference:
    """Write what differs, and the history of it; where nothing is new, that is known already."""
    order = batch[0].order
    incoming = _incoming(batch, known_from)
    if not all(is_new):
        news = [place for place, new in enumerate(is_new) if new]
        incoming = incoming.filter(pl.col(PLACE).is_in(news))
    # a first delivery, as the fence says, finds nothing to read
    is_read = [new and each.order.token > 0 for new, each in zip(is_new, batch, strict=True)]
    current = _current(connection, batch, is_read)
    change = difference(order.table, order.metadata_columns, current, incoming, len(batch))
    if len(change.replaced) * FEW <= len(current):
        delete_rows(connection, order.table, change.replaced)
        insert_frame(connection, order.table, change.written.drop(PLACE))
    else:
        scopes = [each.scope for each, new in zip(batch, is_new, strict=True) if new]
        for scope in joined(scopes):
            connection.execute(delete(order.table).where(within(order.table, scope)))
        insert_frame(connection, order.table, change.rows.drop(PLACE))
    _keep_history(connection, batch, change, known_from, of_values)
    return change


def _summaries(
    batch: Sequence[WriteRequest[Told]],
    change: Difference,
    known_from: datetime,
    is_asked: Sequence[bool],
) -> list[Told | None]:
    """Return what each order that is asked says of its change.

    New and changed rows are known from now on.
    """
    if not any(is_asked):
        return [None] * len(batch)
    is_kept = pl.col("known_from") != pl.lit(known_from, pl.Datetime("us", "UTC"))
    kept = change.rows.filter(is_kept)
    frames = [split(frame, len(batch)) for frame in (change.replaced, change.written, kept)]
    return [
        each.order.summarise(replaced=replaced, written=written, kept=stays) if asked else None
        for each, asked, replaced, written, stays in zip(batch, is_asked, *frames, strict=True)
    ]


def _keep_history(
    connection: Connection,
    batch: Sequence[WriteRequest],
    change: Difference,
    known_to: datetime,
    causes: Sequence[str],
) -> None:
    if change.replaced.is_empty():
        return
    order = batch[0].order
    cause = pl.col(PLACE).replace_strict(dict(enumerate(causes)), return_dtype=pl.String)
    earlier = change.replaced.with_columns(
        known_to=pl.lit(known_to, pl.Datetime("us", "UTC")),
        change_cause=pl.when("is_metadata").then(pl.lit("metadata")).otherwise(cause),
        rule_version=pl.lit(order.rule_version),
    )
    insert_frame(connection, order.history, earlier.select(list(schema_of(order.history))))
