"""Retention of the bodies of webhook deliveries, with all their copies, and of refused uploads.

A delivery keeps its row in `inbox`, so that a repeated one is recognized as a duplicate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    Table,
    and_,
    case,
    delete,
    exists,
    false,
    func,
    not_,
    or_,
    select,
    update,
)

from orchestration_project.domains.events.tables import (
    ROUTED_STATES,
    WITH_OUTBOX,
    events_routed,
)
from orchestration_project.engine.contracts.chain import RETENTION
from orchestration_project.engine.contracts.retention import WEBHOOK_BODIES
from orchestration_project.engine.contracts.work_items import WAITING_STATES
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.chain_amending import record_amendments
from orchestration_project.services.cleanup.retention import ExpiredRows, RowRetention
from orchestration_project.services.inbox.rows import (
    BODY_REMOVED,
    CAPTURE_SOURCE,
    HAS_BODY,
    build_topic,
)
from orchestration_project.settings import Settings
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import (
    IS_ITEM_OF_DELIVERY,
    blobs,
    captures,
    inbox,
    rejects,
    upload_refusals,
    work_items,
)
from orchestration_project.tables.webhooks import events_webhooks

REFUSAL_DAYS = 30
"""Age from which refusals of uploads are deleted."""

BATCH_ROWS = 500
"""Deliveries of one transaction."""

_ACTION = {label.name: label.element for label in ROUTED_STATES.select.selected_columns}

REMOVED_REASON = "removed with the body of the delivery, by WEBHOOK_BODY_DAYS or its like for dead"


@dataclass(frozen=True)
class BodyRetention:
    """Days after which bodies are removed; None: never.

    Attributes:
        applied_days: Of deliveries that are done, with all actions that rules planned for them.
        dead_days: Of deliveries that are dead, or that led to an action which is.
    """

    applied_days: int | None
    dead_days: int | None
    kind: str = WEBHOOK_BODIES

    def measure(self, connection: Connection, now: datetime) -> ExpiredRows:
        """Return number and bytes of the bodies that are old."""
        sums = (func.count(), func.coalesce(func.sum(inbox.c.byte_count), 0))
        row_count, byte_count = connection.execute(select(*sums).where(self._is_old(now))).one()
        return ExpiredRows(row_count, int(byte_count))

    def unneeded_blobs(self, connection: Connection, now: datetime) -> set[str]:
        """Return the SHA-256 of stored bytes of bodies that are old or removed.

        Bytes that another delivery still needs, or another source captured, are not among them.
        """
        is_gone = or_(not_(HAS_BODY), self._is_old(now))
        of_others = select(captures.c.sha256).where(captures.c.source != CAPTURE_SOURCE)
        statement = select(blobs.c.sha256).where(
            blobs.c.sha256.in_(select(inbox.c.sha256).where(is_gone)),
            blobs.c.sha256.not_in(select(inbox.c.sha256).where(not_(is_gone))),
            blobs.c.sha256.not_in(of_others),
        )
        return set(connection.scalars(statement))

    def remove(self, warehouse: Warehouse, now: datetime) -> ExpiredRows:
        """Remove the bodies that are old, with their copies in tables, batch by batch."""
        removed = ExpiredRows(0, 0)
        columns = [inbox.c[name] for name in ("source", "delivery_id", "sha256", "byte_count")]
        statement = select(*columns).where(self._is_old(now)).limit(BATCH_ROWS).with_for_update()
        while True:
            with warehouse.writing() as connection:
                rows = connection.execute(statement).mappings().all()
                keys = [f"{row['source']}|{row['delivery_id']}" for row in rows]
                reached = {events_webhooks: keys}
                with record_amendments(connection, RETENTION, "WEBHOOK_BODY_DAYS", now, reached):
                    for source in sorted({row["source"] for row in rows}):
                        own = [row for row in rows if row["source"] == source]
                        _remove(connection, source, own)
            if not rows:
                return removed
            removed = ExpiredRows(
                removed.row_count + len(rows),
                removed.byte_count + sum(row["byte_count"] for row in rows),
            )

    def _is_old(self, now: datetime) -> ColumnElement[bool]:
        """Return the condition of rows of `inbox` whose bodies are to be removed."""
        has_dead_action = _has_action(_ACTION["outcome"] == "dead")
        is_dead = or_(_has_item(work_items.c.state == "dead"), has_dead_action)
        classes = [(self.applied_days, not_(is_dead)), (self.dead_days, is_dead)]
        conditions = [
            and_(condition, _match_ended_before(now - timedelta(days=days)))
            for days, condition in classes
            if days is not None
        ]
        return and_(HAS_BODY, or_(false(), *conditions))


def _match_ended_before(before: datetime) -> ColumnElement[bool]:
    """Return the condition of deliveries that ended before a time, and their actions as well."""
    is_open = or_(_ACTION["outcome"] == "waiting", _ACTION["changed_at"] >= before)
    is_worked_on = or_(work_items.c.state.in_(WAITING_STATES), work_items.c.changed_at >= before)
    return and_(
        inbox.c.received_at < before, not_(_has_item(is_worked_on)), not_(_has_action(is_open))
    )


def _has_item(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition of deliveries whose work item meets a condition."""
    return exists().where(IS_ITEM_OF_DELIVERY, condition)


