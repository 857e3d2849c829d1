"""Dead letters: messages that are not events, each an item of work that a replay may settle."""

import base64
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from orchestration_project.domains.mqtt.judging import DeadLetter
from orchestration_project.domains.mqtt.tables import mqtt_dead_letters
from orchestration_project.engine.contracts.work_items import ALLOWED_ATTEMPTS
from orchestration_project.engine.warehouse.frames import build_frame, insert_frame
from orchestration_project.tables.spine import work_items

TOPIC = "mqtt/dead_letters"
"""Topic of the work items of dead letters."""

REPLAY_JOB, REPLAY_OP = "mqtt_replay_dead_letters", "replay_mqtt_dead_letters"

HEAD_BYTES = 1_024
"""Bytes of the payload that a row has."""


def item_key(arrival_id: int) -> str:
    """Return the key of the work item of a dead letter."""
    return f"{arrival_id:012d}"


def record_dead_letters(
    connection: Connection, letters: Sequence[DeadLetter], *, now: datetime, run_id: str
) -> None:
    """Record messages that were refused; one that was refused before has the latest reason.

    Args:
        connection: A transaction that writes.
        letters: The messages.
        now: UTC time of the refusal.
        run_id: Dagster's run.
    """
    if not letters:
        return
    ids = [letter.message.arrival_id for letter in letters]
    connection.execute(delete(mqtt_dead_letters).where(mqtt_dead_letters.c.arrival_id.in_(ids)))
    rows = [
        {
            "arrival_id": letter.message.arrival_id,
            "topic": letter.message.topic,
            "kind": letter.refusal.kind,
            "reason_code": letter.refusal.reason_code,
            "reason": letter.refusal.reason.replace("\0", ""),
            "payload": base64.b64encode(letter.message.payload[:HEAD_BYTES]).decode(),
            "sha256": letter.message.sha256,
            "received_at": letter.message.received_at,
            "failed_at": now,
            "ended_at": None,
            "run_id": run_id,
        }
        for letter in letters
    ]
    insert_frame(connection, mqtt_dead_letters, build_frame(rows, mqtt_dead_letters))
    _record_items(connection, letters, now, run_id)


def _record_items(
    connection: Connection, letters: Sequence[DeadLetter], now: datetime, run_id: str
) -> None:
    """Have each letter be a dead item, with one more attempt if it was an item before."""
    columns = work_items.c
    by_key = {item_key(letter.message.arrival_id): letter for letter in letters}
    there = select(columns.item_key).where(columns.topic == TOPIC, columns.item_key.in_(by_key))
    entries = set(connection.execute(there).scalars())
    refused = [
        {
            "key": key,
            "code": dead_letter.refusal.reason_code,
            "why": dead_letter.refusal.reason.replace("\0", ""),
        }
        for key, dead_letter in sorted(by_key.items())
        if key in entries
    ]
    if refused:
        connection.execute(
            update(work_items)
            .where(columns.topic == TOPIC, columns.item_key == bindparam("key"))
            .values(
                state="dead",
                attempt_count=columns.attempt_count + 1,
                lease_holder=None,
                expires_at=None,
                lease_token=columns.lease_token + 1,
                reason_code=bindparam("code"),
                reason=bindparam("why"),
                run_id=run_id,
                changed_at=now,
            ),
            refused,
        )
    new = [
        {
            "topic": TOPIC,
            "item_key": key,
            "version": dead_letter.message.sha256,
            "state": "dead",
            "attempt_count": 1,
            "allowed_count": ALLOWED_ATTEMPTS,
            "enqueued_at": dead_letter.message.received_at,
            "due_at": dead_letter.message.received_at,
            "lease_holder": None,
            "lease_token": 0,
            "expires_at": None,
            "input_sha256": dead_letter.message.sha256,
            "result_version": None,
            "reason_code": dead_letter.refusal.reason_code,
            "reason": dead_letter.refusal.reason.replace("\0", ""),
            "run_id": run_id,
            "changed_at": now,
        }
        for key, dead_letter in sorted(by_key.items())
        if key not in entries
    ]
    if new:
        connection.execute(insert(work_items), new)


def end_dead_letters(
    connection: Connection, arrival_ids: Sequence[int], *, now: datetime, run_id: str
) -> None:
    """Record that a replay mirrored dead letters, or found them to be duplicates."""
    if not arrival_ids:
        return
    connection.execute(
        update(mqtt_dead_letters)
        .where(mqtt_dead_letters.c.arrival_id.in_(arrival_ids))
        .values(ended_at=now, run_id=run_id)
    )
    connection.execute(
        update(work_items)
        .where(
            work_items.c.topic == TOPIC,
            work_items.c.item_key.in_([item_key(identifier) for identifier in arrival_ids]),
        )
        .values(
            state="done",
            lease_holder=None,
            expires_at=None,
            reason_code=None,
            reason=None,
            run_id=run_id,
            changed_at=now,
        )
    )
