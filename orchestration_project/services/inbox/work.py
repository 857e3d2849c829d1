"""The inbox as a queue: whose turn it is, and a delivery's content as what was fetched."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from sqlalchemy import ColumnElement, Connection, and_, select, update

from orchestration_project.connections.clock import Clock
from orchestration_project.domains.webhooks.queue import (
    AttemptRun,
    Change,
    Row,
    changed,
    due,
    first,
    waits_until,
)
from orchestration_project.domains.webhooks.sources import Source
from orchestration_project.engine.captures import Capture, Fetched
from orchestration_project.engine.warehouse import Delivery, Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.spine import inbox

ATTEMPT_TAG = "webhook"
"""Run tag: the attempt, whose name is also the run's key."""

SOURCE_TAG, DELIVERY_TAG = "webhook_source", "webhook_delivery_id"
"""Run tags: together the key of the inbox's row that the run works on."""

REJECTED_TAG = "webhook_rejected_by"
"""Run tag: the id of the run that rejected the delivery; a re-execution copies it, and is another
run."""

WILL_RETRY_TAG = "dagster/will_retry"

RUNS_PER_TICK = 25
"""So that one source with a backlog leaves room in the queue for other runs."""

ROW_COLUMNS = [inbox.c[each.name] for each in fields(Row)]
"""Of the inbox: all that decides whose turn it is, and no body."""


@dataclass(frozen=True)
class Content:
    """A delivery of the inbox as it came."""

    source: str
    delivery_id: str
    kind: str | None
    body: bytes
    headers: Mapping[str, str]
    received_at: datetime


@dataclass(frozen=True)
class DispatchPlan:
    """What a look at the inbox found: the rows to run now, and what became of others.

    ``waits`` is until when each of those waits whose latest attempt failed.
    """

    due: Sequence[Row]
    changes: Sequence[Change]
    under_way_count: int
    waits: Sequence[datetime]


@dataclass(frozen=True)
class _Look:
    """Rows that are to be worked on, the runs of their attempts, and until when others wait."""

    rows: Sequence[Row]
    runs: Mapping[str, AttemptRun]
    waits: Sequence[datetime]
    now: datetime


