"""Replay of dead letters: their bytes are judged again by the current kinds and limits."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, func, select, update

from orchestration_project.domains.mqtt.judging import Message
from orchestration_project.domains.mqtt.tables import mqtt_dead_letters
from orchestration_project.engine.captures import BlobError
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.capture_log import read_blobs
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.mqtt.dead_letters import TOPIC, end_dead_letters, item_key
from orchestration_project.resources.mqtt.mirroring import Mirror, MirrorCounts
from orchestration_project.resources.mqtt.ranges import read_messages
from orchestration_project.tables.spine import work_items

MAX_BATCH_LETTERS = 500


@dataclass(frozen=True, kw_only=True)
class LetterFilter:
    """Dead letters that a replay judges again; all of its conditions must hold.

    Attributes:
        arrival_ids: Their numbers; empty: any.
        reason_code: Their reason; None: any.
        since: Earliest UTC time of arrival; None: any.
        until: Time of arrival from which on none is; None: any.
    """

    arrival_ids: Sequence[int] = ()
    reason_code: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the conditions on `mqtt_dead_letters`."""
        letters = mqtt_dead_letters.c
        found: list[ColumnElement[bool]] = [letters.ended_at.is_(None)]
        if self.arrival_ids:
            found.append(letters.arrival_id.in_(self.arrival_ids))
        if self.reason_code is not None:
            found.append(letters.reason_code == self.reason_code)
        if self.since is not None:
            found.append(letters.received_at >= self.since)
        if self.until is not None:
            found.append(letters.received_at < self.until)
        return found


@dataclass
class ReplayCounts:
    """Outcome of a replay.

    Attributes:
        mirrored_count: Letters that are events now.
        duplicate_count: Letters whose event is mirrored already.
        refused_count: Letters that are refused again.
        written: Counts of what was written.
    """

    mirrored_count: int = 0
    duplicate_count: int = 0
    refused_count: int = 0
    written: MirrorCounts = field(default_factory=MirrorCounts)


def letter_count(warehouse: Warehouse, wanted: LetterFilter) -> int:
    """Return how many dead letters a filter selects."""
    counted = select(func.count()).select_from(mqtt_dead_letters).where(*wanted.conditions())
    with warehouse.reading() as connection:
        return connection.execute(counted).scalar_one()


def check_arrivals(warehouse: Warehouse, arrival_ids: Sequence[int]) -> None:
    """Make sure that arrivals became dead letters, open or replayed.

    Raises:
        ConfigurationError: One did not.
    """
    number = mqtt_dead_letters.c.arrival_id
    with warehouse.reading() as connection:
        entries = set(connection.scalars(select(number).where(number.in_(arrival_ids))))
    if unknown := sorted(set(arrival_ids) - entries):
        raise ConfigurationError(
            f"invalid arrival {unknown[0]}: expected an arrival that became a dead letter",
            remedy="list them with `orchestrate export mqtt_dead_letters`",
        )


def requested_ids(warehouse: Warehouse) -> list[int]:
    """Return the first dead letters whose item a retry made ready."""
    columns = work_items.c
    ready = (
        select(columns.item_key)
        .where(columns.topic == TOPIC, columns.state == "ready")
        .order_by(columns.due_at, columns.item_key)
        .limit(MAX_BATCH_LETTERS)
    )
    with warehouse.reading() as connection:
        return [int(key) for key in connection.execute(ready).scalars()]


def close_requested(warehouse: Warehouse, arrival_ids: Sequence[int], now: datetime) -> None:
    """Settle items that a retry made ready although their dead letters had ended."""
    columns = work_items.c
    keys = [item_key(identifier) for identifier in arrival_ids]
    is_left = columns.topic == TOPIC, columns.item_key.in_(keys), columns.state == "ready"
    with warehouse.writing() as connection:
        connection.execute(update(work_items).where(*is_left).values(state="done", changed_at=now))


def replay(mirror: Mirror, wanted: LetterFilter) -> ReplayCounts:
    """Judge dead letters again, and mirror those that are events now.

    A letter that is refused again stays, with the latest reason.

    Raises:
        OrchestrationError: The store or the database fails; what was replayed before stays.
    """
    counts, last = ReplayCounts(), 0
    while letters := _read_letters(mirror.warehouse, wanted, last):
        last = letters[-1]["arrival_id"]
        _replay_some(mirror, letters, counts)
    return counts


def _replay_some(mirror: Mirror, letters: Sequence[RowMapping], counts: ReplayCounts) -> None:
    with mirror.warehouse.reading() as connection:
        messages = [_restore_message(connection, mirror, letter) for letter in letters]
    kept_messages = mirror.keep(messages)
    with mirror.warehouse.writing() as connection:
        written = mirror.write(connection, kept_messages)
        ended = [
            id_ for letter in letters if (id_ := letter["arrival_id"]) not in written.refused_ids
        ]
        end_dead_letters(connection, ended, now=mirror.clock.now(), run_id=mirror.run_id)
    counts.written.add(written)
    counts.duplicate_count += written.duplicate_count
    counts.refused_count += len(written.refused_ids)
    counts.mirrored_count += len(ended) - written.duplicate_count - written.cleared_count


def _read_letters(warehouse: Warehouse, wanted: LetterFilter, after: int) -> Sequence[RowMapping]:
    """Return the next dead letters that a filter selects, by arrival."""
    letters = mqtt_dead_letters.c
    statement = (
        select(mqtt_dead_letters)
        .where(*wanted.conditions(), letters.arrival_id > after)
        .order_by(letters.arrival_id)
        .limit(MAX_BATCH_LETTERS)
    )
    with warehouse.reading() as connection:
        return connection.execute(statement).mappings().all()


def _restore_message(connection: Connection, mirror: Mirror, letter: RowMapping) -> Message:
    """Return a dead letter as the message that it was.

    Its bytes are in the inbox, or in the store; of a message above the limit the head alone is.
    """
    arrival_id = letter["arrival_id"]
    if messages := read_messages(connection, arrival_id, arrival_id):
        return messages[0]
    payload = base64.b64decode(letter["payload"])
    blob = read_blobs(connection, [letter["sha256"]]).get(letter["sha256"])
    if blob is not None:
        try:
            payload = mirror.captures.read(blob)
        except BlobError:
            blob = None  # an erasure, or the clean-up of captures, removed the bytes
    is_whole = hashlib.sha256(payload).hexdigest() == letter["sha256"]
    return Message(
        arrival_id,
        "",
        letter["topic"],
        payload,
        len(payload) if is_whole else len(payload) + 1,
        letter["sha256"],
        letter["received_at"],
    )
