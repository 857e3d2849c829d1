"""The audit of who did what at the gateway."""

from dataclasses import dataclass

from sqlalchemy import insert

from orchestration_project.connections.clock import Clock
from orchestration_project.domains.access.roles import Principal
from orchestration_project.domains.operations.messages import cut
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import storable
from orchestration_project.redaction import redacted
from orchestration_project.tables.access import access_audit
from orchestration_project.tracing.current import current_trace

LONGEST = 1000
"""Characters of what a caller wrote that are kept."""


@dataclass(frozen=True)
class AccessLogEntry:
    """One row of the audit.

    Attributes:
        step: 1 when it was asked for, 2 when it was answered.
        user: Who asked, as far as that was known.
        key_id: The key that was claimed, where nobody is known.
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

    def record(self, entry: AccessLogEntry) -> None:
        """Add a row, without secrets; what a caller wrote is cut to LONGEST characters."""
        trace = current_trace()
        row = {
            "request_id": entry.request_id,
            "step_number": entry.step,
            "happened_at": self._clock.now(),
            "user_name": entry.user.name if entry.user else None,
            "role": entry.user.role.value if entry.user else None,
            "key_id": entry.user.key_id if entry.user else entry.key_id,
            "address": _shown(entry.address),
            "operation": _shown(entry.operation),
            "target": _shown(entry.target),
            "outcome": entry.outcome,
            "reason": _shown(entry.reason),
            "trace_id": trace.trace_id if trace else None,
        }
        with self._warehouse.writing() as connection:
            connection.execute(insert(access_audit).values(row))


def _shown(text: str | None) -> str | None:
    return None if text is None else storable(cut(redacted(text), LONGEST))
