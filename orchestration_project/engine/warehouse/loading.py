"""Deliveries into a table, in one transaction, with what they replaced kept as history.

A table's coarsest scope (its partition) has a row in `fences`: the lock, and a token that counts
deliveries. Who wants to load reads the token first, fetches, and must find it unchanged under
the lock: a process that was paused cannot commit over its successor.

Deliveries of several partitions load together or not at all, as if one by one: small ones cost
hardly more than one of them.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import compress
from typing import Generic, NamedTuple

import polars as pl
from sqlalchemy import Connection, delete, select

from orchestration_project.engine.contracts.audits import (
    COMPLETE,
    MAX_OFFENDERS,
    Acceptance,
    Audit,
    CompletenessLimits,
    LoadedKeys,
    Validated,
    apply_acceptance,
    check_completeness,
    format_outcome,
)
from orchestration_project.engine.contracts.chain import LOAD, QUARANTINE
from orchestration_project.engine.contracts.values import (
    BATCH_INDEX,
    combine_batches,
    derive_schema,
    split_batches,
)
from orchestration_project.engine.warehouse.balancing import (
    add_balances,
    count_rows_after,
    count_rows_before,
)
from orchestration_project.engine.warehouse.capture_log import find_capture_ids
from orchestration_project.engine.warehouse.chaining import (
    ChangeDigests,
    append_to_chain,
    hash_changes,
    join_digests,
)
from orchestration_project.engine.warehouse.delivery import (
    AfterWrite,
    Counts,
    Delivery,
    ValidatedBatch,
    WarningCheck,
    WriteOutcome,
    WriteResult,
    group_id,
    prepare_all,
    refuse_impossible,
    skip_note,
    skip_warnings,
)
from orchestration_project.engine.warehouse.difference import (
    Difference,
    classify_change,
    compare_states,
    find_value_cause,
)
from orchestration_project.engine.warehouse.fencing import (
    build_quarantine_error,
    read_states,
    record_evidence,
    record_loads,
    record_publications,
    take_fences,
)
from orchestration_project.engine.warehouse.frames import (
    Scope,
    delete_rows,
    insert_frame,
    join_scopes,
    match_frame_scope,
    match_scope,
    read_frame,
    read_keys,
    read_scope,
)
from orchestration_project.engine.warehouse.target import (
    ScopeState,
    SummaryT,
    TableSpec,
    WriteTarget,
    mark_stale,
)
from orchestration_project.engine.warehouse.transforms import (
    derive_all,
    derive_ranges,
    derive_rows,
)
from orchestration_project.tables.schema import ENDED_ON, IS_LOAD_DAY, key_names

ENDING = (ENDED_ON, IS_LOAD_DAY)
"""Columns of a history that are filled once the whole delivery is written."""

BULK_REPLACE_RATIO = 10
"""Up to one in so many rows are replaced one by one; more are faster replaced with all the rest."""


class ScopeDelivery(NamedTuple):
    """A validated delivery of a scope: a partition, or what a work item stands for.

    Attributes:
        key: The key of the scope, which is the fence's.
        scope: The same as a condition on the table's columns.
        delivery: What the source gave.
        validated: Its rows.
    """

    key: str
    scope: Scope
    delivery: Delivery
    validated: Validated


class LoadedScope(NamedTuple, Generic[SummaryT]):
    """A delivery, and how its write ended; None: what is loaded is equal, and stays."""

    batch: ValidatedBatch[SummaryT]
    outcome: WriteOutcome[SummaryT] | None


def load_scopes(
    connection: Connection,
    spec: TableSpec[SummaryT],
    deliveries: Sequence[ScopeDelivery],
    *,
    run_id: str,
    now: datetime,
) -> list[LoadedScope[SummaryT]]:
    """Load the deliveries of scopes of a table that differ from what is loaded.

    Returns:
        How each ended, in the order of ``deliveries``.
    """
    batches = _prepare_scopes(connection, spec, deliveries, run_id)
    changed = [batch for batch in batches if not is_loaded(batch.target.state, batch)]
    ended = load_batches(connection, changed, now, skip_warnings, skip_note)
    outcomes = {batch.target.partition_key: end for batch, end in zip(changed, ended, strict=True)}
    return [LoadedScope(batch, outcomes.get(batch.target.partition_key)) for batch in batches]


def write_scopes(
    connection: Connection,
    spec: TableSpec[SummaryT],
    deliveries: Sequence[ScopeDelivery],
    *,
    run_id: str,
    now: datetime,
    note: AfterWrite = skip_note,
) -> list[WriteOutcome[SummaryT]]:
    """Write and record each delivery of scopes of a table, also one that changes nothing."""
    batches = _prepare_scopes(connection, spec, deliveries, run_id)
    return load_batches(connection, batches, now, skip_warnings, note)


def _prepare_scopes(
    connection: Connection,
    spec: TableSpec[SummaryT],
    deliveries: Sequence[ScopeDelivery],
    run_id: str,
) -> list[ValidatedBatch[SummaryT]]:
    if not deliveries:
        return []
    states = read_states(
        connection, spec.table, [scope_delivery.key for scope_delivery in deliveries]
    )
    return prepare_all(
        [
            (spec.target(key, scope, states[key], run_id=run_id), delivery, validated)
            for key, scope, delivery, validated in deliveries
        ]
    )


def load_batches(
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
    fenced = [(batch.target, batch.delivery.source_version) for batch in batches]
    known_from, superseded = take_fences(connection, fenced, now)
    current = [batch for batch in batches if batch.target.partition_key not in superseded]
    audited = _add_audits(connection, current, warn)
    passed = [
        validated_batch
        for validated_batch in audited
        if not validated_batch.validated.is_quarantined
    ]
    quarantined = [
        validated_batch for validated_batch in audited if validated_batch.validated.is_quarantined
    ]
    outcomes: dict[str, WriteOutcome[SummaryT]] = {**superseded}
    in_ranges = any(validated_batch.validated.ranges for validated_batch in passed)
    for together in [[validated_batch] for validated_batch in passed] if in_ranges else [passed]:
        for item, result in zip(
            together, write_batch(connection, together, known_from), strict=True
        ):
            outcomes[item.target.partition_key] = result
    record_evidence(connection, quarantined, known_from, "held_back")
    append_to_chain(connection, quarantined, QUARANTINE, known_from)
    for validated_batch in quarantined:
        outcomes[validated_batch.target.partition_key] = build_quarantine_error(validated_batch)
    ended = [outcomes[batch.target.partition_key] for batch in batches]
    note(connection, ended)
    return ended


def _add_audits(
    connection: Connection, batches: Sequence[ValidatedBatch[SummaryT]], warn: WarningCheck
) -> list[ValidatedBatch[SummaryT]]:
    """Return the deliveries with the audits that compare them with what is loaded."""
    appended = _check_appends(connection, batches)
    return [
        replace(
            batch,
            validated=replace(
                batch.validated, audits=[*batch.validated.audits, *batch_audits, *warnings]
            ),
        )
        for batch, batch_audits, warnings in zip(
            batches, appended, warn(connection, batches), strict=True
        )
    ]


def _check_appends(
    connection: Connection, batches: Sequence[ValidatedBatch]
) -> Sequence[Sequence[Audit]]:
    """Audit of each delivery that only adds rows: loaded rows with its keys have its values."""
    if not batches or batches[0].target.write_disposition != "append":
        return [()] * len(batches)
    target = batches[0].target
    change = compare(connection, batches, [batch.target.token > 0 for batch in batches])
    differing = change.replaced.select(*key_names(target.table), BATCH_INDEX)
    return [
        [
            Audit(
                "keeps_loaded_rows",
                format_outcome(keys.is_empty()),
                "0 loaded rows with other values",
                str(len(keys)),
                keys.sort(keys.columns).head(MAX_OFFENDERS).to_dicts(),
            )
        ]
        for keys in split_batches(differing, len(batches))
    ]


@dataclass(frozen=True)
class _PartitionWrite(Generic[SummaryT]):
    """Written parts of a delivery."""

    counts: Counts
    summary: SummaryT | None
    derived_seconds: Mapping[str, float]
    digests: ChangeDigests


def write_batch(
    connection: Connection, batches: Sequence[ValidatedBatch[SummaryT]], known_from: datetime
) -> list[WriteResult[SummaryT]]:
    """Write the checked rows, move what they replace to the history, derive, and record it.

    Rows in ranges are written range by range; then they are the only delivery.
    """
    if not batches:
        return []
    started = time.monotonic()
    batches = _add_states(connection, batches)
    is_new = [not _is_same(batch.target.state, batch) for batch in batches]
    before = count_rows_before(connection, batches, is_new)
    if is_new[0] and batches[0].validated.ranges:
        written = [_write_ranges(connection, batches[0], known_from)]
    else:
        written = _write_batches(connection, batches, is_new, known_from)
    counts = [partition_write.counts for partition_write in written]
    after = count_rows_after(connection, batches, is_new)
    batches = add_balances(batches, counts, before, after)
    seconds = (time.monotonic() - started) / len(batches)
    results = [
        WriteResult(
            group_id=group_id(batch.target),
            change_cause=classify_change(connection, batch, partition_write.counts, known_from),
            rows_added=partition_write.counts.added,
            rows_changed=partition_write.counts.changed,
            rows_removed=partition_write.counts.removed,
            rows_unchanged=partition_write.counts.unchanged,
            derived_seconds=partition_write.derived_seconds,
            seconds=seconds,
            known_from=known_from,
            change=partition_write.summary if partition_write.counts.is_any else None,
            warnings=[audit.name for audit in batch.validated.audits if audit.warns],
            balances=batch.validated.balances,
        )
        for batch, partition_write in zip(batches, written, strict=True)
    ]
    publications = record_publications(connection, batches, counts, known_from)
    record_evidence(connection, batches, known_from, "landed", publications)
    record_loads(connection, batches, results)
    digests = [partition_write.digests for partition_write in written]
    append_to_chain(connection, batches, LOAD, known_from, digests, publications)
    _mark_dependents(connection, batches, results)
    return results


def _mark_dependents(
    connection: Connection, batches: Sequence[ValidatedBatch], results: Sequence[WriteResult]
) -> None:
    """Mark stale what is derived of the partitions whose rows, or whose rules, changed."""
    spec = batches[0].target.spec
    changed = [
        batch.target.partition
        for batch, result in zip(batches, results, strict=True)
        if result.has_changes or batch.target.state.rule_version != batch.target.rule_version
    ]
    if changed and spec.dependents:
        mark_stale(connection, spec.dependents, changed)


def _add_states(
    connection: Connection, batches: Sequence[ValidatedBatch[SummaryT]]
) -> list[ValidatedBatch[SummaryT]]:
    """Return the deliveries with what was loaded of each, where that is not known yet.

    As long as the fence has the token, nothing else is.
    """
    unknown = [batch.target.partition_key for batch in batches if batch.target.before is None]
    states = read_states(connection, batches[0].target.table, unknown)
    return [
        replace(batch, target=replace(batch.target, before=states[batch.target.partition_key]))
        if batch.target.before is None
        else batch
        for batch in batches
    ]


def _write_batches(
    connection: Connection,
    batches: Sequence[ValidatedBatch[SummaryT]],
    is_new: Sequence[bool],
    known_from: datetime,
) -> list[_PartitionWrite[SummaryT]]:
    change, digests = _write(connection, batches, is_new, known_from)
    counts = [
        counted if new else Counts(unchanged=batch.validated.row_count)
        for batch, new, counted in zip(batches, is_new, change.counts, strict=True)
    ]
    are_derived = [
        _is_derived(batch, counted) and not batch.target.derives_by_row
        for batch, counted in zip(batches, counts, strict=True)
    ]
    derived = [dict[str, float]() for _ in batches]
    if any(are_derived):
        derived = derive_all(connection, batches, are_derived, known_from)
    derived = [
        {**seconds, **counted}
        for seconds, counted in zip(derived, _derive_rows(connection, batches, change), strict=True)
    ]
    summaries = _summarize_batches(
        batches, change, known_from, [counted.is_any for counted in counts]
    )
    return [
        _PartitionWrite(*each) for each in zip(counts, summaries, derived, digests, strict=True)
    ]


def split_ranges(
    batch: ValidatedBatch[SummaryT],
) -> Iterator[tuple[Scope, ValidatedBatch[SummaryT]]]:
    """Yield the ranges of a delivery whose rows are in ranges, each as a delivery of its own."""
    for condition, rows in batch.validated.ranges or ():
        yield (
            condition,
            replace(
                batch,
                delivery=replace(batch.delivery, scope={**condition, **batch.delivery.scope}),
                validated=replace(batch.validated, rows=rows, ranges=None),
            ),
        )


def _write_ranges(
    connection: Connection, batch: ValidatedBatch[SummaryT], known_from: datetime
) -> _PartitionWrite[SummaryT]:
    """Write a delivery whose rows are in ranges, none of which is held together with another."""
    counts, summaries, digests = Counts(), [], []
    for condition, part in split_ranges(batch):
        change, [part_digests] = _write(connection, [part], [True], known_from, condition)
        digests.append(part_digests)
        _derive_rows(connection, [part], change)
        counts += change.counts[0]
        summaries += _summarize_batches([part], change, known_from, [True])
    is_derived = _is_derived(batch, counts) and not batch.target.derives_by_row
    derived = derive_ranges(connection, batch, known_from) if is_derived else {}
    merge = batch.target.spec.merge
    summary = merge(summaries) if merge else None
    return _PartitionWrite(counts, summary, derived, join_digests(digests))


def _derive_rows(
    connection: Connection, batches: Sequence[ValidatedBatch], change: Difference
) -> list[dict[str, float]]:
    """Replace the rows that derive from changed rows alone; return the seconds by table of each."""
    if not any(batch.target.derives_by_row for batch in batches):
        return [{} for _ in batches]
    frames = [split_batches(frame, len(batches)) for frame in (change.replaced, change.written)]
    return [
        derive_rows(connection, batch.target, replaced, written)
        if batch.target.derives_by_row and not (replaced.is_empty() and written.is_empty())
        else {}
        for batch, replaced, written in zip(batches, *frames, strict=True)
    ]


def _is_derived(batch: ValidatedBatch, counts: Counts) -> bool:
    """Whether derived tables are rebuilt: the table has some, and rows or rules changed."""
    target = batch.target
    is_changed = counts.is_any or target.state.rule_version != target.rule_version
    return bool(target.spec.transforms) and is_changed


def is_loaded(before: ScopeState, batch: ValidatedBatch) -> bool:
    """Whether loading would write no row: content, rules, scope and source are the loaded ones."""
    same_source = (before.source, before.source_version) == (
        batch.delivery.source,
        batch.delivery.source_version,
    )
    return same_source and _is_same(before, batch)


def are_there(connection: Connection, batches: Sequence[ValidatedBatch]) -> list[bool]:
    """Whether loading would write no row of each, whichever deliveries loaded what is there."""
    if not batches:
        return []
    change = compare(connection, batches, [True] * len(batches))
    return [not counts.is_any for counts in change.counts]


def judge_completeness(
    connection: Connection,
    batches: Sequence[ValidatedBatch],
    neighbours: Callable[[ValidatedBatch], Sequence[int]],
    limits: CompletenessLimits,
    acceptance: Acceptance | None,
) -> list[Audit]:
    """Return of each delivery whether it is whole; of what removes no row, it is not judged.

    Args:
        connection: Reads what is loaded.
        batches: Deliveries of partitions of one table.
        neighbours: Returns the rows of the loaded partitions nearest to a delivery's.
        limits: When a delivery is not whole.
        acceptance: A delivery that is loaded all the same.
    """
    compared = [batch for batch in batches if _is_compared(batch)]
    keys = _compare_keys(connection, compared)
    audits: list[Audit] = []
    for batch in batches:
        pair = keys.get(batch.target.partition_key)
        if pair is None:
            expected = "a delivery of the source that replaces its partition"
            audits.append(Audit(COMPLETE, "not_applicable", expected, "a replay, merge or append"))
            continue
        around = () if pair[0] else neighbours(batch)
        audit = check_completeness(batch.validated.row_count, pair, around, limits)
        audits.append(apply_acceptance(audit, batch.content_sha256, acceptance))
    return audits


def _is_compared(batch: ValidatedBatch) -> bool:
    return batch.target.replaces_scope and not batch.delivery.is_ours


def _compare_keys(
    connection: Connection, batches: Sequence[ValidatedBatch]
) -> dict[str, LoadedKeys]:
    """Count the loaded rows in the scope of each delivery, and those whose keys it lacks."""
    keys: dict[str, LoadedKeys] = {batch.target.partition_key: (0, 0) for batch in batches}
    loaded = [batch for batch in batches if batch.target.token > 0]
    small = [batch for batch in loaded if not batch.validated.ranges]
    if small:
        rows = combine_batches([batch.validated.rows for batch in small])
        lacking = _mark_lacking_keys(
            connection, small[0].target, [validated_batch.scope for validated_batch in small], rows
        )
        for batch in small:
            frame = lacking.filter(match_frame_scope(batch.target.partition))
            keys[batch.target.partition_key] = _count_keys(frame)
    for batch in loaded:
        for condition, rows in batch.validated.ranges or ():
            scope = {**condition, **batch.scope}
            frame = _count_keys(_mark_lacking_keys(connection, batch.target, [scope], rows))
            loaded_count, missing_count = keys[batch.target.partition_key]
            keys[batch.target.partition_key] = (loaded_count + frame[0], missing_count + frame[1])
    return keys


def _mark_lacking_keys(
    connection: Connection, target: WriteTarget, scopes: Sequence[Scope], rows: pl.DataFrame
) -> pl.DataFrame:
    """Return the loaded keys in the scopes, with ``is_lacking``: ``rows`` do not have it."""
    table = target.table
    columns = [table.c[name] for name in dict.fromkeys([*key_names(table), *target.partition])]
    names = [column.name for column in columns]
    frames = [
        read_frame(connection, select(*columns).where(match_scope(table, scope)), table)
        for scope in join_scopes(scopes)
    ]
    present = rows.select(names).unique().with_columns(is_lacking=pl.lit(value=False))
    loaded = pl.concat(frames).join(present, on=names, how="left", nulls_equal=True)
    return loaded.with_columns(pl.col("is_lacking").fill_null(value=True))


def _count_keys(keys: pl.DataFrame) -> LoadedKeys:
    return len(keys), int(keys["is_lacking"].sum())


def compare(
    connection: Connection, batches: Sequence[ValidatedBatch], is_read: Sequence[bool]
) -> Difference:
    """Compare deliveries with what is loaded of those that are ``is_read``; nothing is written."""
    incoming = _build_incoming(batches, datetime.fromtimestamp(0, tz=UTC))
    current = _read_current(connection, batches, incoming, is_read)
    return compare_states(batches[0].target, current, incoming, len(batches))


def _is_same(before: ScopeState, batch: ValidatedBatch) -> bool:
    return (before.content_sha256, before.rule_version, before.scope) == (
        batch.content_sha256,
        batch.target.rule_version,
        batch.recorded_scope,
    )


def _build_incoming(batches: Sequence[ValidatedBatch], known_from: datetime) -> pl.DataFrame:
    """Return the rows of all deliveries as the table has them, and `BATCH_INDEX`."""
    rows = combine_batches([batch.validated.rows for batch in batches])
    return rows.with_columns(
        capture_id=find_capture_ids(rows, [group_id(batch.target) for batch in batches]),
        known_from=pl.lit(known_from, pl.Datetime("us", "UTC")),
    ).select(*derive_schema(batches[0].target.table), BATCH_INDEX)


def _read_current(
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
        scopes = [batch.scope for batch, read in zip(batches, is_read, strict=True) if read]
        frames = [read_scope(connection, target.table, scope) for scope in join_scopes(scopes)]
        rows = pl.concat([pl.DataFrame(schema=derive_schema(target.table)), *frames])
    else:
        rows = read_keys(connection, target.table, incoming if any(is_read) else incoming.clear())
        rows = rows.filter(match_frame_scope(target.partition)) if len(batches) == 1 else rows
    if len(batches) == 1:
        return rows.with_columns(pl.lit(0, pl.Int64).alias(BATCH_INDEX))
    data_types = {name: rows.schema[name] for name in target.partition}
    places = pl.DataFrame(
        [
            (*(batch.target.partition[name] for name in data_types), index)
            for index, batch in enumerate(batches)
        ],
        {**data_types, BATCH_INDEX: pl.Int64()},
        orient="row",
    )
    return rows.join(places, on=list(data_types), maintain_order="left")


def _write(
    connection: Connection,
    batches: Sequence[ValidatedBatch],
    is_new: Sequence[bool],
    known_from: datetime,
    condition: Scope | None = None,
) -> tuple[Difference, list[ChangeDigests]]:
    """Write the changed rows and their history; where nothing is new, that is known already.

    ``condition`` is the range of keys that the rows are of, where they come in ranges.
    """
    target = batches[0].target
    incoming = _build_incoming(batches, known_from)
    if not all(is_new):
        places = [index for index, new in enumerate(is_new) if new]
        incoming = incoming.filter(pl.col(BATCH_INDEX).is_in(places))
    # a first delivery, as the fence says, finds nothing to read
    is_read = [new and batch.target.token > 0 for batch, new in zip(batches, is_new, strict=True)]
    current = _read_current(connection, batches, incoming, is_read)
    change = compare_states(target, current, incoming, len(batches))
    if not target.replaces_scope or len(change.replaced) * BULK_REPLACE_RATIO <= len(current):
        delete_rows(connection, target.table, change.replaced)
        insert_frame(connection, target.table, change.written.drop(BATCH_INDEX))
    else:
        for scope in join_scopes(compress([batch.scope for batch in batches], is_new)):
            connection.execute(delete(target.table).where(match_scope(target.table, scope)))
        insert_frame(connection, target.table, change.rows.drop(BATCH_INDEX))
    earlier = _keep_history(connection, batches, change, known_from)
    ended = None if earlier is None else earlier.with_columns(change.replaced[BATCH_INDEX])
    return change, hash_changes(connection, target, change.written, ended, len(batches), condition)


def _summarize_batches(
    batches: Sequence[ValidatedBatch[SummaryT]],
    change: Difference,
    known_from: datetime,
    is_requested: Sequence[bool],
) -> list[SummaryT | None]:
    """Return the summary of each delivery's change, where it is requested.

    New and changed rows are known from now on.
    """
    if not any(is_requested):
        return [None] * len(batches)
    is_kept = pl.col("known_from") != pl.lit(known_from, pl.Datetime("us", "UTC"))
    kept_frame = change.rows.filter(is_kept)
    frames = [
        split_batches(frame, len(batches))
        for frame in (change.replaced, change.written, kept_frame)
    ]
    summarise = batches[0].target.spec.summarise
    return [
        summarise(replaced=replaced, written=written, kept=stays) if is_requested else None
        for is_requested, replaced, written, stays in zip(is_requested, *frames, strict=True)
    ]


def _keep_history(
    connection: Connection,
    batches: Sequence[ValidatedBatch],
    change: Difference,
    known_to: datetime,
) -> pl.DataFrame | None:
    """Insert replaced rows into the history; return them in the order of ``change``."""
    if change.replaced.is_empty():
        return None
    target = batches[0].target
    causes = {index: find_value_cause(batch) for index, batch in enumerate(batches)}
    cause = pl.col(BATCH_INDEX).replace_strict(causes, return_dtype=pl.String)
    earlier = change.replaced.with_columns(
        known_to=pl.lit(known_to, pl.Datetime("us", "UTC")),
        change_cause=pl.when("is_metadata").then(pl.lit("metadata")).otherwise(cause),
        rule_version=pl.lit(target.rule_version),
    )
    history = target.spec.history
    schema = derive_schema(history)
    unknown = {name: pl.lit(None, kind) for name, kind in schema.items() if name in ENDING}
    rows = earlier.with_columns(**unknown).select(list(schema))
    insert_frame(connection, history, rows)
    return rows
