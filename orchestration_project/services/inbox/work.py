"""The inbox as a queue: which deliveries are due, and which of them a run has claimed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

import dagster as dg
from sqlalchemy import ColumnElement, Connection, RowMapping, Select, and_, select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.ticks import PlannedRun
from orchestration_project.engine.contracts.webhooks.queue import (
    RUNS_PER_TICK,
    AttemptRun,
    DispatchPlan,
    QueueState,
    Row,
    find_ended_holders,
    plan_batch_run,
    plan_single_runs,
)
from orchestration_project.engine.contracts.webhooks.sources import WebhookSource
from orchestration_project.engine.contracts.work_items import (
    ClaimedItem,
    ItemChange,
    ItemSettlement,
    ItemState,
)
from orchestration_project.engine.run_statuses import ACTIVE_STATUSES
from orchestration_project.engine.tracing.traceparent import HIDDEN_PREFIX, TraceContext, read_tag
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.inbox.rows import (
    BODY_REMOVED,
    HAS_BODY,
    ITEM_REMEDIES,
    Content,
    are_deliveries,
    build_item,
    build_topic,
    open_delivery_items,
    read_contents,
)
from orchestration_project.services.ledger.rules.entries import LAUNCHED_BY
from orchestration_project.tables.spine import DELIVERY_TOPICS, inbox, select_states, work_items

ATTEMPT_TAG = "webhook"
"""Run tag: the attempt, whose name is also the run's key."""

SOURCE_TAG, DELIVERY_TAG = "webhook_source", "webhook_delivery_id"
"""Run tags: the source whose deliveries the run claims; with the id, the one that it works on."""

REJECTED_TAG = f"{HIDDEN_PREFIX}webhook_rejected_by"
"""Run tag: the id of the run that rejected the delivery; a re-execution copies it, and is another
run."""

WILL_RETRY_TAG = "dagster/will_retry"

MAX_BATCH_BYTES = 16 * 1024 * 1024
"""Bodies that a run holds at a time, unless one alone is larger."""

ROW_COLUMNS = [select_states.selected_columns[field.name] for field in fields(Row)]
"""Columns of deliveries that decide the order, without bodies."""

SELECT_ROWS = select_states.with_only_columns(
    *(work_items.c.state if column.name == "state" else column for column in ROW_COLUMNS)
)


@dataclass(frozen=True, kw_only=True)
class ClaimedDelivery(ClaimedItem):
    """A delivery that a run has claimed, with its bytes."""

    content: Content


