"""What is recorded of partitions: their fences, and what was fetched, audited and landed."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    bindparam,
    delete,
    func,
    select,
    update,
)

from orchestration_project.contracts.rules import Validated
from orchestration_project.engine.warehouse.capture_log import CaptureGroup, CaptureLog
from orchestration_project.engine.warehouse.delivery import (
    Fenced,
    HeldBackError,
    Outcome,
    ScopeState,
    SupersededError,
    WriteRequest,
    WriteResult,
    WriteTarget,
    group_id,
)
from orchestration_project.engine.warehouse.frames import (
    frame_of,
    insert_absent,
    insert_frame,
    shown_scope,
)
from orchestration_project.tables.spine import audits, fences, landings

A_MICROSECOND = timedelta(microseconds=1)


def read_states(
    connection: Connection, table: Table, partition_keys: Sequence[str]
) -> Mapping[str, ScopeState]:
    """Return the token and the latest landing of each partition."""
    if not partition_keys:
        return {}
    newest = (
        select(func.max(landings.c.landed_at))
        .where(
            landings.c.table_name == fences.c.table_name,
            landings.c.partition_key == fences.c.scope_key,
        )
        .scalar_subquery()
    )
    found = connection.execute(
        select(fences.c.scope_key, fences.c.token, newest.label("landed_at")).where(
            _of(table, partition_keys)
        )
    ).all()
    latest = {(row.scope_key, row.landed_at): row.token for row in found}
    states = {row.scope_key: ScopeState(row.token) for row in found}
    landed = connection.execute(
        select(
            landings.c.partition_key,
            landings.c.landed_at,
            landings.c.source,
            landings.c.source_version,
            landings.c.content_sha256,
            landings.c.rule_version,
            landings.c.scope,
            landings.c.run_id,
        ).where(
            landings.c.table_name == table.name,
            landings.c.partition_key.in_(partition_keys),
            landings.c.landed_at.in_({at for _, at in latest if at is not None}),
        )
    )
    for key, at, *told in landed:
        if (key, at) in latest:
            states[key] = ScopeState(latest[key, at], at, *told)
    return {key: states.get(key, ScopeState(0)) for key in partition_keys}


def take_fence(
    connection: Connection, order: Fenced, now: datetime, source_version: str | None
) -> datetime:
    """Lock a partition as `take_fences` does, and return the next ``known_from``.

    Raises:
        SupersededError: The token is not the one of the order any more.
    """
    known_from, overtaken = take_fences(connection, [(order, source_version)], now)
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
    whose token is not the one of its order any more: that one's fence is left as it is.
    """
    table = wanted[0][0].table
    epoch = datetime.fromtimestamp(0, tz=now.tzinfo)
    new = {"table_name": table.name, "token": 0, "known_from": epoch, "source_version": None}
    keys = [order.partition_key for order, _ in wanted]
    insert_absent(connection, fences, [{**new, "scope_key": key} for key in keys])
    locked = (
        select(fences.c.scope_key, fences.c.token, fences.c.known_from)
        .where(_of(table, keys))
        .order_by(fences.c.scope_key)  # all lock in one order, so that no two deadlock
        .with_for_update()
    )
    found = {row.scope_key: row for row in connection.execute(locked)}
    overtaken = {
        order.partition_key: _superseded(order, found[order.partition_key].token)
        for order, _ in wanted
        if found[order.partition_key].token != order.token
    }
    if unheard := [key for key in overtaken if not found[key].token]:
        connection.execute(delete(fences).where(_of(table, unheard)))
    own = [each for each in wanted if each[0].partition_key not in overtaken]
    earlier = [found[order.partition_key].known_from for order, _ in own]
    known_from = max([now, *(each + A_MICROSECOND for each in earlier)])
    if own:
        connection.execute(
            update(fences)
            .where(fences.c.table_name == table.name, fences.c.scope_key == bindparam("key"))
            .values(
                token=bindparam("next_token"),
                known_from=known_from,
                source_version=bindparam("version"),
            ),
            [
                {"key": order.partition_key, "next_token": order.token + 1, "version": version}
                for order, version in own
            ],
        )
    return known_from, overtaken


