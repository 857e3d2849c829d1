"""The keys: made, listed, rotated and revoked."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import clean_text
from orchestration_project.errors import ConfigurationError, UnknownNameError
from orchestration_project.redaction import hide
from orchestration_project.services.access.rules.credentials import (
    ID_BYTES,
    SECRET_BYTES,
    Key,
    build_key,
    hash_of,
)
from orchestration_project.tables.access import access_keys

FIRST_KEY_OWNER = "admin"
"""Owner of the key that the first start of `ui` makes."""


@dataclass(frozen=True)
class KeyFacts:
    """Record of a key, without its secret."""

    key_id: str
    role: Role
    owner: str
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class Keys:
    """The keys in our database; each method is one transaction."""

    def __init__(self, warehouse: Warehouse, clock: Clock) -> None:
        self._warehouse = warehouse
        self._clock = clock

    def create(self, *, owner: str, role: Role, lasts: timedelta) -> Key:
        """Make a key; it cannot be had again."""
        with self._warehouse.writing() as connection:
            return self._insert(connection, owner, role, self._clock.now() + lasts)

    def create_first(self, *, owner: str, lasts: timedelta) -> Key | None:
        """Make an admin's key if no key was ever made; None if one was."""
        with self._warehouse.writing() as connection:
            if connection.execute(select(func.count()).select_from(access_keys)).scalar_one():
                return None
            return self._insert(connection, owner, Role.ADMIN, self._clock.now() + lasts)

    def rotate(self, key_id: str, *, lasts: timedelta, overlap: timedelta) -> Key:
        """Make a key with owner and role of another, which ends after ``overlap``.

        Raises:
            ConfigurationError: The key does not exist, or was revoked.
        """
        with self._warehouse.writing() as connection:
            old, now = _find_key(connection, key_id), self._clock.now()
            if old.revoked_at is not None:
                raise ConfigurationError(
                    f"the key {key_id} was revoked",
                    found=f"revoked {old.revoked_at:%Y-%m-%d %H:%M} UTC",
                    remedy="make a new one: keys create",
                )
            end = min(old.expires_at, now + overlap)
            self._change(connection, key_id, expires_at=end)
            return self._insert(connection, old.owner, old.role, now + lasts)

    def revoke(self, key_id: str) -> KeyFacts:
        """Let a key, and the sessions that began with it, open nothing from now on.

        Raises:
            ConfigurationError: The key does not exist.
        """
        with self._warehouse.writing() as connection:
            key = _find_key(connection, key_id)
            if key.revoked_at is None:
                self._change(connection, key_id, revoked_at=self._clock.now())
            return _find_key(connection, key_id)

    def listed(self) -> Sequence[KeyFacts]:
        """Return every key that was made, the newest first."""
        newest_first = select(access_keys).order_by(access_keys.c.created_at.desc())
        with self._warehouse.reading() as connection:
            return [_read_facts(row) for row in connection.execute(newest_first).mappings()]

    def _insert(self, connection: Connection, owner: str, role: Role, expires_at: datetime) -> Key:
        key = build_key(secrets.token_bytes(ID_BYTES), secrets.token_bytes(SECRET_BYTES))
        hide(key.secret)
        row = {
            "key_id": key.key_id,
            "secret_hash": hash_of(key.secret),
            "role": role.value,
            "owner": clean_text(owner),
            "created_at": self._clock.now(),
            "expires_at": expires_at,
        }
        connection.execute(insert(access_keys).values(row))
        return key

    @staticmethod
    def _change(connection: Connection, key_id: str, **values: datetime) -> None:
        changed = update(access_keys).where(access_keys.c.key_id == key_id)
        connection.execute(changed.values(values))


def _find_key(connection: Connection, key_id: str) -> KeyFacts:
    query = select(access_keys).where(access_keys.c.key_id == key_id)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise UnknownNameError(
            f"key not found: {key_id!r}",
            expected="a key ID, the middle part of op_<id>_<secret>",
            remedy="list them: keys list",
        )
    return _read_facts(row)


def _read_facts(row: RowMapping) -> KeyFacts:
    return KeyFacts(
        row["key_id"],
        Role(row["role"]),
        row["owner"],
        row["created_at"],
        row["expires_at"],
        row["last_used_at"],
        row["revoked_at"],
    )
