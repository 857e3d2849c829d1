"""Review of access: each principal, what it may do, and who granted it when."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from getpass import getuser
from uuid import uuid4

from sqlalchemy import Connection, func, select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import PERMISSIONS_OF_ROLE, Principal, Role
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.access.audit import AccessLog, AccessLogEntry
from orchestration_project.services.access.keys import KeyFacts
from orchestration_project.services.access.rules.credentials import is_usable
from orchestration_project.services.access.rules.members import AccessRule, Member, decide_role
from orchestration_project.tables.access import access_audit, access_sessions

SHELL = "shell"
"""Address in the audit of what a command on a host does."""

KEY_OPERATIONS = ("keys create", "keys rotate")

RULE_KINDS = {"group:": "OIDC group", "@": "OIDC domain", "*": "OIDC, anybody"}
"""Kind of a rule by the beginning of whom it means; another is an address."""


@dataclass(frozen=True, kw_only=True)
class AccessGrant:
    """Access of a principal: role, permissions and their grant.

    Attributes:
        principal: Owner and ID of a key, an address, a group, a sender, or another name.
        kind: Kind of principal.
        role: Role at the gateway; empty: it has none there.
        permissions: What it may do, and in which domains.
        granted_at: When it was granted; None: that is not recorded.
        granted_by: User or setting that granted it; empty: that is not recorded.
        last_used_at: When it was used last; None: never, or that is not recorded.
        expires_at: When it ends; None: it does not end by itself.
    """

    principal: str
    kind: str
    permissions: str
    role: str = ""
    granted_at: datetime | None = None
    granted_by: str = ""
    last_used_at: datetime | None = None
    expires_at: datetime | None = None


def build_shell_principal(user_name: str) -> Principal:
    """Return the principal of a command on a host, whose user has all rights."""
    return Principal(user_name, Role.ADMIN, "open")


def record_in_shell(
    warehouse: Warehouse,
    clock: Clock,
    operation: str,
    target: str,
    connection: Connection | None = None,
) -> None:
    """Add an operation by a command on this host to the audit.

    Args:
        warehouse: The database.
        clock: Time of the row.
        operation: The command, such as ``keys create``.
        target: Names and IDs of what it changed.
        connection: Transaction of the row; None: one of its own.
    """
    user = build_shell_principal(getuser())
    entry = AccessLogEntry(uuid4().hex, SHELL, operation, "done", user=user, target=target)
    AccessLog(warehouse, clock).record(entry, connection)


def list_key_grants(
    warehouse: Warehouse, keys: Iterable[KeyFacts], now: datetime
) -> Sequence[AccessGrant]:
    """Return the access of each valid key; the audit has who created it."""
    row = access_audit.c
    created = select(row.target, row.user_name).where(row.operation.in_(KEY_OPERATIONS))
    with warehouse.reading() as connection:
        creators = {
            str(target).rpartition(" ")[2]: user for target, user in connection.execute(created)
        }
    return [
        AccessGrant(
            principal=f"{key.owner} ({key.key_id})",
            kind="key",
            role=key.role.value,
            permissions=PERMISSIONS_OF_ROLE[key.role],
            granted_at=key.created_at,
            granted_by=creators.get(key.key_id) or "",
            last_used_at=key.last_used_at,
            expires_at=key.expires_at,
        )
        for key in keys
        if is_usable(now, expires_at=key.expires_at, revoked_at=key.revoked_at)
    ]


def list_rule_grants(rules: Iterable[AccessRule]) -> Sequence[AccessGrant]:
    """Return the access of each entry of OIDC_ROLES."""
    return [
        AccessGrant(
            principal=rule.who.removeprefix("group:"),
            kind=_find_rule_kind(rule.who),
            role=rule.role.value,
            permissions=PERMISSIONS_OF_ROLE[rule.role],
            granted_by="setting OIDC_ROLES",
        )
        for rule in rules
    ]


def _find_rule_kind(who: str) -> str:
    kinds = (kind for start, kind in RULE_KINDS.items() if who.startswith(start))
    return next(kinds, "OIDC address")


def list_member_grants(
    warehouse: Warehouse,
    rules: Sequence[AccessRule],
    domains: Sequence[str],
    idle: timedelta,
    now: datetime,
) -> Sequence[AccessGrant]:
    """Return the access of each OpenID Connect user with a valid session, by name.

    Args:
        warehouse: The database with the sessions.
        rules: Those of OIDC_ROLES, which decide at each request.
        domains: Those of OIDC_ALLOWED_DOMAINS.
        idle: Time without a request after which a session ends.
        now: The present time.
    """
    row = access_sessions.c
    sessions = (
        select(
            row.user_name,
            row.claims,
            func.min(row.created_at),
            func.max(row.seen_at),
            func.max(row.expires_at),
        )
        .where(
            row.claims.is_not(None),
            row.ended_at.is_(None),
            row.expires_at > now,
            row.seen_at > now - idle,
        )
        .group_by(row.user_name, row.claims)
        .order_by(row.user_name, row.claims)
    )
    with warehouse.reading() as connection:
        rows = connection.execute(sessions).all()
    grants: list[AccessGrant] = []
    for name, claims, created_at, seen_at, expires_at in rows:
        role = decide_role(Member(**json.loads(claims)), rules, domains)
        if role is not None:
            grants.append(
                AccessGrant(
                    principal=name,
                    kind="OIDC session",
                    role=role.value,
                    permissions=PERMISSIONS_OF_ROLE[role],
                    granted_at=created_at,
                    granted_by="setting OIDC_ROLES",
                    last_used_at=seen_at,
                    expires_at=expires_at,
                )
            )
    return grants