def _of(table: Table, keys: Sequence[str]) -> ColumnElement[bool]:
    return and_(fences.c.table_name == table.name, fences.c.scope_key.in_(keys))


def _superseded(order: Fenced, token: int) -> SupersededError:
    return SupersededError(
        "another run delivered the same partition first",
        expected=f"delivery {order.token + 1}",
        found=f"{token} deliveries",
        remedy="nothing: the partition is looked at once more",
        partition=order.partition_key,
    )


def record_evidence(
    connection: Connection, batch: Sequence[WriteRequest], at: datetime, outcome: Outcome
) -> None:
    """Record what was fetched, refused and audited, whether or not it is landed."""
    if not batch:
        return
    fetched = [
        (each.delivery.all_captures, _group(each, outcome), each.checked.rejects) for each in batch
    ]
    CaptureLog(at).record_all(connection, fetched)
    verdicts = [row for each in batch for row in _audit_rows(each, at)]
    insert_frame(connection, audits, frame_of(verdicts, audits))


def _group(each: WriteRequest, outcome: Outcome) -> CaptureGroup:
    """Return what it takes to validate the captures again without the source."""
    order, delivery = each.order, each.delivery
    return CaptureGroup(
        group_id=group_id(order),
        table_name=order.table.name,
        partition_key=order.partition_key,
        source=delivery.source,
        dataset=delivery.dataset,
        source_version=delivery.source_version,
        record_total=delivery.record_total,
        scope=delivery.scope,
        part_count=len(delivery.captures),
        outcome=outcome,
        replay_of=delivery.replay_of,
        rule_version=order.rule_version,
        run_id=order.run_id,
    )


def _audit_rows(each: WriteRequest, at: datetime) -> list[dict[str, object]]:
    group = group_id(each.order)
    return [
        {
            "group_id": group,
            "table_name": each.order.table.name,
            "name": audit.name,
            "partition_key": each.order.partition_key,
            "severity": audit.severity,
            "outcome": audit.outcome,
            "expected": audit.expected,
            "found": audit.found,
            "offenders": audit.offenders_json,
            "run_id": each.order.run_id,
            "audited_at": at,
        }
        for audit in each.checked.audits
    ]


def record_landings(
    connection: Connection, batch: Sequence[WriteRequest], landed: Sequence[WriteResult]
) -> None:
    """Record that deliveries landed, and what that changed."""
    told = [
        {
            "group_id": done.group_id,
            "table_name": each.order.table.name,
            "scope": shown_scope(each.scope),
            "partition_key": each.order.partition_key,
            "source": each.delivery.source,
            "source_version": each.delivery.source_version,
            "content_sha256": each.prepared.content_sha256,
            "rows_added": done.rows_added,
            "rows_changed": done.rows_changed,
            "rows_removed": done.rows_removed,
            "rows_unchanged": done.rows_unchanged,
            "rows_rejected": len(each.checked.rejects),
            "change_cause": done.change_cause,
            "rule_version": each.order.rule_version,
            "run_id": each.order.run_id,
            "landed_at": done.known_from,
        }
        for each, done in zip(batch, landed, strict=True)
    ]
    insert_frame(connection, landings, frame_of(told, landings))


def held_back(order: WriteTarget, checked: Validated) -> HeldBackError:
    """Return the error that names the audits which failed, with numbers."""
    failed = [audit for audit in checked.audits if audit.blocks]
    return HeldBackError(
        f"{order.partition_key} is held back by " + ", ".join(audit.name for audit in failed),
        expected="; ".join(audit.expected for audit in failed),
        found="; ".join(f"{audit.found} {audit.offenders_json[:300]}" for audit in failed),
        remedy=f"see the table audits, group_id {group_id(order)}; the published rows stay as they "
        "were; run the partition again once the source has corrected it, or replay it once a limit "
        "or rule allows it",
        partition=order.partition_key,
    )
