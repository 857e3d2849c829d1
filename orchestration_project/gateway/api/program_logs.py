"""Log lines of the programs of the gateway's host: searched, and followed."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from starlette.responses import Response

from orchestration_project.engine.connections.log_files import FOLDER, list_services
from orchestration_project.engine.contracts.api.program_logs import LogLine, LogLines
from orchestration_project.engine.contracts.log_lines import (
    PROGRAMS,
    InvalidPositionError,
    LogFilter,
    read_positions,
    write_positions,
)
from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.gateway.api.feeds import SSE
from orchestration_project.gateway.api.log_feed import LogSource
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError, require_known
from orchestration_project.gateway.api.runs import MAX_PAGE_ENTRIES, Name
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.program_logs.reading import search_lines

FEED = "logs"

Service = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,29}$")]
Trace = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class LinesWanted(Parameters):
    """Filter of log lines; all given conditions must hold."""

    service: Service | None = Field(None, description="Program, such as gateway, daemon or run")
    level: Level | None = Field(None, description="Minimum severity")
    run: Name | None = Field(None, description="ID of a run")
    trace: Trace | None = Field(None, description="W3C trace ID, 32 hex digits")


class PageWanted(LinesWanted):
    """Filter of log lines, the newest first; all given conditions must hold."""

    since: Moment | None = Field(None, description="Only lines from this time")
    limit: int = Field(200, ge=1, le=MAX_PAGE_ENTRIES, description="Maximum number of lines")
    cursor: str | None = Field(
        None, max_length=1000, description="`next_cursor` of the previous page"
    )


async def list_log_lines(call: Call[PageWanted, Body]) -> LogLines:
    """List log lines of the programs of this host, the newest first.

    Each program has those that LOG_KEEP_MIB and LOG_KEEP_DAYS keep.
    """
    page_wanted, services = call.query, call.services
    await services.in_thread(_require_service, services, page_wanted.service)
    try:
        before = None if page_wanted.cursor is None else read_positions(page_wanted.cursor)
    except InvalidPositionError:
        raise ProblemError(
            422, "invalid cursor", expected="`next_cursor` of the previous page"
        ) from None
    log_results = await services.in_thread(
        search_lines,
        services.settings.state_path / FOLDER,
        _filter(
            page_wanted,
            page_wanted.since.isoformat(timespec="microseconds") if page_wanted.since else "",
        ),
        limit=page_wanted.limit,
        before=before,
    )
    lines = [
        LogLine.model_validate({**line.fields, "position": line.position})
        for line in log_results.lines
    ]
    cursor = None if log_results.before is None else write_positions(log_results.before)
    return LogLines(lines=lines, next_cursor=cursor)


async def follow_log_lines(call: Call[LinesWanted, Body]) -> Response:
    """Follow log lines of the programs of this host as they come, as server-sent events.

    An event `line` has a LogLine as its data. Last-Event-ID goes on where a connection broke off,
    as far back as lines are kept.
    """
    services, after = call.services, call.request.headers.get("last-event-id")
    await services.in_thread(_require_service, services, call.query.service)
    try:
        positions = None if after is None else read_positions(after)
    except InvalidPositionError:
        raise ProblemError(
            422,
            "invalid Last-Event-ID",
            expected="the ID of an event of this stream, e.g. daemon:120,gateway:4711",
        ) from None
    expected_log_filter = _filter(call.query)
    return services.follow(
        services.feed_of(FEED, LogSource(services.settings.state_path / FOLDER)),
        call.request.scope,
        after=positions,
        selects=lambda line: expected_log_filter.matches(line.fields),
    )


def _require_service(services: Services, service: str | None) -> None:
    folder = services.settings.state_path / FOLDER
    require_known("service", service, {*PROGRAMS, *list_services(folder)})


def _filter(wanted: LinesWanted, since: str = "") -> LogFilter:
    return LogFilter(
        service=wanted.service or "",
        level=wanted.level or "",
        run_id=wanted.run or "",
        trace_id=wanted.trace or "",
        since=since,
    )


OPERATIONS = (
    Operation(
        "GET",
        "/logs",
        "operator",
        "List log lines",
        list_log_lines,
        query=PageWanted,
        answer=LogLines,
    ),
    Operation(
        "GET",
        "/logs/stream",
        "operator",
        "Follow log lines",
        follow_log_lines,
        query=LinesWanted,
        media={SSE: {"type": "string"}},
        headers={"Last-Event-ID": "The ID of the last event that was received"},
    ),
)
