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

from orchestration_project.contracts.rules import (
    OFFENDERS_KEPT,
    Audit,
    Validated,
    contents_sha256,
    verdict,
)
from orchestration_project.contracts.values import BATCH_INDEX, concat_batches, split_batches
from orchestration_project.engine.warehouse.capture_log import capture_ids
from orchestration_project.engine.warehouse.delivery import (
    AfterWrite,
    AsFile,
    Delivery,
    ScopeState,
    StagedBatch,
    SummaryT,
    WarningCheck,
    WriteOutcome,
    WriteRequest,
    WriteResult,
    WriteTarget,
    group_id,
    refuse_impossible,
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
from orchestration_project.engine.warehouse.fencing import (
    held_back,
    read_states,
    record_evidence,
    record_landings,
    take_fences,
)
from orchestration_project.engine.warehouse.frames import (
    delete_rows,
    frame_within,
    insert_frame,
    joined,
    read_keys,
    read_scope,
    within,
)
from orchestration_project.tables.schema import key_names, schema_of

FEW = 10
"""Up to one in so many rows are replaced one by one; more are faster replaced with all the rest."""


def land_all(
    connection: Connection,
    batch: Sequence[WriteRequest[SummaryT]],
    now: datetime,
    warn: WarningCheck,
    note: AfterWrite,
) -> list[WriteOutcome[SummaryT]]:
    """Load deliveries of partitions of one table: fence, audit, write, record.

    What they are compared with is read here, under the lock: no other delivery can come between.

    Returns:
        How each delivery ended, in the order of ``batch``.
    """
    if not batch:
        note(connection, [])
        return []
    refuse_impossible(batch)
    fenced = [(each.order, each.delivery.source_version) for each in batch]
    known_from, superseded = take_fences(connection, fenced, now)
    current = [each for each in batch if each.order.partition_key not in superseded]
    audited = _with_audits(connection, current, warn)
    passed = [each for each in audited if not each.checked.is_held_back]
    quarantined = [each for each in audited if each.checked.is_held_back]
    outcomes: dict[str, WriteOutcome[SummaryT]] = {**superseded}
    in_ranges = any(each.checked.ranges for each in passed)
    for together in [[each] for each in passed] if in_ranges else [passed]:
        for each, result in zip(together, land(connection, together, known_from), strict=True):
            outcomes[each.order.partition_key] = result
    record_evidence(connection, quarantined, known_from, "held_back")
    for each in quarantined:
        outcomes[each.order.partition_key] = held_back(each.order, each.checked)
    ended = [outcomes[each.order.partition_key] for each in batch]
    note(connection, ended)
    return ended


def _with_audits(
    connection: Connection, batch: Sequence[WriteRequest[SummaryT]], warn: WarningCheck
) -> list[WriteRequest[SummaryT]]:
    """Return the deliveries with the audits that compare them with what is loaded."""
    appended = _audits_of_append(connection, batch)
    return [
        replace(
            each,
            prepared=replace(
                each.prepared,
                checked=replace(each.checked, audits=[*each.checked.audits, *own, *more]),
            ),
        )
        for each, own, more in zip(batch, appended, warn(connection, batch), strict=True)
    ]


def _audits_of_append(
    connection: Connection, batch: Sequence[WriteRequest]
) -> Sequence[Sequence[Audit]]:
    """Audit of each delivery that only adds rows: loaded rows with its keys have its values."""
    if not batch or batch[0].order.write_disposition != "append":
        return [()] * len(batch)
    order = batch[0].order
    change = _compare(connection, batch, [each.order.token > 0 for each in batch])
    differing = change.replaced.select(*key_names(order.table), BATCH_INDEX)
    return [
        [
            Audit(
                "keeps_loaded_rows",
                verdict(keys.is_empty()),
                "0 loaded rows with other values",
                str(len(keys)),
                keys.sort(keys.columns).head(OFFENDERS_KEPT).to_dicts(),
            )
        ]
        for keys in split_batches(differing, len(batch))
    ]


@dataclass(frozen=True)
class _Load(Generic[SummaryT]):
    """A delivery that is loaded, and the state that it replaces.

    Attributes:
        place: Its number in the batch; rows of frames have it in the column `BATCH_INDEX`.
        before: The state of its partition under the lock.
        is_new: Whether its rows, rules or scope differ from the loaded ones.
        cause_of_value: The `change_cause` of values that change: `source` or `ours`.
    """

    place: int
    request: WriteRequest[SummaryT]
    before: ScopeState
    is_new: bool
    cause_of_value: str


@dataclass(frozen=True)
class _Written(Generic[SummaryT]):
    """What was written of a delivery."""

    load: _Load[SummaryT]
    counts: Counts
    summary: SummaryT | None
    derived_seconds: Mapping[str, float]


def land(
    connection: Connection, batch: Sequence[WriteRequest[SummaryT]], known_from: datetime
) -> list[WriteResult[SummaryT]]:
    """Write the checked rows, move what they replace to the history, derive, and record it.

    Rows in ranges are written range by range; then they are the only delivery.
    """
    if not batch:
        return []
    started = time.monotonic()
    loads = _loads(connection, batch)
    if loads[0].is_new and loads[0].request.checked.ranges:
        written = [_write_ranges(connection, loads[0], known_from)]
    else:
        written = _write_batch(connection, loads, known_from)
    seconds = (time.monotonic() - started) / len(batch)
    results = [_result(connection, each, known_from, seconds) for each in written]
    record_evidence(connection, batch, known_from, "landed")
    record_landings(connection, batch, results)
    return results


def _loads(
    connection: Connection, batch: Sequence[WriteRequest[SummaryT]]
) -> list[_Load[SummaryT]]:
    befores = _befores(connection, batch)
    return [
        _Load(
            place=place,
            request=request,
            before=before,
            is_new=not _is_same(before, request),
            cause_of_value=cause_of_value(before, request),
        )
        for place, (request, before) in enumerate(zip(batch, befores, strict=True))
    ]


def _result(
    connection: Connection, written: _Written[SummaryT], known_from: datetime, seconds: float
) -> WriteResult[SummaryT]:
    load, counts = written.load, written.counts
    request = load.request
    return WriteResult(
        group_id=group_id(request.order),
        change_cause=cause_of(
            connection, load.before, request, counts, load.cause_of_value, known_from
        ),
        rows_added=counts.added,
        rows_changed=counts.changed,
        rows_removed=counts.removed,
        rows_unchanged=counts.unchanged,
        derived_seconds=written.derived_seconds,
        seconds=seconds,
        known_from=known_from,
        change=written.summary if counts.is_any else None,
        warnings=[audit.name for audit in request.checked.audits if audit.warns],
    )


def _write_batch(
    connection: Connection, loads: Sequence[_Load[SummaryT]], known_from: datetime
) -> list[_Written[SummaryT]]:
    change = _write(connection, loads, known_from)
    counts = [
        change.counts[load.place]
        if load.is_new
        else Counts(unchanged=load.request.checked.row_count)
        for load in loads
    ]
    derived = [
        derive(connection, load.request) if _is_derived(load, counts[load.place]) else {}
        for load in loads
    ]
    summaries = _summaries(loads, change, known_from, [own.is_any for own in counts])
    return [
        _Written(load, counts[load.place], summaries[load.place], derived[load.place])
        for load in loads
    ]


def _write_ranges(
    connection: Connection, load: _Load[SummaryT], known_from: datetime
) -> _Written[SummaryT]:
    """Write a delivery whose rows are in ranges, none of which is held together with another."""
    counts, summaries, request = Counts(), [], load.request
    for condition, rows in request.checked.ranges or ():
        scope = {**condition, **request.delivery.scope}
        checked = replace(request.checked, rows=rows, ranges=None)
        part = replace(
            load,
            request=replace(
                request,
                delivery=replace(request.delivery, scope=scope),
                prepared=replace(request.prepared, checked=checked),
            ),
        )
        change = _write(connection, [part], known_from)
        counts += change.counts[0]
        summaries += _summaries([part], change, known_from, [True])
    derived = derive_ranges(connection, request) if _is_derived(load, counts) else {}
    merge = request.order.merge
    return _Written(load, counts, merge(summaries) if merge else None, derived)


def _is_derived(load: _Load, counts: Counts) -> bool:
    """Whether the derived tables are made anew: rows changed, or the rules did."""
    return counts.is_any or load.before.rule_version != load.request.order.rule_version


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
    is_all = order.replaces_scope and not delivery.scope
    if not is_all or checked.is_held_back or checked.ranges:
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
    change = _compare(connection, batch, [True] * len(batch))
    return [not counts.is_any for counts in change.counts]


def _compare(
    connection: Connection, batch: Sequence[WriteRequest], is_read: Sequence[bool]
) -> Difference:
    """Compare deliveries with what is loaded of those that are ``is_read``; nothing is written."""
    incoming = _incoming(batch, datetime.fromtimestamp(0, tz=UTC))
    current = _current(connection, batch, incoming, is_read)
    return difference(batch[0].order, current, incoming, len(batch))


def _befores(connection: Connection, batch: Sequence[WriteRequest]) -> list[ScopeState]:
    """Return what was landed of each; as long as the fence has the token, nothing else is."""
    unknown = [each.order.partition_key for each in batch if each.order.before is None]
    found = read_states(connection, batch[0].order.table, unknown)
    return [each.order.before or found[each.order.partition_key] for each in batch]


def _is_same(before: ScopeState, each: WriteRequest) -> bool:
    return (before.content_sha256, before.rule_version, before.scope) == (
        each.prepared.content_sha256,
        each.order.rule_version,
        each.recorded_scope,
    )


def _incoming(batch: Sequence[WriteRequest], known_from: datetime) -> pl.DataFrame:
    """Return the rows of all deliveries as the table has them, and `BATCH_INDEX`."""
    rows = concat_batches([each.checked.rows for each in batch])
    return rows.with_columns(
        capture_id=capture_ids(rows, [group_id(each.order) for each in batch]),
        known_from=pl.lit(known_from, pl.Datetime("us", "UTC")),
    ).select(*schema_of(batch[0].order.table), BATCH_INDEX)


def _current(
    connection: Connection,
    batch: Sequence[WriteRequest],
    incoming: pl.DataFrame,
    is_read: Sequence[bool],
) -> pl.DataFrame:
    """Return the loaded rows that deliveries are compared with, and `BATCH_INDEX`.

    These are the rows of the scopes of those that are ``is_read``. Of a merge or append, they are
    those of the partitions that have the keys of ``incoming``; no other row is read.
    """
    order = batch[0].order
    if order.replaces_scope:
        scopes = [each.scope for each, read in zip(batch, is_read, strict=True) if read]
        frames = [read_scope(connection, order.table, scope) for scope in joined(scopes)]
        rows = pl.concat([pl.DataFrame(schema=schema_of(order.table)), *frames])
    else:
        rows = read_keys(connection, order.table, incoming if any(is_read) else incoming.clear())
        rows = rows.filter(frame_within(order.partition)) if len(batch) == 1 else rows
    if len(batch) == 1:
        return rows.with_columns(pl.lit(0, pl.Int64).alias(BATCH_INDEX))
    own = {name: rows.schema[name] for name in order.partition}
    places = pl.DataFrame(
        [
            (*(each.order.partition[name] for name in own), place)
            for place, each in enumerate(batch)
        ],
        {**own, BATCH_INDEX: pl.Int64()},
        orient="row",
    )
    return rows.join(places, on=list(own), maintain_order="left")


def _write(connection: Connection, loads: Sequence[_Load], known_from: datetime) -> Difference:
    """Write what differs, and the history of it; where nothing is new, that is known already."""
    order = loads[0].request.order
    new = [load for load in loads if load.is_new]
    incoming = _incoming([load.request for load in loads], known_from)
    if len(new) < len(loads):
        incoming = incoming.filter(pl.col(BATCH_INDEX).is_in([load.place for load in new]))
    # a first delivery, as the fence says, finds nothing to read
    is_read = [load.is_new and load.request.order.token > 0 for load in loads]
    current = _current(connection, [load.request for load in loads], incoming, is_read)
    change = difference(order, current, incoming, len(loads))
    if not order.replaces_scope or len(change.replaced) * FEW <= len(current):
        delete_rows(connection, order.table, change.replaced)
        insert_frame(connection, order.table, change.written.drop(BATCH_INDEX))
    else:
        for scope in joined([load.request.scope for load in new]):
            connection.execute(delete(order.table).where(within(order.table, scope)))
        insert_frame(connection, order.table, change.rows.drop(BATCH_INDEX))
    _keep_history(connection, loads, change, known_from)
    return change


def _summaries(
    loads: Sequence[_Load[SummaryT]],
    change: Difference,
    known_from: datetime,
    is_asked: Sequence[bool],
) -> list[SummaryT | None]:
    """Return what each order that is asked says of its change.

    New and changed rows are known from now on.
    """
    if not any(is_asked):
        return [None] * len(loads)
    is_kept = pl.col("known_from") != pl.lit(known_from, pl.Datetime("us", "UTC"))
    kept = change.rows.filter(is_kept)
    frames = [split_batches(frame, len(loads)) for frame in (change.replaced, change.written, kept)]
    return [
        load.request.order.summarise(replaced=replaced, written=written, kept=stays)
        if asked
        else None
        for load, asked, replaced, written, stays in zip(loads, is_asked, *frames, strict=True)
    ]


def _keep_history(
    connection: Connection, loads: Sequence[_Load], change: Difference, known_to: datetime
) -> None:
    if change.replaced.is_empty():
        return
    order = loads[0].request.order
    causes = {load.place: load.cause_of_value for load in loads}
    cause = pl.col(BATCH_INDEX).replace_strict(causes, return_dtype=pl.String)
    earlier = change.replaced.with_columns(
        known_to=pl.lit(known_to, pl.Datetime("us", "UTC")),
        change_cause=pl.when("is_metadata").then(pl.lit("metadata")).otherwise(cause),
        rule_version=pl.lit(order.rule_version),
    )
    insert_frame(connection, order.history, earlier.select(list(schema_of(order.history))))
