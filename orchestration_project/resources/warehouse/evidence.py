"""What is recorded of a delivery: its captures, rejects and audits, and that it landed."""

from datetime import datetime

import polars as pl
from sqlalchemy import Connection, insert

from orchestration_project.contracts import Checked
from orchestration_project.resources.warehouse.delivery import (
    Delivery,
    HeldBackError,
    Landed,
    Order,
    Outcome,
    capture_id,
    group_id,
)
from orchestration_project.resources.warehouse.frames import (
    frame_of,
    insert_absent,
    insert_frame,
    scope_as_json,
)
from orchestration_project.tables.kinds import schema_of
from orchestration_project.tables.spine import (
    audits,
    blobs,
    captures,
    deliveries,
    landings,
    rejects,
)


def capture_ids(rows: pl.DataFrame, group: str) -> pl.Series:
    """Return the capture of each row, by its ``part_number`` in the delivery ``group``."""
    ids = {part: capture_id(group, part) for part in rows["part_number"].unique()}
    return rows["part_number"].replace_strict(ids, return_dtype=pl.Int64)


def record_evidence(
    connection: Connection,
    order: Order,
    delivery: Delivery,
    checked: Checked,
    at: datetime,
    outcome: Outcome,
) -> None:
    """Record what was fetched, refused and audited, whether or not it is landed."""
    _record_delivery(connection, order, delivery, at, outcome)
    _record_captures(connection, order, delivery, at)
    if not checked.rejects.is_empty():
        _record_rejects(connection, order, checked.rejects, at)
    group = group_id(order)
    verdicts = [
        {
            "group_id": group,
            "table_name": order.table.name,
            "name": audit.name,
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


def _record_rejects(
    connection: Connection, order: Order, refused: pl.DataFrame, at: datetime
) -> None:
    told = refused.with_columns(
        capture_id=capture_ids(refused, group_id(order)),
        table_name=pl.lit(order.table.name),
        run_id=pl.lit(order.run_id),
        rejected_at=pl.lit(at, pl.Datetime("us", "UTC")),
    )
    insert_frame(connection, rejects, told.select(list(schema_of(rejects))))


def _record_delivery(
    connection: Connection, order: Order, delivery: Delivery, at: datetime, outcome: Outcome
) -> None:
    """Record what it takes to check the captures once more without the source."""
    connection.execute(
        insert(deliveries).values(
            group_id=group_id(order),
            table_name=order.table.name,
            partition_key=order.partition_key,
            source=delivery.source,
            dataset=delivery.dataset,
            source_version=delivery.source_version,
            record_total=delivery.record_total,
            scope=scope_as_json(delivery.scope),
            part_count=len(delivery.captures),
            outcome=outcome,
            replay_of=delivery.replay_of,
            rule_version=order.rule_version,
            run_id=order.run_id,
            recorded_at=at,
        )
    )


def _record_captures(
    connection: Connection, order: Order, delivery: Delivery, at: datetime
) -> None:
    fetched, group = delivery.all_captures, group_id(order)
    insert_absent(connection, blobs, [{**each.blob_row, "stored_at": at} for each in fetched])
    fetches = [
        {
            **each.capture_row,
            "capture_id": capture_id(group, part_number),
            "part_number": part_number,
            "source": each.source or delivery.source,
            "dataset": delivery.dataset,
            "partition_key": order.partition_key,
            "group_id": group,
            "run_id": each.run_id or order.run_id,
        }
        for part_number, each in enumerate(fetched, start=1)
    ]
    insert_frame(connection, captures, frame_of(fetches, captures))


def record_landing(
    connection: Connection,
    order: Order,
    delivery: Delivery,
    checked: Checked,
    landed: Landed,
    content: str,
    scope: str,
) -> None:
    """Record that a delivery landed, and what that changed."""
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


def held_back(order: Order, checked: Checked) -> HeldBackError:
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