def _has_action(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition of deliveries for which a rule planned such an action."""
    routed = events_routed.c
    is_own = and_(routed.source == inbox.c.source, routed.delivery_id == inbox.c.delivery_id)
    return exists().select_from(WITH_OUTBOX).where(is_own, condition)


def _remove(connection: Connection, source: str, rows: Sequence[RowMapping]) -> None:
    """Remove the bodies of some deliveries of a source from all tables."""
    ids = [row["delivery_id"] for row in rows]
    emptied: list[tuple[Table, dict[str, Any]]] = [
        (inbox, {"body": None}),
        (events_webhooks, {"payload": None}),
        (events_webhooks.info[HISTORY], {"payload": None}),
        (events_routed, {"fields": "{}", "progress": None}),
    ]
    for table, values in emptied:
        are_own = (table.c.source == source, table.c.delivery_id.in_(ids))
        connection.execute(update(table).where(*are_own).values(values))
    captured = select(captures.c.capture_id).where(
        captures.c.source == CAPTURE_SOURCE,
        captures.c.dataset == source,
        captures.c.sha256.in_([row["sha256"] for row in rows]),
        captures.c.partition_key.in_([f"{source}|{delivery_id}" for delivery_id in ids]),
    )
    connection.execute(
        update(rejects)
        .where(rejects.c.capture_id.in_(captured))
        .values(record="", reason=REMOVED_REASON)
    )
    item = work_items.c
    was_dead = case((item.state == "dead", BODY_REMOVED))
    connection.execute(
        update(work_items)
        .where(item.topic == build_topic(source), item.item_key.in_(ids))
        .values(reason_code=was_dead, reason=case((item.state == "dead", REMOVED_REASON)))
    )


class RefusalRetention:
    """Refusals of uploads go after `REFUSAL_DAYS`."""

    kind = "refused uploads"

    def measure(self, connection: Connection, now: datetime) -> ExpiredRows:
        """Return the number of old refusals."""
        counted = select(func.count()).select_from(upload_refusals).where(_is_old_refusal(now))
        return ExpiredRows(connection.execute(counted).scalar_one(), 0)

    def unneeded_blobs(self, connection: Connection, now: datetime) -> set[str]:
        """Return none: bytes of refused files are not stored."""
        return set()

    def remove(self, warehouse: Warehouse, now: datetime) -> ExpiredRows:
        """Delete old refusals, and return how many they were."""
        with warehouse.writing() as connection:
            deleted = connection.execute(delete(upload_refusals).where(_is_old_refusal(now)))
        return ExpiredRows(deleted.rowcount, 0)


def _is_old_refusal(now: datetime) -> ColumnElement[bool]:
    return upload_refusals.c.refused_at < now - timedelta(days=REFUSAL_DAYS)


def body_retention(settings: Settings) -> Sequence[RowRetention]:
    """Return the retention of bodies that the settings state; none where they state no days."""
    retention = BodyRetention(settings.webhook_body_days, settings.webhook_dead_body_days)
    is_stated = retention.applied_days is not None or retention.dead_days is not None
    return [retention] if is_stated else []
