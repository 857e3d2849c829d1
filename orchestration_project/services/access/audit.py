"""The audit of who did what at the gateway."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, and_, insert, or_, select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Principal
from orchestration_project.engine.tracing.traceparent import find_current_trace
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import clean_text
from orchestration_project.errors import cut
from orchestration_project.redaction import redacted
from orchestration_project.tables.access import access_audit

MAX_TEXT_LENGTH = 1000
"""Characters of what a caller wrote that are kept."""


@dataclass(frozen=True)
class AccessLogEntry:
    """One row of the audit.

    Attributes:
        step: 1 when it was requested, 2 when it was answered.
        user: Who asked, as far as that was known.
        key_id: The key that was claimed, where no user is known.
        outcome: asked, done, failed or refused.
    """

    request_id: str
    address: str
    operation: str
    outcome: str
    step: int = 1
    user: Principal | None = None
    key_id: str | None = None
    target: str | None = None
    reason: str | None = None


class AccessLog:
    """Adds rows to the audit."""

    def __init__(self, warehouse: Warehouse, clock: Clock) -> None:
        self._warehouse = warehouse
        self._clock = clock

    def record(self, entry: AccessLogEntry, connection: Connection | None = None) -> None:
        """Add a row, without secrets; what a caller wrote is cut to MAX_TEXT_LENGTH characters.

        Args:
            entry: The row.
            connection: Transaction of the row; None: one of its own.
        """
        trace = find_current_trace()
        row = {
            "request_id": entry.request_id,
            "step_number": entry.step,
            "happened_at": self._clock.now(),
            "user_name": entry.user.name if entry.user else None,
            "role": entry.user.role.value if entry.user else None,
            "key_id": entry.user.key_id if entry.user else entry.key_id,
            "address": _redact_text(entry.address),
            "operation": _redact_text(entry.operation),
            "target": _redact_text(entry.target),
            "outcome": entry.outcome,
            "reason": _redact_text(entry.reason),
            "trace_id": trace.trace_id if trace else None,
        }
        if connection is not None:
            connection.execute(insert(access_audit).values(row))
            return
        with self._warehouse.writing() as writing:
            writing.execute(insert(access_audit).values(row))


@dataclass(frozen=True, kw_only=True)
class AccessFilter:
    """Entries of the audit; all of its conditions must hold, and None is any.

    Attributes:
        before: Key of an entry, before which the page begins: time, request ID and step.
    """

    user: str | None = None
    operation: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: tuple[datetime, str, int] | None = None
    limit: int = 50


def read_entries(warehouse: Warehouse, wanted: AccessFilter) -> Sequence[RowMapping]:
    """Return entries of the audit, the latest first."""
    row = access_audit.c
    order = (row.happened_at, row.request_id, row.step_number)
    equal = {row.user_name: wanted.user, row.operation: wanted.operation}
    conditions = [column == value for column, value in equal.items() if value is not None]
    if wanted.outcome is not None:
        conditions.append(row.outcome == wanted.outcome)
    if wanted.since is not None:
        conditions.append(row.happened_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(row.happened_at < wanted.until)
    if wanted.before is not None:
        at, request_id, step = wanted.before
        is_earlier = or_(
            row.request_id < request_id,
            and_(row.request_id == request_id, row.step_number < step),
        )
        conditions.append(or_(row.happened_at < at, and_(row.happened_at == at, is_earlier)))
    statement = select(access_audit).where(*conditions)
    latest = statement.order_by(*(column.desc() for column in order)).limit(wanted.limit)
    with warehouse.reading() as connection:
        return connection.execute(latest).mappings().all()


def _redact_text(text: str | None) -> str | None:
    return None if text is None else clean_text(cut(redacted(text), MAX_TEXT_LENGTH))