class InboxQueue:
    """Reads and settles rows of the inbox."""

    def __init__(self, warehouse: Warehouse, clock: Clock) -> None:
        self._warehouse = warehouse
        self._clock = clock
        self._items = open_delivery_items(warehouse, clock)

    def dispatch(
        self,
        instance: dg.DagsterInstance,
        sources: Mapping[str, WebhookSource],
        claimed_by_runs: Collection[str] = (),
    ) -> DispatchPlan:
        """Settle deliveries by how their runs ended in Dagster, and return those that are due.

        Args:
            instance: Where the runs are.
            sources: The sources, by name.
            claimed_by_runs: Those of them whose runs claim all deliveries that are due; the others
                have a run per delivery.
        """
        single = {name: source for name, source in sources.items() if name not in claimed_by_runs}
        plan = self._dispatch_single(instance, single)
        for name in sorted(sources.keys() & claimed_by_runs):
            plan += self._dispatch_batch(instance, name, sources[name])
        return plan

    def _dispatch_single(
        self, instance: dg.DagsterInstance, sources: Mapping[str, WebhookSource]
    ) -> DispatchPlan:
        """Settle runs of one delivery each, and plan the next ones.

        Nothing says that a run was requested but the run: so a tick that is broken off anywhere
        requests it again, by the same key, and Dagster makes no second run of that.
        """
        state = self._read_state(sources)
        runs = _find_runs(instance, state.first_rows)
        changes = state.find_changes(runs)
        self._settle(changes)
        ended = [change for _, change in changes if change.state != "leased"]
        if ended:
            state = self._read_state(sources)
            runs = _find_runs(instance, state.first_rows)
        return plan_single_runs(state, runs, ended)

    def _dispatch_batch(
        self, instance: dg.DagsterInstance, name: str, source: WebhookSource
    ) -> DispatchPlan:
        """Settle the runs that claim the deliveries of a source, and plan the next one.

        A run that ended without a word left its leases; one that failed before it claimed anything
        counts as an attempt at the delivery that it was requested for.
        """
        topic = build_topic(name)
        ended = _find_ended_holders(instance, self._items.lease_holders(topic))
        states = self._items.expire(topic, ended) if ended else ()
        runs_filter = dg.RunsFilter(tags={SOURCE_TAG: name}, statuses=ACTIVE_STATUSES)
        under_way_count = instance.get_runs_count(runs_filter)
        state = self._read_state({name: source})
        changes = state.find_unclaimed(_find_runs(instance, state.first_due))
        self._settle(changes)
        if changes:
            state = self._read_state({name: source})
        plan = plan_batch_run(state, under_way_count, [change for _, change in changes])
        return plan + DispatchPlan(ended_run_count=len(ended), dead_count=states.count("dead"))

    def claim(
        self, topic: str, *, limit: int, run_id: str, until: datetime, in_order: bool
    ) -> Sequence[ClaimedDelivery]:
        """Lease deliveries of a source that are due to a run, and return them with their bytes.

        As many as `MAX_BATCH_BYTES` hold, one at least. One that failed before comes alone.
        """
        source = topic.removeprefix(DELIVERY_TOPICS)
        with self._warehouse.writing() as connection:
            items = self._items.claim(
                topic,
                limit=limit,
                run_id=run_id,
                until=until,
                in_order=in_order,
                retries_alone=True,
                connection=connection,
            )
            fitting = _select_fitting(items, _read_sizes(connection, source, items))
            remaining_item_settlements = [
                ItemSettlement(item, "ready") for item in items[len(fitting) :]
            ]
            self._items.settle(connection, remaining_item_settlements)
            contents_by_name = read_contents(connection, source, [item.key for item in fitting])
            contents = {
                key: content for key, content in contents_by_name.items() if content is not None
            }
            self._items.settle(
                connection, [_settle_removed(item) for item in fitting if item.key not in contents]
            )
        if fitting and not contents:  # others may be due
            return self.claim(topic, limit=limit, run_id=run_id, until=until, in_order=in_order)
        return [
            ClaimedDelivery(**vars(item), content=contents[item.key])
            for item in fitting
            if item.key in contents
        ]

    def settle(
        self, connection: Connection, results: Sequence[ItemSettlement]
    ) -> Sequence[ItemSettlement]:
        """Record how claimed deliveries ended, as `WorkItems.settle` does."""
        return self._items.settle(connection, results)

    def content(self, source: str, delivery_id: str) -> Content:
        """Return a delivery.

        Raises:
            ConfigurationError: There is none of that id, or its body was removed.
        """
        with self._warehouse.reading() as connection:
            contents = read_contents(connection, source, [delivery_id])
        if delivery_id not in contents:
            raise _build_missing_error(source, delivery_id)
        content = contents[delivery_id]
        if content is None:
            raise _build_removed_error(source, delivery_id)
        return content

    def put_back(self, source: str, delivery_id: str | None, *, attempts: int) -> list[Row]:
        """Have deliveries of ``source`` worked on (again): one that is done or dead, or all dead.

        Returns them as they were. Of all dead ones, those without a body are left out.

        Raises:
            ConfigurationError: The delivery does not exist, a run works on it, or its body was
                removed.
        """
        with self._warehouse.writing() as connection:
            rows = _find_replayable(connection, source, delivery_id, locks=True)
            # of a source that had no job, there is none yet
            items = [build_item(row, row["allowed_count"]) for row in rows]
            self._items.enqueue(build_topic(source), items, connection=connection)
            self._items.retry(
                build_topic(source),
                keys=None if delivery_id is None else [delivery_id],
                states=["dead"] if delivery_id is None else ["ready", "done", "skipped", "dead"],
                attempts=attempts,
                connection=connection,
            )
        return _build_rows(rows)

    def replayable(self, source: str, delivery_id: str | None) -> list[Row]:
        """Return the deliveries that `put_back` would put back, and change nothing.

        Raises:
            ConfigurationError: The delivery is missing, a run works on it, or its body was removed.
        """
        with self._warehouse.reading() as connection:
            return _build_rows(_find_replayable(connection, source, delivery_id))

    def _read_state(self, sources: Mapping[str, WebhookSource]) -> QueueState:
        with self._warehouse.reading() as connection:
            queues = {name: _read_queue(connection, name) for name in sources}
        return QueueState(
            queues=queues,
            in_order={name: source.in_order for name, source in sources.items()},
            now=self._clock.now(),  # not before another daemon noted what was read
        )

    def _settle(self, changes: Sequence[tuple[Row, ItemChange]]) -> None:
        if not changes:
            return
        with self._warehouse.writing() as connection:
            for row, change in changes:
                pair = row.state, row.attempt_count
                topic, key = build_topic(row.source), row.delivery_id
                self._items.record_run(connection, topic, key, change, seen=pair)


