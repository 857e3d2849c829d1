"""Sets of passwords and of languages of OCR: with a new one, what failed for the lack of it is due.

The database has a salted hash of each set, and no password.
"""

import secrets
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from hashlib import scrypt
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, insert, select, update

from orchestration_project.connections.clock import Clock
from orchestration_project.engine.work_items import KEYS_PER_STATEMENT, WorkItems
from orchestration_project.tables.documents import documents_reader_setups
from orchestration_project.tables.spine import work_items

SALT_BYTES = 16
SCRYPT_N, SCRYPT_R = 2**14, 8
"""Cost of a guess at a set of passwords: 16 MiB, and a twentieth of a second."""

REACTIVATION = timedelta(hours=1)
"""Time in which a set that was used before is not taken for a new one again.

Two processes with different settings would have the same files read over and over otherwise.
"""


class ReaderSetup(NamedTuple):
    """Means of readers, without which some files cannot be read.

    Attributes:
        kind: Its name.
        content: All of it as a text; empty: nothing.
        reasons: Reason codes of the files that could not be read for the lack of it.
    """

    kind: str
    content: str
    reasons: tuple[str, ...]


def retry_for_new_setups(
    connection: Connection,
    setups: Sequence[ReaderSetup],
    items: WorkItems,
    clock: Clock,
    *,
    topic_prefix: str,
) -> int:
    """Record setups, and make the items ready that lacked one which is new; return how many.

    Args:
        connection: A transaction that writes, and that no other of its kind overlaps.
        setups: All that there are now.
        items: The work items.
        clock: Its time.
        topic_prefix: Beginning of the topics of the items.
    """
    count = 0
    for setup in setups:
        if _activate(connection, setup, clock):
            count += _retry(connection, setup, items, topic_prefix)
    return count


def are_in_use(connection: Connection, setups: Sequence[ReaderSetup]) -> bool:
    """Return whether all setups are the latest ones that were recorded."""
    rows = _recorded(connection)
    latest = {row.kind: row.fingerprint for row in rows}
    return all(
        setup.kind in latest
        and latest[setup.kind] == _fingerprint(setup.kind, setup.content, rows[0].salt)
        for setup in setups
    )


def _recorded(connection: Connection) -> Sequence[Row[Any, Any, Any, Any]]:
    """Return all setups by the time at which they were used first."""
    columns = documents_reader_setups.c
    wanted = select(columns.kind, columns.fingerprint, columns.salt, columns.activated_at)
    return connection.execute(wanted.order_by(columns.activated_at)).all()


def _activate(connection: Connection, setup: ReaderSetup, clock: Clock) -> bool:
    """Record a setup as the one that is used; return whether it may read what others could not."""
    columns, now = documents_reader_setups.c, clock.now()
    rows = _recorded(connection)
    salt = rows[0].salt if rows else secrets.token_hex(SALT_BYTES)
    fingerprint = _fingerprint(setup.kind, setup.content, salt)
    own = [row for row in rows if row.kind == setup.kind]
    if own and own[-1].fingerprint == fingerprint:
        return False
    earlier = next((row for row in own if row.fingerprint == fingerprint), None)
    if earlier is None:
        row = {"kind": setup.kind, "fingerprint": fingerprint, "salt": salt, "activated_at": now}
        connection.execute(insert(documents_reader_setups).values(row))
        return bool(setup.content)
    if now - earlier.activated_at < REACTIVATION:
        return False
    is_own = and_(columns.kind == setup.kind, columns.fingerprint == fingerprint)
    connection.execute(update(documents_reader_setups).where(is_own).values(activated_at=now))
    return bool(setup.content)


@lru_cache(maxsize=16)
def _fingerprint(kind: str, content: str, salt: str) -> str:
    named = f"{kind}\n{content}".encode()
    return scrypt(named, salt=bytes.fromhex(salt), n=SCRYPT_N, r=SCRYPT_R, p=1, dklen=32).hex()


def _retry(connection: Connection, setup: ReaderSetup, items: WorkItems, topic_prefix: str) -> int:
    columns = work_items.c
    wanted = select(columns.topic, columns.item_key).where(
        columns.topic.startswith(topic_prefix, autoescape=True),
        columns.state.in_(["failed", "dead"]),
        columns.reason_code.in_(setup.reasons),
    )
    by_topic: dict[str, list[str]] = {}
    for topic, key in connection.execute(wanted.order_by(columns.topic, columns.item_key)):
        by_topic.setdefault(topic, []).append(key)
    for topic, keys in by_topic.items():
        for start in range(0, len(keys), KEYS_PER_STATEMENT):
            some = keys[start : start + KEYS_PER_STATEMENT]
            items.retry(topic, keys=some, connection=connection)
    return sum(map(len, by_topic.values()))
