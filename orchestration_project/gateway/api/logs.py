"""Events of a run by page, and its log as a stream."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field
from starlette.responses import Response, StreamingResponse

from orchestration_project.contracts.api.runs import Event, Events
from orchestration_project.contracts.roles import without_stacks
from orchestration_project.engine.dagster_private import event_cursor
from orchestration_project.gateway.api.feeds import HEADERS, SSE
from orchestration_project.gateway.api.jobs import find_run
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError
from orchestration_project.gateway.api.runs import MAX_PAGE_ENTRIES, Name
from orchestration_project.gateway.api.services import Services

POLL_SECONDS = 0.5
READ_AT_ONCE = 500


class EventsWanted(Parameters):
    """Events of a run, in order."""

    run_id: Name = Field(description="The id of a run")
    after: int = Field(0, ge=0, lt=2**63, description="`next` of the previous page")
    limit: int = Field(200, ge=1, le=MAX_PAGE_ENTRIES, description="Maximum number of events")


class LogsWanted(Parameters):
    """Run whose log is followed."""

    run_id: Name = Field(description="The id of a run")


async def run_events(call: Call[EventsWanted, Body]) -> Events:
    """List what happened in a run: its life, its steps, assets and checks."""
    return await call.services.in_thread(_events, call.services, call.query)


def _events(services: Services, wanted: EventsWanted) -> Events:
    record = find_run(services.instance, wanted.run_id)
    found: list[Event] = []
    cursor = _cursor(wanted.after)
    while len(found) <= wanted.limit:
        events, cursor, has_more = _read(services.instance, wanted.run_id, cursor)
        found += [each for each in events if each.type != "LOG"]
        if not has_more:
            break
    page = found[: wanted.limit]
    return Events(
        events=page,
        next=page[-1].id if len(found) > wanted.limit else None,
        is_finished=record.dagster_run.is_finished,
    )


def _cursor(after: int) -> str:
    """Return where Dagster goes on after an event: to read what is before it takes as long."""
    return event_cursor(after)


def _read(instance: dg.DagsterInstance, run_id: str, cursor: str) -> tuple[list[Event], str, bool]:
    found = instance.get_records_for_run(run_id, cursor, limit=READ_AT_ONCE)
    events = [_event(each.storage_id, each.event_log_entry) for each in found.records]
    return events, found.cursor, found.has_more


def _event(number: int, entry: dg.EventLogEntry) -> Event:
    event = entry.dagster_event
    asset = event.asset_key if event else None
    return Event(
        id=number,
        at=datetime.fromtimestamp(entry.timestamp, UTC),
        type=event.event_type.name if event else "LOG",
        level=_level(entry.level),
        step=entry.step_key,
        asset=asset.to_user_string() if asset else None,
        partition=event.partition if event else None,
        message=without_stacks(entry.user_message or (event.message if event else "") or ""),
    )


def _level(number: int | str) -> str:
    known = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
    return number if isinstance(number, str) else known.get(number, str(number))


async def run_logs(call: Call[LogsWanted, Body]) -> Response:
    """Follow the log of a run as server-sent events, until it has ended.

    An event `log` has an Event as its data; `end` has the run's last status. Last-Event-ID goes on
    where a connection broke off.
    """
    run_id = call.query.run_id
    after = _after(call.request.headers.get("last-event-id", ""))
    await call.services.in_thread(find_run, call.services.instance, run_id)
    return StreamingResponse(_followed(call, run_id, after), 200, HEADERS, SSE)


def _after(written: str) -> int:
    if written and not (written.isascii() and written.isdigit() and len(written) < 19):
        raise ProblemError(422, "Last-Event-ID is none that was sent")
    return int(written or 0)


def _looking(call: Call[LogsWanted, Body]) -> Callable[[], Awaitable[bool]]:
    """Return what says whether who follows may still; it finds out every `recheck_seconds`."""
    looked_at = time.monotonic()

    async def may_still() -> bool:
        nonlocal looked_at
        if time.monotonic() - looked_at < call.services.recheck_seconds:
            return True
        looked_at = time.monotonic()
        return await call.services.still_known(call.request.scope)

    return may_still


async def _followed(call: Call[LogsWanted, Body], run_id: str, after: int) -> AsyncIterator[bytes]:
    """Yield what follows event ``after``, and a comment now and then where nothing does."""
    services, may_still = call.services, _looking(call)
    cursor, said = _cursor(after), time.monotonic()
    end = said + services.feed_limits.longest_seconds
    while time.monotonic() < end and await may_still():
        record = await services.in_thread(find_run, services.instance, run_id)
        events, cursor, has_more = await services.in_thread(
            _read, services.instance, run_id, cursor
        )
        if lines := _lines(events):
            yield lines
            said = time.monotonic()
        if has_more:
            continue
        if record.dagster_run.is_finished:  # was so before the events were read: these are all
            yield _sent("end", {"status": record.dagster_run.status.value})
            return
        if time.monotonic() - said >= services.heartbeat_seconds:
            yield b": still here\n\n"  # proxies take a silent connection for dead
            said = time.monotonic()
        await asyncio.sleep(POLL_SECONDS)


def _lines(events: Sequence[Event]) -> bytes:
    return b"".join(_sent("log", each.model_dump(mode="json"), each.id) for each in events)


def _sent(kind: str, data: object, number: int | None = None) -> bytes:
    numbered = f"id: {number}\n" if number is not None else ""
    return f"{numbered}event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


OPERATIONS = (
    Operation(
        "GET",
        "/runs/{run_id}/events",
        "viewer",
        "List the events of a run",
        run_events,
        query=EventsWanted,
        answer=Events,
    ),
    Operation(
        "GET",
        "/runs/{run_id}/logs",
        "viewer",
        "Follow the log of a run",
        run_logs,
        query=LogsWanted,
        media={SSE: {"type": "string"}},
        headers={"Last-Event-ID": "The id of the last event that was received"},
    ),
)