def _find_replayable(
    connection: Connection, source: str, delivery_id: str | None, *, locks: bool = False
) -> Sequence[RowMapping]:
    if delivery_id is None:
        condition = and_(inbox.c.source == source, _has_item(source, "dead"))
    else:
        state = select_states.selected_columns["state"]
        condition = and_(are_deliveries(source, [delivery_id]), state.in_(["done", "dead"]))
    has_body = HAS_BODY.label("has_body")
    columns = select_states.with_only_columns(*ROW_COLUMNS, inbox.c.sha256, has_body).where(
        condition
    )
    locking = columns.with_for_update(of=inbox) if locks else columns
    rows = connection.execute(locking).mappings().all()
    if delivery_id is not None and not rows:
        raise _build_missing_error(source, delivery_id)
    if delivery_id is not None and not rows[0]["has_body"]:
        raise _build_removed_error(source, delivery_id)
    return [row for row in rows if row["has_body"]]


def _build_rows(found: Sequence[RowMapping]) -> list[Row]:
    return [
        Row(**{row_column.name: row[row_column.name] for row_column in ROW_COLUMNS})
        for row in found
    ]


def plan_delivery(
    row: Row, job: str, *, claims: bool = False, config: Mapping[str, Any] | None = None
) -> PlannedRun:
    """Return the run of ``job`` for a delivery; ``claims``: for all that are due."""
    tags = {ATTEMPT_TAG: row.attempt, SOURCE_TAG: row.source, LAUNCHED_BY: "webhook"}
    if row.trace_id and row.span_id:
        tags |= TraceContext(row.trace_id, row.span_id).as_tags()
    if claims:
        return PlannedRun(job_name=job, tags=tags, run_config=config or {})
    return PlannedRun(
        run_key=row.attempt,
        job_name=job,
        tags={**tags, DELIVERY_TAG: row.delivery_id},
        run_config=config or {},
    )


def _settle_removed(item: ClaimedItem) -> ItemSettlement:
    """Return the settlement of a retried delivery whose body was removed."""
    reason = ITEM_REMEDIES[BODY_REMOVED]
    return ItemSettlement(
        item, "failed", reason_code=BODY_REMOVED, reason=reason, is_retryable=False
    )


