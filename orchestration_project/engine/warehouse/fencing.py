"""Fences: the lock of a partition, its token, and its current state.

What is recorded of deliveries is written here too, in the same transaction: so a fence never says
other than `landings` and `audits` do, and what asks for the present reads no history.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    select,
    update,
)

from orchestration_project.engine.warehouse.capture_log import CaptureGroup, CaptureLog
from orchestration_project.engine.warehouse.delivery import (
    HeldBackError,
    Outcome,
    SupersededError,
    ValidatedBatch,
    WriteResult,
    group_id,
)
from orchestration_project.engine.warehouse.frames import (
    frame_of,
    insert_absent,
    insert_frame,
)
from orchestration_project.engine.warehouse.target import Fenced, ScopeState
from orchestration_project.tables.spine import audits, fences, landings

A_MICROSECOND = timedelta(microseconds=1)

LANDED = (
    fences.c.landed_at,
    fences.c.landed_source,
    fences.c.landed_source_version,
    fences.c.landed_content_sha256,
    fences.c.landed_rule_version,
    fences.c.landed_scope,
    fences.c.landed_run_id,
)
"""The latest landing of a partition, in the order of `ScopeState`."""


def read_states(
    connection: Connection, table: Table, partition_keys: Sequence[str]
) -> Mapping[str, ScopeState]:
    """Return the token and the latest landing of each partition."""
    if not partition_keys:
        return {}
    found = connection.execute(
        select(fences.c.scope_key, fences.c.token, *LANDED).where(_of(table, partition_keys))
    )
    states = {key: ScopeState(token, *landed) for key, token, *landed in found}
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
        .where(_of(table, keys))
        .order_by(fences.c.scope_key)  # all lock in one order, so that no two deadlock
        .with_for_update()
    )
    found = {row.scope_key: row for row in connection.execute(locked)}
    overtaken = {
        target.partition_key: _superseded(target, found[target.partition_key].token)
        for target, _ in wanted
        if found[target.partition_key].token != target.token
    }
    if unheard := [key for key in overtaken if not found[key].token]:
        connection.execute(delete(fences).where(_of(table, unheard)))
    own = [each for each in wanted if each[0].partition_key not in overtaken]
    earlier = [found[target.partition_key].known_from for target, _ in own]
    known_from = max([now, *(each + A_MICROSECOND for each in earlier)])
    values = {
        "token": bindparam("next_token"),
        "known_from": known_from,
        "source_version": bindparam("version"),
    }
    moved = [
        {"key": target.partition_key, "next_token": target.token + 1, "version": version}
        for target, version in own
    ]
    _update_fences(connection, table, values, moved)
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
        own = (fences.c.table_name == table.name, fences.c.scope_key == bindparam("key"))
        connection.execute(update(fences).where(*own).values(values), rows)


def _of(table: Table, keys: Sequence[str]) -> ColumnElement[bool]:
    return and_(fences.c.table_name == table.name, fences.c.scope_key.in_(keys))


def _superseded(target: Fenced, token: int) -> SupersededError:
    return SupersededError(
        "another run delivered the same partition first",
        expected=f"delivery {target.token + 1}",
        found=f"{token} deliveries",
        remedy="nothing: the partition is read again",
        partition=target.partition_key,
    )


def record_evidence(
    connection: Connection, batches: Sequence[ValidatedBatch], at: datetime, outcome: Outcome
) -> None:
    """Record what was fetched, refused and audited, whether or not it is landed."""
    if not batches:
        return
    fetched = [
        (each.delivery.all_captures, _group(each, outcome), each.validated.rejects)
        for each in batches
    ]
    CaptureLog(at).record_all(connection, fetched)
    audited = [each for each in batches if each.validated.audits]
    verdicts = [row for each in audited for row in _audit_rows(each, at)]
    insert_frame(connection, audits, frame_of(verdicts, audits))
    _update_fences(
        connection,
        batches[0].target.table,
        {"audited_group_id": bindparam("group")},
        [{"key": each.target.partition_key, "group": group_id(each.target)} for each in audited],
    )


def _group(batch: ValidatedBatch, outcome: Outcome) -> CaptureGroup:
    """Return what it takes to validate the captures again without the source."""
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
    )


def _audit_rows(batch: ValidatedBatch, at: datetime) -> list[dict[str, object]]:
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


def record_landings(
    connection: Connection, batches: Sequence[ValidatedBatch], landed: Sequence[WriteResult]
) -> None:
    """Record that deliveries landed, and what that changed."""
    told = [
        {
            "group_id": done.group_id,
            "table_name": each.target.table.name,
            "scope": each.recorded_scope,
            "partition_key": each.target.partition_key,
            "source": each.delivery.source,
            "source_version": each.delivery.source_version,
            "content_sha256": each.content_sha256,
            "rows_added": done.rows_added,
            "rows_changed": done.rows_changed,
            "rows_removed": done.rows_removed,
            "rows_unchanged": done.rows_unchanged,
            "rows_rejected": len(each.validated.rejects),
            "change_cause": done.change_cause,
            "rule_version": each.target.rule_version,
            "run_id": each.target.run_id,
            "landed_at": done.known_from,
        }
        for each, done in zip(batches, landed, strict=True)
    ]
    insert_frame(connection, landings, frame_of(told, landings))
    _record_state(connection, batches, landed)


def _record_state(
    connection: Connection, batches: Sequence[ValidatedBatch], landed: Sequence[WriteResult]
) -> None:
    """Have the fences name these as the latest landings.

    Where neither values nor rules are new, the landing that changed them last stays.
    """
    at = bindparam("at", type_=fences.c.landed_at.type)
    has_same_rules = fences.c.landed_rule_version == bindparam("rules_if_same_values")
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
            "key": each.target.partition_key,
            "at": done.known_from,
            "source": each.delivery.source,
            "version": each.delivery.source_version,
            "content": each.content_sha256,
            "rules": each.target.rule_version,
            "rules_if_same_values": None if done.has_new_values else each.target.rule_version,
            "scope": each.recorded_scope,
            "run": each.target.run_id,
        }
        for each, done in zip(batches, landed, strict=True)
    ]
    _update_fences(connection, batches[0].target.table, values, rows)


def held_back(batch: ValidatedBatch) -> HeldBackError:
    """Return the error that names the audits which failed, with numbers."""
    failed = [audit for audit in batch.validated.audits if audit.blocks]
    key = batch.target.partition_key
    error = HeldBackError(
        f"{key} is quarantined by " + ", ".join(audit.name for audit in failed),
        expected="; ".join(audit.expected for audit in failed),
        found="; ".join(f"{audit.found} {audit.offenders_json[:300]}" for audit in failed),
        remedy=f"see the table audits, group_id {group_id(batch.target)}; the published rows stay "
        "as they were; run the partition again once the source has corrected it, or replay it once "
        "a limit or rule allows it",
        partition=key,
    )
    error.group_ids = (group_id(batch.target),)
    return error
