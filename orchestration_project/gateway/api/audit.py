"""The access log: requests that change something are recorded, and admins read it."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints
from sqlalchemy import RowMapping

from orchestration_project.engine.contracts.api.models import AccessEntries, AccessEntry
from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError
from orchestration_project.gateway.request import REQUEST_ID, address_of
from orchestration_project.services.access import AccessLog, AccessLogEntry
from orchestration_project.services.access.audit import AccessFilter, read_entries

Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class EntriesWanted(Parameters):
    """Filter of entries, the latest first; all given conditions must hold."""

    user: Text | None = Field(None, description="User")
    operation: Text | None = Field(
        None, description="Operation, such as login, launchRun or POST /plugins"
    )
    outcome: Literal["asked", "done", "failed", "refused"] | None = Field(
        None, description="Outcome"
    )
    since: Moment | None = Field(None, description="Only entries from this time")
    until: Moment | None = Field(None, description="Only entries before this time")
    limit: int = Field(50, ge=1, le=1000, description="Maximum number of entries")
    cursor: str | None = Field(
        None, max_length=400, description="`next_cursor` of the previous page"
    )


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
        outcome: ``requested`` before a change, ``done`` or ``failed`` after it.
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


async def list_access_entries(call: Call[EntriesWanted, Body]) -> AccessEntries:
    """List logins, refused requests and steps of changes."""
    query = call.query
    expected_access_filter = AccessFilter(
        **query.model_dump(exclude={"limit", "cursor"}),
        before=_parse_cursor(query.cursor),
        limit=query.limit + 1,
    )
    rows = await call.services.in_thread(
        read_entries, call.services.warehouse, expected_access_filter
    )
    page = rows[: query.limit]
    return AccessEntries(
        entries=[AccessEntry.model_validate(dict(row)) for row in page],
        next_cursor=_render_cursor(page[-1]) if len(rows) > query.limit else None,
    )


def _render_cursor(row: RowMapping) -> str:
    return f"{row['happened_at'].isoformat()} {row['step_number']} {row['request_id']}"


def _parse_cursor(cursor: str | None) -> tuple[datetime, str, int] | None:
    if cursor is None:
        return None
    moment, _, text = cursor.partition(" ")
    step, _, request_id = text.partition(" ")
    try:
        at = datetime.fromisoformat(moment)
        if at.tzinfo is None:
            raise ValueError(moment)
        return at, request_id, int(step)
    except (ValueError, OverflowError):
        raise ProblemError(
            422, "invalid cursor", expected="`next_cursor` of the previous page"
        ) from None


OPERATIONS = (
    Operation(
        "GET",
        "/access-audit",
        "admin",
        "List the audit of access",
        list_access_entries,
        query=EntriesWanted,
        answer=AccessEntries,
    ),
)