def _read_sizes(
    connection: Connection, source: str, items: Sequence[ClaimedItem]
) -> Mapping[str, int]:
    query = select(inbox.c.delivery_id, inbox.c.byte_count)
    rows = connection.execute(query.where(are_deliveries(source, [item.key for item in items])))
    return {row.delivery_id: row.byte_count for row in rows}


def _select_fitting(
    items: Sequence[ClaimedItem], sizes: Mapping[str, int]
) -> Sequence[ClaimedItem]:
    """Return the first items that a run holds together, one at least if there is one."""
    totals = accumulate(sizes[item.key] for item in items)
    count = sum(total <= MAX_BATCH_BYTES for total in totals)
    return items[: max(count, 1)]


def _find_ended_holders(
    instance: dg.DagsterInstance, holders: Sequence[str]
) -> Mapping[str, datetime | None]:
    """Return the runs of leases that have ended, with their ends."""
    if not holders:
        return {}
    records = instance.get_run_records(dg.RunsFilter(run_ids=list(holders)))
    runs = {record.dagster_run.run_id: record for record in records}
    return find_ended_holders(
        holders,
        {run_id: _read_end(record) for run_id, record in runs.items()},
        {run_id for run_id, record in runs.items() if not record.dagster_run.is_finished},
    )


def _read_end(record: dg.RunRecord) -> datetime | None:
    return datetime.fromtimestamp(record.end_time, UTC) if record.end_time else None


def _read_queue(connection: Connection, name: str) -> list[Row]:
    """Return the oldest rows in each state; of failed ones all, as some wait.

    Those are no more than the runs that may fail within the longest pause, and some.
    """
    limits: Mapping[ItemState, int | None]
    limits = {"ready": RUNS_PER_TICK, "leased": RUNS_PER_TICK, "failed": None}
    return [
        Row(*row)
        for state, limit in limits.items()
        for row in connection.execute(_select_oldest(name, state, limit))
    ]


def _select_oldest(source: str, state: ItemState, most: int | None) -> Select[Any]:
    item = work_items.c
    keys = select(item.item_key).where(_has_item(source, state))
    first = keys.order_by(item.due_at, item.item_key).limit(most)  # as the index has them
    return SELECT_ROWS.where(are_deliveries(source, first))


def _has_item(source: str, state: ItemState) -> ColumnElement[bool]:
    return and_(work_items.c.topic == build_topic(source), work_items.c.state == state)


def _build_missing_error(source: str, delivery_id: str) -> ConfigurationError:
    return ConfigurationError(
        f"the inbox has no such delivery of {source}",
        expected="the id of a delivery; of a replay one that is done or dead",
        found=repr(delivery_id),
        remedy="look it up: SELECT delivery_id, state FROM inbox_states",
    )


def _build_removed_error(source: str, delivery_id: str) -> ConfigurationError:
    return ConfigurationError(
        f"the body of this delivery of {source} was removed",
        expected="a delivery younger than WEBHOOK_BODY_DAYS, or WEBHOOK_DEAD_BODY_DAYS if it is "
        "dead",
        found=repr(delivery_id),
        remedy="have the sender deliver it again under a new ID",
    )


def _find_runs(instance: dg.DagsterInstance, rows: Sequence[Row]) -> dict[str, AttemptRun]:
    """Return the latest run of each row's attempt, if there is one: Dagster may try a run again."""
    if not rows:
        return {}
    attempts = [row.attempt for row in rows]
    records = instance.get_run_records(dg.RunsFilter(tags={ATTEMPT_TAG: attempts}))
    runs: dict[str, AttemptRun] = {}
    for record in sorted(records, key=lambda each: each.create_timestamp):
        run = record.dagster_run
        runs[run.tags[ATTEMPT_TAG]] = AttemptRun(
            run.run_id,
            run.status.value,
            _read_end(record),
            run.tags.get(WILL_RETRY_TAG) == "true",
            read_tag(run.tags, REJECTED_TAG) == run.run_id,
        )
    return runs
