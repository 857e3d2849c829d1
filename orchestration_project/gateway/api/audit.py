"""Requests that change something, in the access log: who asked for what, and what came of it."""

import json
from collections.abc import Mapping
from typing import Any

from orchestration_project.gateway.api.operation import Call
from orchestration_project.gateway.request import REQUEST_ID, address_of
from orchestration_project.services.access import AccessLog, AccessLogEntry


async def record(
    call: Call[Any, Any],
    path: str,
    target: Mapping[str, Any],
    outcome: str,
    *,
    step: int = 1,
    reason: str | None = None,
) -> None:
    """Record a step of a request.

    Args:
        call: The request.
        path: Its path, without names of single things.
        target: What it changes, without values.
        outcome: ``asked`` before a change, ``done`` or ``failed`` after it.
        step: 1 when it was asked for, 2 when it was answered.
        reason: Category of a failure.
    """
    scope, services = call.request.scope, call.services
    entry = AccessLogEntry(
        str(scope.get(REQUEST_ID, "")),
        address_of(scope),
        f"{call.request.method} {path}",
        outcome,
        step=step,
        user=call.caller,
        target=json.dumps(target),
        reason=reason,
    )
    await services.in_thread(AccessLog(services.warehouse, services.clock).record, entry)
