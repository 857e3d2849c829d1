"""Authentication by a key, or by a session that began with one or with OpenID Connect."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, insert, or_, select, update

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.files import ensure_secret, ensure_state_folder
from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import clean_text, insert_absent
from orchestration_project.redaction import hide
from orchestration_project.services.access.rules.credentials import (
    WINDOW,
    Failures,
    Key,
    LoginLimits,
    add_failure,
    find_lock_end,
    has_ended,
    hash_of,
    is_to_be_noted,
    is_usable,
    is_valid_secret,
    list_subjects,
    read_key,
)
from orchestration_project.services.access.rules.members import AccessRule, Member, decide_role
from orchestration_project.settings import Settings
from orchestration_project.tables.access import access_failures, access_keys, access_sessions

SESSION_FILE = "session_secret"
"""File of STATE_DIR with the secret that session cookies are signed with."""

KEYS, SESSIONS, FAILURES = access_keys.c, access_sessions.c, access_failures.c

BY_SESSION = (
    select(
        access_sessions,
        KEYS.role,
        KEYS.expires_at.label("key_expires_at"),
        KEYS.revoked_at.label("key_revoked_at"),
    )
    .select_from(access_sessions.outerjoin(access_keys, SESSIONS.key_id == KEYS.key_id))
    .where(SESSIONS.session_hash == bindparam("session_hash"))
)
"""All that a request with a cookie has to know, found by one key of an index."""


@dataclass(frozen=True)
class KnownCaller:
    """Authenticated user, and whether the use must be recorded."""

    principal: Principal
    is_to_note: bool = False


@dataclass(frozen=True)
class DeniedCaller:
    """Refused caller, with the time until which further attempts are refused.

    ``is_over`` says that it was a right key, and no guess, which has ended or is revoked.
    """

    key_id: str | None = None
    until: datetime | None = None
    is_over: bool = False


@dataclass(frozen=True)
class Access:
    """Finds out who asks; each method is one or two transactions.

    Attributes:
        rules: Which role OpenID Connect gives; read again at each request.
        domains: Those of e-mail addresses that may log in by it; none: any.
    """

    warehouse: Warehouse
    clock: Clock
    limits: LoginLimits
    rules: Sequence[AccessRule] = ()
    domains: Sequence[str] = ()

    def by_session(self, token: str) -> KnownCaller | None:
        """Return whose session a cookie's token is, None if it is over or there never was one."""
        row = self.warehouse.first(BY_SESSION, session_hash=hash_of(token))
        now = self.clock.now()
        if row is None or has_ended(
            now,
            self.limits,
            expires_at=row["expires_at"],
            seen_at=row["seen_at"],
            ended_at=row["ended_at"],
        ):
            return None
        role = self._role_now(row, now)
        if role is None:
            return None
        who = Principal(row["user_name"], role, "session", row["key_id"], row["session_hash"])
        return KnownCaller(who, is_to_be_noted(now, row["seen_at"]))

    def _role_now(self, row: RowMapping, now: datetime) -> Role | None:
        """Return the role that key or rules give at this moment, not that of the login."""
        if row["claims"] is not None:
            return decide_role(Member(**json.loads(row["claims"])), self.rules, self.domains)
        expires_at, revoked_at = row["key_expires_at"], row["key_revoked_at"]
        is_open = expires_at and is_usable(now, expires_at=expires_at, revoked_at=revoked_at)
        return Role(row["role"]) if is_open else None

    def by_key(self, text: str, address: str) -> KnownCaller | DeniedCaller:
        """Return whose key ``text`` is.

        An unknown id, a wrong secret and text that is not a key all go the same way. A right secret
        of a key that is over is refused as well, but is not counted as a guess.
        """
        key, now = read_key(text), self.clock.now()
        key_id, secret = key or Key("", "")
        counted_for = list_subjects(key_id or None, address)
        with self.warehouse.reading() as connection:
            until = _find_lock_end(connection, counted_for, now)
            query = select(access_keys).where(KEYS.key_id == key_id)
            row = connection.execute(query).mappings().first()
        if until:
            return DeniedCaller(key_id or None, until)
        if not is_valid_secret(row["secret_hash"] if row else None, secret) or row is None:
            self._count_failure(counted_for, now)
            return DeniedCaller(key_id or None)
        hide(secret)
        if not is_usable(now, expires_at=row["expires_at"], revoked_at=row["revoked_at"]):
            return DeniedCaller(key_id, is_over=True)
        who = Principal(row["owner"], Role(row["role"]), "key", key_id)
        return KnownCaller(who, is_to_be_noted(now, row["last_used_at"]))

    def failed_elsewhere(self, address: str) -> DeniedCaller:
        """Count a login that failed in another way than by key, unless nothing is looked at."""
        counted_for, now = list_subjects(None, address), self.clock.now()
        with self.warehouse.reading() as connection:
            until = _find_lock_end(connection, counted_for, now)
        if until is None:
            self._count_failure(counted_for, now)
        return DeniedCaller(until=until)

    def _count_failure(self, counted_for: Sequence[str], now: datetime) -> None:
        """Count one more; those who fail at the same moment wait for each other."""
        new = {"failure_count": 0, "first_failed_at": now}
        rows = [{**new, "subject": clean_text(subject)} for subject in counted_for]
        with self.warehouse.writing() as connection:
            connection.execute(
                delete(access_failures).where(FAILURES.first_failed_at <= now - WINDOW)
            )
            insert_absent(connection, access_failures, rows)
            for subject, earlier in _read_failures(connection, counted_for, to_change=True).items():
                failures = add_failure(earlier, now)
                row = {"failure_count": failures.count, "first_failed_at": failures.since}
                changed = update(access_failures).where(FAILURES.subject == subject)
                connection.execute(changed.values(row))

    def begin(self, principal: Principal, address: str, *, member: Member | None = None) -> str:
        """Begin a session, and return the token that its cookie holds; it cannot be had again."""
        token, now = secrets.token_urlsafe(), self.clock.now()
        row = {
            "session_hash": hash_of(token),
            "user_name": clean_text(principal.name),
            "key_id": principal.key_id,
            "claims": json.dumps(asdict(member)) if member else None,
            "address": address,
            "created_at": now,
            "seen_at": now,
            "expires_at": now + self.limits.absolute,
        }
        with self.warehouse.writing() as connection:
            connection.execute(delete(access_sessions).where(SESSIONS.expires_at <= now))
            connection.execute(insert(access_sessions).values(row))
        return token

    def end(self, token: str) -> None:
        """End the session of a token, if it is one."""
        self._end(SESSIONS.session_hash == hash_of(token))

    def end_everywhere(self, principal: Principal) -> None:
        """End every session of somebody: those of the same name, and of the same key."""
        same = SESSIONS.user_name == principal.name
        self._end(or_(same, SESSIONS.key_id == principal.key_id) if principal.key_id else same)

    def _end(self, which: Any) -> None:
        ended = update(access_sessions).where(which, SESSIONS.ended_at.is_(None))
        with self.warehouse.writing() as connection:
            connection.execute(ended.values(ended_at=self.clock.now()))

    def note_use(self, principal: Principal) -> None:
        """Write down that a session or key was used now."""
        now = self.clock.now()
        with self.warehouse.writing() as connection:
            if principal.session:
                seen_update = update(access_sessions).where(
                    SESSIONS.session_hash == principal.session
                )
                connection.execute(seen_update.values(seen_at=now))
            if principal.key_id:
                used = update(access_keys).where(KEYS.key_id == principal.key_id)
                connection.execute(used.values(last_used_at=now))


