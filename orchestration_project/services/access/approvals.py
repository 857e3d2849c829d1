"""Four eyes: actions that take effect only after a second person confirmed exactly them.

The check is where an action is executed, so it holds for each way in: page, API, command, launch,
re-execution, backfill and schedule. A request is found by the SHA-256 of what it is for.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select, update

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import ROLE_OF_ACTION, Principal
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import clean_text
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.access.audit import AccessLog, AccessLogEntry
from orchestration_project.services.ledger.rules.entries import BY_CLI, LAUNCHED_BY
from orchestration_project.settings import load_shared_settings
from orchestration_project.tables.access import access_approvals

if TYPE_CHECKING:
    import dagster as dg

VALID_FOR = timedelta(hours=24)
"""A request, confirmed or not, is invalid after this time."""

MAX_LISTED = 200
MAX_REASON_CHARACTERS = 500

UNCLAIMED, REQUESTED, CONFIRMED = "unclaimed", "requested", "confirmed"
REFUSED, USED, EXPIRED = "refused", "used", "expired"

OPEN_STATES = (UNCLAIMED, REQUESTED, CONFIRMED)

_row = access_approvals.c


@dataclass(frozen=True)
class ApprovalDemand:
    """An action that is about to take effect.

    Attributes:
        action: erase, accept or grant.
        parameters: Its exact parameters, as JSON has them.
        reason: Reason in words; empty: none was given.
        person: User who logged in at the gateway to start it; None: unknown.
        use: Run, backfill or erasure that it takes effect in, which may go on after a crash; None:
            it takes effect once.
    """

    action: str
    parameters: Mapping[str, Any]
    reason: str
    person: str | None
    use: str | None = None

    @property
    def sha256(self) -> str:
        """SHA-256 of action, parameters and reason, hex."""
        values = [self.action, dict(self.parameters), self.reason]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Approval:
    """A request of an action; its fields are the columns of `access_approvals`."""

    approval_id: str
    action: str
    parameters: Mapping[str, Any]
    sha256: str
    reason: str
    state: str
    requested_by: str | None
    requested_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    decision_reason: str | None
    used_by: str | None
    used_at: datetime | None


def read_person(tags: Mapping[str, str]) -> str | None:
    """Return the user of a run who logged in at the gateway; None: unknown.

    The user of a run of a command is an account of the host, which has no login here.
    """
    return None if tags.get(LAUNCHED_BY) == BY_CLI else tags.get("user") or None


def use_of(run: "dg.DagsterRun") -> str:
    """Return the backfill of a run, or the first run of its re-executions."""
    return run.tags.get("dagster/backfill") or run.root_run_id or run.run_id


def require_approval(warehouse: Warehouse, demand: ApprovalDemand) -> bool:
    """Make sure that a second person confirmed an action, if FOUR_EYES names it.

    Its times are the machine's: a demo has another clock, and people decide at a gateway.

    Returns:
        Whether FOUR_EYES names it.

    Raises:
        ConfigurationError: It is not confirmed; then it is requested.
    """
    if demand.action not in load_shared_settings().four_eyes:
        return False
    Approvals(warehouse, Clock()).use(demand)
    return True


class Approvals:
    """The requests in our database; each method is one transaction, with its rows of the audit."""

    def __init__(self, warehouse: Warehouse, clock: Clock) -> None:
        self._warehouse = warehouse
        self._clock = clock
        self._log = AccessLog(warehouse, clock)

    def use(self, demand: ApprovalDemand) -> None:
        """Take a confirmed request for an action, or request it.

        Raises:
            ConfigurationError: It is not confirmed.
        """
        with self._warehouse.writing() as connection:
            waiting = self._use(connection, demand)
        if waiting is not None:
            raise _build_unconfirmed_error(waiting)

    def _use(self, connection: Connection, demand: ApprovalDemand) -> Approval | None:
        """Return the request that waits for a person; None: a confirmed one is taken."""
        now = self._clock.now()
        same = select(access_approvals).where(
            _row.sha256 == demand.sha256, _row.action == demand.action, _row.expires_at > now
        )
        approvals = [
            _read_approval(row) for row in connection.execute(same.order_by(_row.requested_at))
        ]
        for approval in approvals:
            if approval.state == USED and demand.use and approval.used_by == demand.use:
                return None
            if approval.state == CONFIRMED:
                values = {"state": USED, "used_by": demand.use, "used_at": now}
                if self._change(connection, approval, values, by=demand.person):
                    return None
        waiting = next((each for each in approvals if each.state in (UNCLAIMED, REQUESTED)), None)
        if waiting is None:
            waiting = self._request(connection, demand, now)
        elif waiting.state == UNCLAIMED and demand.person:
            self._change(
                *(connection, waiting),
                {"state": REQUESTED, "requested_by": clean_text(demand.person)},
                by=demand.person,
            )
            waiting = self._read(connection, waiting.approval_id)
        return waiting

    def _request(self, connection: Connection, demand: ApprovalDemand, now: datetime) -> Approval:
        row = {
            "approval_id": secrets.token_hex(8),
            "action": demand.action,
            "parameters": json.dumps(dict(demand.parameters), sort_keys=True),
            "sha256": demand.sha256,
            "reason": clean_text(demand.reason),
            "state": REQUESTED if demand.person else UNCLAIMED,
            "requested_by": clean_text(demand.person) if demand.person else None,
            "requested_at": now,
            "expires_at": now + VALID_FOR,
        }
        connection.execute(insert(access_approvals).values(row))
        made_approval = self._read(connection, row["approval_id"])
        self._audit(connection, made_approval, made_approval.state, by=demand.person)
        return made_approval

    def claim(self, approval_id: str, by: Principal) -> Approval:
        """Claim an action that was started without a login.

        Raises:
            ConfigurationError: It is unknown, not unclaimed, or expired, or the role is too low.
        """
        with self._warehouse.writing() as connection:
            approval = self._open(connection, approval_id, by, UNCLAIMED)
            values = {"state": REQUESTED, "requested_by": clean_text(by.name)}
            return self._decided(connection, approval, values, by)

    def confirm(self, approval_id: str, sha256: str, by: Principal) -> Approval:
        """Confirm a request, as another person than who requested it.

        Args:
            approval_id: The request.
            sha256: SHA-256 of what was read before the decision.
            by: Who confirms it.

        Raises:
            ConfigurationError: It is unknown, not requested, expired, another one, or by the same
                person, or the role is too low.
        """
        with self._warehouse.writing() as connection:
            approval = self._open(connection, approval_id, by, REQUESTED)
            stored = ApprovalDemand(approval.action, approval.parameters, approval.reason, None)
            if sha256 != approval.sha256 or sha256 != stored.sha256:
                raise _build_decision_error(
                    approval, f"SHA-256 {stored.sha256}", f"SHA-256 {sha256}"
                )
            if _is_same_person(approval.requested_by, by.name):
                raise _build_decision_error(approval, "another person than its requester", by.name)
            values = {
                "state": CONFIRMED,
                "decided_by": clean_text(by.name),
                "decided_at": self._clock.now(),
            }
            return self._decided(connection, approval, values, by)

    def refuse(self, approval_id: str, reason: str, by: Principal) -> Approval:
        """Refuse a request; its requester withdraws it so.

        Raises:
            ConfigurationError: It is unknown, not open, or expired, the role is too low, or the
                reason is empty or too long.
        """
        if not reason.strip() or len(reason) > MAX_REASON_CHARACTERS:
            raise ConfigurationError(
                "invalid reason",
                expected=f"1 to {MAX_REASON_CHARACTERS} characters",
                found=f"{len(reason)} characters",
                remedy="name why it is refused",
            )
        with self._warehouse.writing() as connection:
            approval = self._open(connection, approval_id, by, *OPEN_STATES)
            values = {
                "state": REFUSED,
                "decided_by": clean_text(by.name),
                "decided_at": self._clock.now(),
                "decision_reason": clean_text(reason.strip()),
            }
            return self._decided(connection, approval, values, by)

    def listed(self) -> Sequence[Approval]:
        """Return the requests, the newest first, with the state expired of those that did."""
        now = self._clock.now()
        newest = select(access_approvals).order_by(_row.requested_at.desc(), _row.approval_id)
        with self._warehouse.reading() as connection:
            rows = connection.execute(newest.limit(MAX_LISTED)).all()
        return [_read_approval(row, now) for row in rows]

    def _open(
        self, connection: Connection, approval_id: str, by: Principal, *states: str
    ) -> Approval:
        """Return a request that a person may decide on.

        Raises:
            ConfigurationError: See the callers.
        """
        approval = self._read(connection, approval_id)
        role = ROLE_OF_ACTION[approval.action]
        if by.way == "open":
            raise _build_decision_error(
                approval, "a person who logged in", "no login (GATEWAY_AUTH=off)"
            )
        if not by.role.covers(role):
            raise _build_decision_error(
                approval, f"the role {role}", f"{by.name} with the role {by.role}"
            )
        if approval.state not in states:
            raise _build_decision_error(approval, " or ".join(states), approval.state)
        return approval

    def _read(self, connection: Connection, approval_id: str) -> Approval:
        query = select(access_approvals).where(_row.approval_id == approval_id)
        row = connection.execute(query).first()
        if row is None:
            raise ConfigurationError(
                f"request of an approval not found: {approval_id!r}",
                expected="an ID of `orchestrate approvals list`",
                remedy="list them: approvals list",
            )
        return _read_approval(row, self._clock.now())

    def _decided(
        self,
        connection: Connection,
        approval: Approval,
        values: Mapping[str, Any],
        by: Principal,
    ) -> Approval:
        if not self._change(connection, approval, values, by=by.name, user=by):
            raise _build_decision_error(
                approval, approval.state, "another decision at the same time"
            )
        return self._read(connection, approval.approval_id)

    def _change(
        self,
        connection: Connection,
        approval: Approval,
        values: Mapping[str, Any],
        *,
        by: str | None,
        user: Principal | None = None,
    ) -> bool:
        """Change a request that has the same state as before; return whether it had."""
        same = (_row.approval_id == approval.approval_id) & (_row.state == approval.state)
        changed = connection.execute(update(access_approvals).where(same).values(values))
        if changed.rowcount:
            self._audit(connection, approval, values["state"], by=by, user=user)
        return bool(changed.rowcount)

    def _audit(
        self,
        connection: Connection,
        approval: Approval,
        state: str,
        *,
        by: str | None,
        user: Principal | None = None,
    ) -> None:
        target = {"approval_id": approval.approval_id, "action": approval.action, "by": by}
        entry = AccessLogEntry(
            secrets.token_hex(16),
            "service",
            f"approval {state}",
            "done",
            user=user,
            target=json.dumps({**target, "sha256": approval.sha256}),
        )
        self._log.record(entry, connection)


def _is_same_person(requester: str | None, name: str) -> bool:
    return requester is None or requester.strip().casefold() == name.strip().casefold()


def _read_approval(row: Any, now: datetime | None = None) -> Approval:
    values = dict(row._mapping)
    values["parameters"] = json.loads(values["parameters"])
    if now is not None and values["state"] in OPEN_STATES and values["expires_at"] <= now:
        values["state"] = EXPIRED
    return Approval(**values)


def _build_decision_error(approval: Approval, expected: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        f"the request {approval.approval_id} ({approval.action}) cannot be decided so",
        expected=expected,
        found=found,
        remedy="list the requests: approvals list",
    )


def _build_unconfirmed_error(approval: Approval) -> ConfigurationError:
    role = ROLE_OF_ACTION[approval.action]
    by = approval.requested_by
    claim = "" if by else "log in and request it with `orchestrate approvals request {}`; then "
    remedy = (
        f"{claim}another person confirms it at /approvals, by the API or with "
        "`orchestrate approvals confirm {}`; then start it again with the same parameters"
    )
    return ConfigurationError(
        f"{approval.action} needs a second person",
        expected=f"request {approval.approval_id}, confirmed by another person with the role "
        f"{role} until {approval.expires_at:%Y-%m-%d %H:%M} UTC",
        found=f"requested by {by}" if by else "started by no person who logged in",
        remedy=remedy.replace("{}", approval.approval_id),
    )
