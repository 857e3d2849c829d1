"""Fences: the lock of a partition, its token, and its current state.

What is recorded of deliveries is written here too, in the same transaction: so a fence never says
other than `landings` and `audits` do, and what requests the present reads no history.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    select,
    update,
)

from orchestration_project.engine.connections.clock import NEW_YORK
from orchestration_project.engine.contracts import lazy_polars as pl
from orchestration_project.engine.contracts.audits import COMPLETE
from orchestration_project.engine.warehouse.balancing import record_balances
from orchestration_project.engine.warehouse.capture_log import CaptureGroup, CaptureLog
from orchestration_project.engine.warehouse.delivery import (
    Counts,
    Outcome,
    Publication,
    QuarantinedError,
    SupersededError,
    ValidatedBatch,
    WriteResult,
    decide_publication,
    group_id,
)
from orchestration_project.engine.warehouse.frames import (
    build_frame,
    decode_scope,
    insert_absent,
    insert_frame,
    match_scope,
    read_frame,
    share_rows,
)
from orchestration_project.engine.warehouse.target import Fenced, ScopeState
from orchestration_project.tables.schema import ENDED_ON, HISTORY, IS_LOAD_DAY, PUBLICATION
from orchestration_project.tables.spine import audits, deliveries, fences, landings

EARLIER = ("partition_key", "group_id", "scope", "published_on", "is_load_day")
"""Columns of earlier deliveries that decide the publication of a later one."""

A_MICROSECOND = timedelta(microseconds=1)

LATEST_LOAD = (
    fences.c.landed_at,
    fences.c.landed_source,
    fences.c.landed_source_version,
    fences.c.landed_content_sha256,
    fences.c.landed_rule_version,
    fences.c.landed_scope,
    fences.c.landed_run_id,
)
"""The latest load of a partition, in the order of `ScopeState`."""


def read_states(
    connection: Connection, table: Table, partition_keys: Sequence[str]
) -> Mapping[str, ScopeState]:
    """Return the token and the latest load of each partition."""
    if not partition_keys:
        return {}
    rows = connection.execute(
        select(fences.c.scope_key, fences.c.token, *LATEST_LOAD).where(
            _match_partitions(table, partition_keys)
        )
    )
    states = {key: ScopeState(token, *loaded) for key, token, *loaded in rows}
    return {key: states.get(key, ScopeState(0)) for key in partition_keys}


def take_fence(
    connection: Connection, target: Fenced, now: datetime, source_version: str | None
) -> datetime:
    """Lock a partition as `take_fences` does, and return the next ``known_from``.

    Raises:
        SupersededError: The token is not the one of the target any more.
    """
    known_from, overtaken = take_fences(connection, [(target, source_version)], now)
    for error in overtaken.values():
        raise error
    return known_from


def take_fences(
    connection: Connection, wanted: Sequence[tuple[Fenced, str | None]], now: datetime
) -> tuple[datetime, dict[str, SupersededError]]:
    """Lock partitions of a table and move their tokens on.

    Each comes with the version of its delivery, None for one that could not be audited; of a
    derived partition it names what that is made of.

    Returns the next ``known_from``, later than that of any of them, and an error for each partition
    whose token is not the one of its target any more: that one's fence is left as it is.
    """
    table = wanted[0][0].table
    epoch = datetime.fromtimestamp(0, tz=now.tzinfo)
    new = {"table_name": table.name, "token": 0, "known_from": epoch, "source_version": None}
    keys = [target.partition_key for target, _ in wanted]
    insert_absent(connection, fences, [{**new, "scope_key": key} for key in keys])
    locked = (
        select(fences.c.scope_key, fences.c.token, fences.c.known_from)
        .where(_match_partitions(table, keys))
        .order_by(fences.c.scope_key)  # all lock in one order, so that no two deadlock
        .with_for_update()
    )
    rows = {row.scope_key: row for row in connection.execute(locked)}
    overtaken = {
        target.partition_key: _build_superseded(target, rows[target.partition_key].token)
        for target, _ in wanted
        if rows[target.partition_key].token != target.token
    }
    if unheard := [key for key in overtaken if not rows[key].token]:
        connection.execute(delete(fences).where(_match_partitions(table, unheard)))
    claimed = [pair for pair in wanted if pair[0].partition_key not in overtaken]
    earlier = [rows[target.partition_key].known_from for target, _ in claimed]
    known_from = max([now, *(item + A_MICROSECOND for item in earlier)])
    values = {
        "token": bindparam("next_token"),
        "known_from": known_from,
        "source_version": bindparam("version"),
        "delivery_table": None,
    }
    entries = [
        {"key": target.partition_key, "next_token": target.token + 1, "version": version}
        for target, version in claimed
    ]
    _update_fences(connection, table, values, entries)
    return known_from, overtaken


def _update_fences(
    connection: Connection,
    table: Table,
    values: Mapping[str, object],
    rows: Sequence[Mapping[str, object]],
) -> None:
    """Set ``values`` in the fences of a table; each row has a ``key``, and what they are bound to.

    The caller holds the locks.
    """
    if rows:
        pair = (fences.c.table_name == table.name, fences.c.scope_key == bindparam("key"))
        connection.execute(update(fences).where(*pair).values(values), rows)


def _match_partitions(table: Table, keys: Sequence[str]) -> ColumnElement[bool]:
    return and_(fences.c.table_name == table.name, fences.c.scope_key.in_(keys))


def _build_superseded(target: Fenced, token: int) -> SupersededError:
    return SupersededError(
        "another run delivered the same partition first",
        expected=f"delivery {target.token + 1}",
        found=f"{token} deliveries",
        remedy="nothing: the partition is read again",
        partition=target.partition_key,
    )


def record_evidence(
    connection: Connection,
    batches: Sequence[ValidatedBatch],
    at: datetime,
    outcome: Outcome,
    publications: Sequence[Publication] = (),
) -> None:
    """Record the captures, rejects and audits of batches, whether or not they are loaded.

    ``publications`` are those of loaded ``batches``, in their order.
    """
    if not batches:
        return
    dated = publications or [Publication()] * len(batches)
    fetched = [
        (batch.delivery.all_captures, _group(batch, outcome, day), batch.validated.rejects)
        for batch, day in zip(batches, dated, strict=True)
    ]
    CaptureLog(at).record_all(connection, fetched)
    audited = [validated_batch for validated_batch in batches if validated_batch.validated.audits]
    verdicts = [
        row for validated_batch in audited for row in _build_audit_rows(validated_batch, at)
    ]
    insert_frame(connection, audits, build_frame(verdicts, audits))
    record_balances(connection, batches, at)
    _update_fences(
        connection,
        batches[0].target.table,
        {"audited_group_id": bindparam("group")},
        [
            {"key": validated_batch.target.partition_key, "group": group_id(validated_batch.target)}
            for validated_batch in audited
        ],
    )


def _group(batch: ValidatedBatch, outcome: Outcome, publication: Publication) -> CaptureGroup:
    """Return the capture group, by which captures are validated again without the source."""
    target, delivery = batch.target, batch.delivery
    return CaptureGroup(
        group_id=group_id(target),
        table_name=target.table.name,
        partition_key=target.partition_key,
        source=delivery.source,
        dataset=delivery.dataset,
        source_version=delivery.source_version,
        record_total=delivery.record_total,
        scope=delivery.scope,
        part_count=len(delivery.captures),
        outcome=outcome,
        replay_of=delivery.replay_of,
        rule_version=target.rule_version,
        run_id=target.run_id,
        write_disposition=target.write_disposition,
        published_on=publication.day,
        is_load_day=publication.is_load_day,
    )


def record_publications(
    connection: Connection,
    batches: Sequence[ValidatedBatch],
    counts: Sequence[Counts],
    known_from: datetime,
) -> list[Publication]:
    """Return the publications of deliveries that are written, and date the rows that they ended."""
    table = batches[0].target.table
    if PUBLICATION not in table.info:
        return [Publication()] * len(batches)
    earlier = _read_publications(connection, batches)
    publications = []
    for batch, count in zip(batches, counts, strict=True):
        publication = _build_publication(
            connection, batch, count, earlier[batch.target.partition_key], known_from
        )
        publications.append(publication)
        if count.replaced:
            history: Table = table.info[HISTORY]
            ended = and_(match_scope(history, batch.scope), history.c.known_to == known_from)
            days = {ENDED_ON: publication.day, IS_LOAD_DAY: publication.is_load_day}
            connection.execute(update(history).where(ended).values(days))
    return publications


def _build_publication(
    connection: Connection,
    batch: ValidatedBatch,
    counts: Counts,
    earlier: Sequence[Row[Any]],
    known_from: datetime,
) -> Publication:
    """Return the publication of a delivery; loaded again, it keeps that of its first load."""
    if batch.delivery.is_ours:
        for row in earlier:
            if row.group_id == batch.delivery.replay_of:
                return Publication(row.published_on, row.is_load_day)
    table, load_day = batch.target.table, known_from.astimezone(NEW_YORK).date()
    dated = table.c[table.info[PUBLICATION][1]]
    statement = select(func.max(dated)).where(match_scope(table, batch.scope), dated <= load_day)
    scopes = ((decode_scope(row.scope), row.published_on) for row in earlier)
    days = [day for scope, day in scopes if share_rows(scope, batch.delivery.scope)]
    return decide_publication(
        connection.execute(statement).scalar_one(),
        max(days, default=None),
        load_day=load_day,
        is_changed=counts.is_any,
        only_removes=not counts.added and not counts.changed,
    )


def _read_publications(
    connection: Connection, batches: Sequence[ValidatedBatch]
) -> Mapping[str, Sequence[Row[Any]]]:
    """Return the dated deliveries that were loaded of each partition."""
    rows = connection.execute(
        select(
            *(deliveries.c[name] for name in EARLIER),
        ).where(
            deliveries.c.table_name == batches[0].target.table.name,
            deliveries.c.partition_key.in_([batch.target.partition_key for batch in batches]),
            deliveries.c.published_on.is_not(None),
        )
    )
    by_partition = defaultdict[str, list[Row[Any]]](list)
    for row in rows:
        by_partition[row.partition_key].append(row)
    return by_partition


def _build_audit_rows(batch: ValidatedBatch, at: datetime) -> list[dict[str, object]]:
    group = group_id(batch.target)
    return [
        {
            "group_id": group,
            "table_name": batch.target.table.name,
            "name": audit.name,
            "partition_key": batch.target.partition_key,
            "severity": audit.severity,
            "outcome": audit.outcome,
            "expected": audit.expected,
            "found": audit.found,
            "offenders": audit.offenders_json,
            "run_id": batch.target.run_id,
            "audited_at": at,
        }
        for audit in batch.validated.audits
    ]


def record_loads(
    connection: Connection, batches: Sequence[ValidatedBatch], write_results: Sequence[WriteResult]
) -> None:
    """Record that deliveries loaded, and what that changed."""
    entries = [
        {
            "group_id": result.group_id,
            "table_name": batch.target.table.name,
            "scope": batch.recorded_scope,
            "partition_key": batch.target.partition_key,
            "source": batch.delivery.source,
            "source_version": batch.delivery.source_version,
            "content_sha256": batch.content_sha256,
            "rows_added": result.rows_added,
            "rows_changed": result.rows_changed,
            "rows_removed": result.rows_removed,
            "rows_unchanged": result.rows_unchanged,
            "rows_rejected": len(batch.validated.rejects),
            "change_cause": result.change_cause,
            "rule_version": batch.target.rule_version,
            "run_id": batch.target.run_id,
            "landed_at": result.known_from,
        }
        for batch, result in zip(batches, write_results, strict=True)
    ]
    insert_frame(connection, landings, build_frame(entries, landings))
    _record_state(connection, batches, write_results)


def _record_state(
    connection: Connection, batches: Sequence[ValidatedBatch], write_results: Sequence[WriteResult]
) -> None:
    """Have the fences name these as the latest loads.

    Where neither values, dates of publication nor rules are new, the load that changed them
    last stays.
    """
    at = bindparam("at", type_=fences.c.landed_at.type)
    has_same_rules = fences.c.landed_rule_version == bindparam("rules_if_same_rows")
    values = {
        "landed_at": at,
        "landed_source": bindparam("source"),
        "landed_source_version": bindparam("version"),
        "landed_content_sha256": bindparam("content"),
        "landed_rule_version": bindparam("rules"),
        "landed_scope": bindparam("scope"),
        "landed_run_id": bindparam("run"),
        "first_landed_at": func.coalesce(fences.c.first_landed_at, at),
        "changed_token": case((has_same_rules, fences.c.changed_token), else_=fences.c.token),
    }
    rows = [
        {
            "key": batch.target.partition_key,
            "at": result.known_from,
            "source": batch.delivery.source,
            "version": batch.delivery.source_version,
            "content": batch.content_sha256,
            "rules": batch.target.rule_version,
            "rules_if_same_rows": None if result.has_changes else batch.target.rule_version,
            "scope": batch.recorded_scope,
            "run": batch.target.run_id,
        }
        for batch, result in zip(batches, write_results, strict=True)
    ]
    _update_fences(connection, batches[0].target.table, values, rows)


def build_quarantine_error(batch: ValidatedBatch) -> QuarantinedError:
    """Return the error that names the audits which failed, with numbers."""
    failed = [audit for audit in batch.validated.audits if audit.blocks]
    key = batch.target.partition_key
    accept = ""
    if all(audit.name == COMPLETE for audit in failed):
        accept = "; to load it as it is, give its SHA-256 as accept_sha256, with an accept_reason"
    error = QuarantinedError(
        f"{key} is quarantined by " + ", ".join(audit.name for audit in failed),
        expected="; ".join(audit.expected for audit in failed),
        found="; ".join(f"{audit.found} {audit.offenders_json[:300]}" for audit in failed),
        remedy=f"see the table audits, group_id {group_id(batch.target)}; the published rows stay "
        "as they were; run the partition again once the source has corrected it, or replay it once "
        "a limit or rule allows it" + accept,
        partition=key,
    )
    error.group_ids = (group_id(batch.target),)
    return error


def read_loaded_partitions(connection: Connection, table: Table) -> list[str]:
    """Return the keys of the partitions of a table that are loaded."""
    query = select(fences.c.scope_key).where(
        fences.c.table_name == table.name, fences.c.landed_at.is_not(None)
    )
    return list(connection.scalars(query))


def count_loaded_rows(
    connection: Connection, table: Table, keys: Sequence[str]
) -> Mapping[str, int]:
    """Return how many rows the latest load of each partition had."""
    columns = landings.c
    query = (
        select(
            columns.partition_key,
            (columns.rows_added + columns.rows_changed + columns.rows_unchanged).label("row_count"),
        )
        .join(
            fences,
            (fences.c.table_name == columns.table_name)
            & (fences.c.scope_key == columns.partition_key)
            & (fences.c.landed_at == columns.landed_at),
        )
        .where(columns.table_name == table.name, columns.partition_key.in_(keys))
    )
    return {row.partition_key: row.row_count for row in connection.execute(query)}


def read_last_changes(connection: Connection, table: Table) -> dict[str, int]:
    """Return each loaded partition, and the number of the delivery that last changed it.

    Restated dates of publication count, as derived tables have them. New rules count as a change:
    what they derive may differ where the rows do not.
    """
    loaded = connection.execute(
        select(fences.c.scope_key, fences.c.changed_token).where(
            fences.c.table_name == table.name, fences.c.changed_token.is_not(None)
        )
    )
    return {row.scope_key: row.changed_token for row in loaded}


def read_known_versions(connection: Connection, table: Table) -> dict[str, set[str]]:
    """Return the source versions of the latest audited delivery and the latest load of each.

    A partition of which neither is known is left out.
    """
    rows = connection.execute(
        select(fences.c.scope_key, fences.c.source_version, fences.c.landed_source_version).where(
            fences.c.table_name == table.name
        )
    )
    values = {
        key: {version for version in versions if version is not None} for key, *versions in rows
    }
    return {key: versions for key, versions in values.items() if versions}


def read_latest_audits(connection: Connection, table: Table) -> pl.DataFrame:
    """Return the audits of each partition's latest delivery that has any."""
    latest = (audits.c.group_id == fences.c.audited_group_id) & (
        audits.c.table_name == fences.c.table_name
    )
    statement = (
        select(audits)
        .join(fences, latest)
        .where(fences.c.table_name == table.name)
        .order_by(audits.c.partition_key, audits.c.name)
    )
    return read_frame(connection, statement, audits)