class InboxQueue:
    """Reads and settles rows of the inbox."""

    def __init__(self, warehouse: Warehouse, clock: Clock) -> None:
        self._warehouse = warehouse
        self._clock = clock

    def turn(self, instance: dg.DagsterInstance, sources: Mapping[str, Source]) -> DispatchPlan:
        """Settle rows by how their runs stand in Dagster, and return the ones that are due.

        Nothing says that a row was asked for but its run: so a tick that is broken off anywhere
        asks again, by the same key, and Dagster makes no second run of that.
        """
        look = self._look(instance, sources)
        found = [changed(row, look.runs.get(row.attempt), now=look.now) for row in look.rows]
        changes = [each for each in found if each]
        self._settle(changes)
        if any(each.state != "running" for each in changes):
            look = self._look(instance, sources)
        in_order = {name: source.in_order for name, source in sources.items()}
        ready = due(look.rows, look.runs, in_order=in_order, most=RUNS_PER_TICK, now=look.now)
        under_way_count = sum(row.attempt in look.runs for row in look.rows)
        return DispatchPlan(ready, changes, under_way_count, look.waits)

    def content(self, source: str, delivery_id: str) -> Content:
        """Return a delivery.

        Raises:
            ConfigurationError: There is none of that id.
        """
        with self._warehouse.reading() as connection:
            row = connection.execute(select(inbox).where(_is(source, delivery_id))).first()
        if row is None:
            raise _missing(source, delivery_id)
        return Content(
            source,
            delivery_id,
            row.kind,
            base64.b64decode(row.body),
            json.loads(row.headers),
            row.received_at,
        )

    def put_back(self, source: str, delivery_id: str | None, *, attempts: int) -> list[Row]:
        """Have deliveries of ``source`` worked on (again): one that is done or dead, or all dead.

        Returns them as they were.

        Raises:
            ConfigurationError: There is no such delivery, or it is being worked on.
        """
        if delivery_id is None:
            wanted = and_(inbox.c.source == source, inbox.c.state == "dead")
        else:
            wanted = and_(_is(source, delivery_id), inbox.c.state.in_(["done", "dead"]))
        with self._warehouse.writing() as connection:
            found = connection.execute(select(*ROW_COLUMNS).where(wanted))
            rows = [Row(*each) for each in found]
            if delivery_id is not None and not rows:
                raise _missing(source, delivery_id)
            connection.execute(
                update(inbox)
                .where(wanted)
                .values(
                    state="received",
                    allowed_count=inbox.c.attempt_count + attempts,
                    changed_at=self._clock.now(),
                )
            )
        return rows

    def _look(self, instance: dg.DagsterInstance, sources: Mapping[str, Source]) -> _Look:
        """Look at the first rows of each source."""
        with self._warehouse.reading() as connection:
            queues = {name: _queue(connection, name) for name in sources}
        now = self._clock.now()  # not before another daemon noted what was read
        rows: list[Row] = []
        for name, queue in queues.items():
            in_order = sources[name].in_order
            rows += first(queue, in_order=in_order, most=RUNS_PER_TICK, now=now)
        waits = [waits_until(row, now) for queue in queues.values() for row in queue]
        return _Look(rows, _runs_of(instance, rows), [each for each in waits if each], now)

    def _settle(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        with self._warehouse.writing() as connection:
            for each in changes:
                seen = and_(
                    _is(each.row.source, each.row.delivery_id),
                    inbox.c.state == each.row.state,
                    inbox.c.attempt_count == each.row.attempt_count,
                )  # two daemons may look at once
                connection.execute(
                    update(inbox)
                    .where(seen)
                    .values(
                        state=each.state,
                        attempt_count=each.attempt_count,
                        run_id=each.run_id,
                        changed_at=each.at,
                    )
                )


def request_of(row: Row, job: str) -> dg.RunRequest:
    """Return the request of a run of ``job`` that works on a row."""
    tags = {
        ATTEMPT_TAG: row.attempt,
        SOURCE_TAG: row.source,
        DELIVERY_TAG: row.delivery_id,
    }
    return dg.RunRequest(run_key=row.attempt, job_name=job, tags=tags)


def _queue(connection: Connection, name: str) -> list[Row]:
    """Return the oldest rows in each state; of failed ones all, as some wait.

    Those are no more than the runs that may fail within the longest pause, and some.
    """
    limits = {"received": RUNS_PER_TICK, "running": RUNS_PER_TICK, "failed": None}
    return [
        Row(*each)
        for state, limit in limits.items()
        for each in connection.execute(_oldest(name, state, limit))
    ]


def _oldest(source: str, state: str, most: int | None) -> Any:
    return (
        select(*ROW_COLUMNS)
        .where(inbox.c.state == state, inbox.c.source == source)
        .order_by(inbox.c.received_at, inbox.c.delivery_id)
        .limit(most)
    )


def _is(source: str, delivery_id: str) -> ColumnElement[bool]:
    return and_(inbox.c.source == source, inbox.c.delivery_id == delivery_id)


def _missing(source: str, delivery_id: str) -> ConfigurationError:
    return ConfigurationError(
        f"the inbox has no such delivery of {source}",
        expected="the id of a delivery; of a replay one that is done or dead",
        found=repr(delivery_id),
        remedy="look it up: SELECT delivery_id, state FROM inbox",
    )


def _runs_of(instance: dg.DagsterInstance, rows: Sequence[Row]) -> dict[str, AttemptRun]:
    """Return the latest run of each row's attempt, if there is one: Dagster may try a run again."""
    if not rows:
        return {}
    attempts = [row.attempt for row in rows]
    records = instance.get_run_records(dg.RunsFilter(tags={ATTEMPT_TAG: attempts}))
    found: dict[str, AttemptRun] = {}
    for record in sorted(records, key=lambda each: each.create_timestamp):
        run = record.dagster_run
        found[run.tags[ATTEMPT_TAG]] = AttemptRun(
            run.run_id,
            run.status.value,
            datetime.fromtimestamp(record.end_time, UTC) if record.end_time else None,
            run.tags.get(WILL_RETRY_TAG) == "true",
            run.tags.get(REJECTED_TAG) == run.run_id,
        )
    return found


def fetched_of(content: Content) -> Fetched:
    """Return a delivery of the inbox as what was fetched."""
    request: Mapping[str, object] = {"delivery_id": content.delivery_id, "method": "POST"}
    return Fetched(
        body=content.body,
        url=f"/hooks/{content.source}",
        request=request,
        response_headers=content.headers,
        http_status=None,
        row_count=1,
        fetched_at=content.received_at,
    )


def delivery_of(content: Content, *captures: Capture) -> Delivery:
    """Return what names a delivery of the inbox; ``captures`` has its bytes, once they are kept."""
    return Delivery(
        source="webhooks",
        dataset=content.source,
        source_version=captures[0].sha256 if captures else "",
        record_total=1,
        scope={},
        captures=captures,
    )
