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
    SummaryT,
    ValidatedBatch,
    WarningCheck,
    WriteOutcome,
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
    batches: Sequence[ValidatedBatch[SummaryT]],
    now: datetime,
    warn: WarningCheck,
    note: AfterWrite,
) -> list[WriteOutcome[SummaryT]]:
    """Load deliveries of partitions of one table: fence, audit, write, record.

    What they are compared with is read here, under the lock: no other delivery can come between.

    Returns:
        How each delivery ended, in the order of ``batches``.
    """
    if not batches:
        note(connection, [])
        return []
    refuse_impossible(batches)
    fenced = [(each.target, each.delivery.source_version) for each in batches]
    known_from, superseded = take_fences(connection, fenced, now)
    current = [each for each in batches if each.target.partition_key not in superseded]
    audited = _with_audits(connection, current, warn)
    passed = [each for each in audited if not each.validated.is_held_back]
    quarantined = [each for each in audited if each.validated.is_held_back]
    outcomes: dict[str, WriteOutcome[SummaryT]] = {**superseded}
    in_ranges = any(each.validated.ranges for each in passed)
    for together in [[each] for each in passed] if in_ranges else [passed]:
        for each, result in zip(together, land(connection, together, known_from), strict=True):
            outcomes[each.target.partition_key] = result
    record_evidence(connection, quarantined, known_from, "held_back")
    for each in quarantined:
        outcomes[each.target.partition_key] = held_back(each)
    ended = [outcomes[each.target.partition_key] for each in batches]
    note(connection, ended)
    return ended


def _with_audits(
    connection: Connection, batches: Sequence[ValidatedBatch[SummaryT]], warn: WarningCheck
) -> list[ValidatedBatch[SummaryT]]:
    """Return the deliveries with the audits that compare them with what is loaded."""
    appended = _audits_of_append(connection, batches)
    return [
        replace(
            each,
            validated=replace(each.validated, audits=[*each.validated.audits, *own, *more]),
        )
        for each, own, more in zip(batches, appended, warn(connection, batches), strict=True)
    ]


def _audits_of_append(
    connection: Connection, batches: Sequence[ValidatedBatch]
) -> Sequence[Sequence[Audit]]:
    """Audit of each delivery that only adds rows: loaded rows with its keys have its values."""
    if not batches or batches[0].target.write_disposition != "append":
        return [()] * len(batches)
    target = batches[0].target
    change = _compare(connection, batches, [each.target.token > 0 for each in batches])
    differing = change.replaced.select(*key_names(target.table), BATCH_INDEX)
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
        for keys in split_batches(differing, len(batches))
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
    batch: ValidatedBatch[SummaryT]
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
    connection: Connection, batches: Sequence[ValidatedBatch[SummaryT]], known_from: datetime
) -> list[WriteResult[SummaryT]]:
    """Write the checked rows, move what they replace to the history, derive, and record it.

    Rows in ranges are written range by range; then they are the only delivery.
    """
    if not batches:
        return []
    started = time.monotonic()
    loads = _loads(connection, batches)
    if loads[0].is_new and loads[0].batch.validated.ranges:
        written = [_write_ranges(connection, loads[0], known_from)]
    else:
        written = _write_batch(connection, loads, known_from)
    seconds = (time.monotonic() - started) / len(batches)
    results = [_result(connection, each, known_from, seconds) for each in written]
    record_evidence(connection, batches, known_from, "landed")
    record_landings(connection, batches, results)
    return results


def _loads(
    connection: Connection, batches: Sequence[ValidatedBatch[SummaryT]]
) -> list[_Load[SummaryT]]:
    befores = _befores(connection, batches)
    return [
        _Load(
            place=place,
            batch=batch,
            before=before,
            is_new=not _is_same(before, batch),
            cause_of_value=cause_of_value(before, batch),
        )
        for place, (batch, before) in enumerate(zip(batches, befores, strict=True))
    ]


def _result(
    connection: Connection, written: _Written[SummaryT], known_from: datetime, seconds: float
) -> WriteResult[SummaryT]:
    load, counts = written.load, written.counts
    batch = load.batch
    return WriteResult(
        group_id=group_id(batch.target),
        change_cause=cause_of(
            connection, load.before, batch, counts, load.cause_of_value, known_from
        ),
        rows_added=counts.added,
        rows_changed=counts.changed,
        rows_removed=counts.removed,
        rows_unchanged=counts.unchanged,
        derived_seconds=written.derived_seconds,
        seconds=seconds,
        known_from=known_from,
        change=written.summary if counts.is_any else None,
        warnings=[audit.name for audit in batch.validated.audits if audit.warns],
    )


