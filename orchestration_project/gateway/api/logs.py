"""Events of a run by page, and its log as a stream."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
from pydantic import Field
from starlette.responses import Response

from orchestration_project.engine.contracts.api.runs import Event, Events
from orchestration_project.engine.contracts.roles import remove_stacks
from orchestration_project.engine.dagster_private.storage import build_event_cursor
from orchestration_project.gateway.api.feeds import SSE, Entry, Feed, FeedPage, NumberedSource
from orchestration_project.gateway.api.jobs import find_run
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.runs import MAX_PAGE_ENTRIES, Name
from orchestration_project.gateway.api.services import Services

FEED_PREFIX = "runs/"
MAX_BATCH_LINES = 500


class EventsWanted(Parameters):
    """Events of a run, in order."""

    run_id: Name = Field(description="The id of a run")
    after: int = Field(0, ge=0, lt=2**63, description="`next` of the previous page")
    limit: int = Field(200, ge=1, le=MAX_PAGE_ENTRIES, description="Maximum number of events")


class LogsWanted(Parameters):
    """Run whose log is followed."""

    run_id: Name = Field(description="The id of a run")


async def run_events(call: Call[EventsWanted, Body]) -> Events:
    """List the events of a run: its status changes, steps, assets and checks."""
    return await call.services.in_thread(_read_events, call.services, call.query)


def _read_events(services: Services, wanted: EventsWanted) -> Events:
    record = find_run(services.instance, wanted.run_id)
    run_events: list[Event] = []
    after, has_more = wanted.after, True
    while has_more and len(run_events) <= wanted.limit:
        events, has_more = _read(services.instance, wanted.run_id, after)
        run_events += [event for event in events if event.type != "LOG"]
        after = events[-1].id if events else after
    page = run_events[: wanted.limit]
    return Events(
        events=page,
        next=page[-1].id if len(run_events) > wanted.limit else None,
        is_finished=record.dagster_run.is_finished,
    )


def _read(instance: dg.DagsterInstance, run_id: str, after: int) -> tuple[list[Event], bool]:
    """Return the events after one, by its id, and whether there are more."""
    records = instance.get_records_for_run(run_id, build_event_cursor(after), limit=MAX_BATCH_LINES)
    events = [_build_event(record.storage_id, record.event_log_entry) for record in records.records]
    return events, records.has_more


def _build_event(number: int, entry: dg.EventLogEntry) -> Event:
    event = entry.dagster_event
    asset = event.asset_key if event else None
    return Event(
        id=number,
        at=datetime.fromtimestamp(entry.timestamp, UTC),
        type=event.event_type.name if event else "LOG",
        level=_name_level(entry.level),
        step=entry.step_key,
        asset=asset.to_user_string() if asset else None,
        partition=event.partition if event else None,
        message=remove_stacks(entry.user_message or (event.message if event else "") or ""),
    )


def _name_level(number: int | str) -> str:
    known_names = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
    return number if isinstance(number, str) else known_names.get(number, str(number))


async def run_logs(call: Call[LogsWanted, Body]) -> Response:
    """Follow the log of a run as server-sent events, until it has ended.

    An event `log` has an Event as its data; `end` has the run's last status. Last-Event-ID goes on
    where a connection broke off.
    """
    services, run_id = call.services, call.query.run_id
    after = RunLogSource.read_cursor(call.request.headers.get("last-event-id"))
    await services.in_thread(find_run, services.instance, run_id)
    feed, scope = _open_feed(services, run_id), call.request.scope
    return services.follow(feed, scope, after=after or 0, selects=lambda _: True)


@dataclass(frozen=True)
class RunLogSource(NumberedSource):
    """Log of a run, which ends with the run; a cursor is the id of an event."""

    instance: dg.DagsterInstance
    run_id: str
    event_type: str = "log"
    poll_seconds: float = 0.5

    def read(self, after: int) -> FeedPage[int]:
        """Return the events after one; the status closes them once the run has ended."""
        run = find_run(self.instance, self.run_id).dagster_run  # before its events: these are all
        events, has_more = _read(self.instance, self.run_id, after)
        entries = [self._entry(event) for event in events]
        is_ended = run.is_finished and not has_more
        status = json.dumps({"status": run.status.value})
        closing = f"event: end\ndata: {status}\n\n".encode() if is_ended else b""
        return FeedPage(entries, entries[-1].cursor if entries else after, has_more, closing)

    def read_end(self) -> int:
        """Return the id of the last event now."""
        last = self.instance.get_records_for_run(self.run_id, limit=1, ascending=False).records
        return last[0].storage_id if last else 0

    def _entry(self, event: Event) -> Entry[int]:
        text = json.dumps(event.model_dump(mode="json"))
        return Entry(event.id, event, text, self.write_event(text, event.id))


def _open_feed(services: Services, run_id: str) -> Feed[int]:
    """Return the feed of a run's log; those of logs without a stream are dropped."""
    logs = {name: feed for name, feed in services.feeds.items() if name.startswith(FEED_PREFIX)}
    for name, feed in logs.items():
        if not feed.stream_count:
            del services.feeds[name]
    return services.feed_of(FEED_PREFIX + run_id, RunLogSource(services.instance, run_id))


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
        headers={"Last-Event-ID": "The ID of the last event that was received"},
    ),
)