def _read_failures(
    connection: Connection, counted_for: Sequence[str], *, to_change: bool = False
) -> dict[str, Failures]:
    known_names = [clean_text(name) for name in counted_for]
    query = (
        select(access_failures).where(FAILURES.subject.in_(known_names)).order_by(FAILURES.subject)
    )
    query = query.with_for_update() if to_change else query
    return {
        row.subject: Failures(row.failure_count, row.first_failed_at)
        for row in connection.execute(query)
    }


def _find_lock_end(
    connection: Connection, counted_for: Sequence[str], now: datetime
) -> datetime | None:
    pairs = _read_failures(connection, counted_for).items()
    untils = [find_lock_end(subject, failures, now) for subject, failures in pairs]
    return max((until for until in untils if until), default=None)


def read_session_secret(settings: Settings) -> str:
    """Return SESSION_SECRET; where it is not set, the one that STATE_DIR keeps, made once.

    Raises:
        ConfigurationError: Others than the owner may read the file.
    """
    if settings.session_secret is not None:
        return settings.session_secret.get_secret_value()
    remedy = "delete it: a new one is made, and everybody logs in again"
    file = ensure_state_folder(settings) / SESSION_FILE
    secret = ensure_secret(file, secrets.token_hex, "secret of the sessions", remedy)
    hide(secret)
    return secret