def find_first_load_time(connection: Connection, table: Table) -> datetime | None:
    """Return when a partition of ``table`` was loaded first, which identifies this database.

    Partitions and the numbers of their deliveries are the same in each of them.
    """
    return connection.execute(
        select(func.min(fences.c.first_landed_at)).where(fences.c.table_name == table.name)
    ).scalar()


def read_fence(connection: Connection, table: Table, partition_key: str) -> tuple[int, str | None]:
    """Return how often a partition was derived, and what it was last made of."""
    return read_fences(connection, table, [partition_key])[partition_key]


def read_fences(
    connection: Connection, table: Table, partition_keys: Sequence[str]
) -> dict[str, tuple[int, str | None]]:
    """Return the same of several partitions."""
    at = {"table_name": table.name, "scope_key": tuple(partition_keys)}
    columns = (fences.c.scope_key, fences.c.token, fences.c.source_version)
    rows = connection.execute(select(*columns).where(match_scope(fences, at)))
    values = {row.scope_key: (row.token, row.source_version) for row in rows}
    return {key: values.get(key, (0, None)) for key in partition_keys}


def read_derived_versions(connection: Connection, table: Table) -> dict[str, str]:
    """Return each partition of a derived table, and what it was made of."""
    derived = connection.execute(
        select(fences.c.scope_key, fences.c.source_version).where(fences.c.table_name == table.name)
    )
    return {key: version for key, version in derived if version is not None}