def _write_batch(
    connection: Connection, loads: Sequence[_Load[SummaryT]], known_from: datetime
) -> list[_Written[SummaryT]]:
    change = _write(connection, loads, known_from)
    counts = [
        change.counts[load.place]
        if load.is_new
        else Counts(unchanged=load.batch.validated.row_count)
        for load in loads
    ]
    derived = [
        derive(connection, load.batch) if _is_derived(load, counts[load.place]) else {}
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
    counts, summaries, batch = Counts(), [], load.batch
    for condition, rows in batch.validated.ranges or ():
        scope = {**condition, **batch.delivery.scope}
        part = replace(
            load,
            batch=replace(
                batch,
                delivery=replace(batch.delivery, scope=scope),
                validated=replace(batch.validated, rows=rows, ranges=None),
            ),
        )
        change = _write(connection, [part], known_from)
        counts += change.counts[0]
        summaries += _summaries([part], change, known_from, [True])
    derived = derive_ranges(connection, batch) if _is_derived(load, counts) else {}
    merge = batch.target.merge
    return _Written(load, counts, merge(summaries) if merge else None, derived)


def _is_derived(load: _Load, counts: Counts) -> bool:
    """Whether the derived tables are made anew: rows changed, or the rules did."""
    return counts.is_any or load.before.rule_version != load.batch.target.rule_version


def prepare(
    target: WriteTarget[SummaryT],
    delivery: Delivery,
    validated: Validated,
    as_file: AsFile | None = None,
) -> ValidatedBatch[SummaryT]:
    """Return a delivery with all that depends on it alone, so that its transaction is short.

    With ``as_file``, the hash of the file, which is staged anyway, is that of the content: no
    other rows make the same one, and its bytes are far fewer than the values'.
    """
    if as_file is None:
        return prepare_all([(target, delivery, validated)])[0]
    staged, sha256 = as_file(validated, _values(target.table))
    derived = _derived(target, delivery, validated)
    return ValidatedBatch(target, delivery, validated, sha256, derived, staged)


def prepare_all(
    deliveries: Sequence[tuple[WriteTarget[SummaryT], Delivery, Validated]],
) -> list[ValidatedBatch[SummaryT]]:
    """Return the same of several deliveries, one at least, of partitions of one table."""
    values = _values(deliveries[0][0].table)
    pieces = [rows.select(values) for *_, validated in deliveries for rows in validated.pieces()]
    lengths = [validated.row_count for *_, validated in deliveries]
    hashes = contents_sha256(pl.concat(pieces), lengths)
    return [
        ValidatedBatch(*each, sha256, _derived(*each))
        for each, sha256 in zip(deliveries, hashes, strict=True)
    ]


def _values(table: Table) -> list[str]:
    return [name for name in schema_of(table) if name not in BOOKKEEPING]


def _derived(
    target: WriteTarget, delivery: Delivery, validated: Validated
) -> Mapping[Table, pl.DataFrame] | None:
    is_all = target.replaces_scope and not delivery.scope
    if not is_all or validated.is_held_back or validated.ranges:
        return None
    return {table: maker.of_all(validated.rows) for table, maker in target.derive.items()}


def is_landed(before: ScopeState, batch: ValidatedBatch) -> bool:
    """Whether landing would write no row: content, rules, scope and source are the landed ones."""
    same_source = (before.source, before.source_version) == (
        batch.delivery.source,
        batch.delivery.source_version,
    )
    return same_source and _is_same(before, batch)


def are_there(connection: Connection, batches: Sequence[ValidatedBatch]) -> list[bool]:
    """Whether landing would write no row of each, whichever deliveries landed what is there."""
    if not batches:
        return []
    change = _compare(connection, batches, [True] * len(batches))
    return [not counts.is_any for counts in change.counts]


def _compare(
    connection: Connection, batches: Sequence[ValidatedBatch], is_read: Sequence[bool]
) -> Difference:
    """Compare deliveries with what is loaded of those that are ``is_read``; nothing is written."""
    incoming = _incoming(batches, datetime.fromtimestamp(0, tz=UTC))
    current = _current(connection, batches, incoming, is_read)
    return difference(batches[0].target, current, incoming, len(batches))


def _befores(connection: Connection, batches: Sequence[ValidatedBatch]) -> list[ScopeState]:
    """Return what was landed of each; as long as the fence has the token, nothing else is."""
    unknown = [each.target.partition_key for each in batches if each.target.before is None]
    found = read_states(connection, batches[0].target.table, unknown)
    return [each.target.before or found[each.target.partition_key] for each in batches]


def _is_same(before: ScopeState, batch: ValidatedBatch) -> bool:
    return (before.content_sha256, before.rule_version, before.scope) == (
        batch.content_sha256,
        batch.target.rule_version,
        batch.recorded_scope,
    )


def _incoming(batches: Sequence[ValidatedBatch], known_from: datetime) -> pl.DataFrame:
    """Return the rows of all deliveries as the table has them, and `BATCH_INDEX`."""
    rows = concat_batches([each.validated.rows for each in batches])
    return rows.with_columns(
        capture_id=capture_ids(rows, [group_id(each.target) for each in batches]),
        known_from=pl.lit(known_from, pl.Datetime("us", "UTC")),
    ).select(*schema_of(batches[0].target.table), BATCH_INDEX)


def _current(
    connection: Connection,
    batches: Sequence[ValidatedBatch],
    incoming: pl.DataFrame,
    is_read: Sequence[bool],
) -> pl.DataFrame:
    """Return the loaded rows that deliveries are compared with, and `BATCH_INDEX`.

    These are the rows of the scopes of those that are ``is_read``. Of a merge or append, they are
    those of the partitions that have the keys of ``incoming``; no other row is read.
    """
    target = batches[0].target
    if target.replaces_scope:
        scopes = [each.scope for each, read in zip(batches, is_read, strict=True) if read]
        frames = [read_scope(connection, target.table, scope) for scope in joined(scopes)]
        rows = pl.concat([pl.DataFrame(schema=schema_of(target.table)), *frames])
    else:
        rows = read_keys(connection, target.table, incoming if any(is_read) else incoming.clear())
        rows = rows.filter(frame_within(target.partition)) if len(batches) == 1 else rows
    if len(batches) == 1:
        return rows.with_columns(pl.lit(0, pl.Int64).alias(BATCH_INDEX))
    own = {name: rows.schema[name] for name in target.partition}
    places = pl.DataFrame(
        [
            (*(each.target.partition[name] for name in own), place)
            for place, each in enumerate(batches)
        ],
        {**own, BATCH_INDEX: pl.Int64()},
        orient="row",
    )
    return rows.join(places, on=list(own), maintain_order="left")


def _write(connection: Connection, loads: Sequence[_Load], known_from: datetime) -> Difference:
    """Write what differs, and the history of it; where nothing is new, that is known already."""
    target = loads[0].batch.target
    new = [load for load in loads if load.is_new]
    incoming = _incoming([load.batch for load in loads], known_from)
    if len(new) < len(loads):
        incoming = incoming.filter(pl.col(BATCH_INDEX).is_in([load.place for load in new]))
    # a first delivery, as the fence says, finds nothing to read
    is_read = [load.is_new and load.batch.target.token > 0 for load in loads]
    current = _current(connection, [load.batch for load in loads], incoming, is_read)
    change = difference(target, current, incoming, len(loads))
    if not target.replaces_scope or len(change.replaced) * FEW <= len(current):
        delete_rows(connection, target.table, change.replaced)
        insert_frame(connection, target.table, change.written.drop(BATCH_INDEX))
    else:
        for scope in joined([load.batch.scope for load in new]):
            connection.execute(delete(target.table).where(within(target.table, scope)))
        insert_frame(connection, target.table, change.rows.drop(BATCH_INDEX))
    _keep_history(connection, loads, change, known_from)
    return change


def _summaries(
    loads: Sequence[_Load[SummaryT]],
    change: Difference,
    known_from: datetime,
    is_asked: Sequence[bool],
) -> list[SummaryT | None]:
    """Return what each target that is asked says of its change.

    New and changed rows are known from now on.
    """
    if not any(is_asked):
        return [None] * len(loads)
    is_kept = pl.col("known_from") != pl.lit(known_from, pl.Datetime("us", "UTC"))
    kept = change.rows.filter(is_kept)
    frames = [split_batches(frame, len(loads)) for frame in (change.replaced, change.written, kept)]
    return [
        load.batch.target.summarise(replaced=replaced, written=written, kept=stays)
        if asked
        else None
        for load, asked, replaced, written, stays in zip(loads, is_asked, *frames, strict=True)
    ]


def _keep_history(
    connection: Connection, loads: Sequence[_Load], change: Difference, known_to: datetime
) -> None:
    if change.replaced.is_empty():
        return
    target = loads[0].batch.target
    causes = {load.place: load.cause_of_value for load in loads}
    cause = pl.col(BATCH_INDEX).replace_strict(causes, return_dtype=pl.String)
    earlier = change.replaced.with_columns(
        known_to=pl.lit(known_to, pl.Datetime("us", "UTC")),
        change_cause=pl.when("is_metadata").then(pl.lit("metadata")).otherwise(cause),
        rule_version=pl.lit(target.rule_version),
    )
    insert_frame(connection, target.history, earlier.select(list(schema_of(target.history))))
