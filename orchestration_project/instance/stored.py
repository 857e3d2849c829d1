"""Parts of Dagster's storages: secrets masked, runs named and tagged, planned checks noted.

Dagster lists the runs of a job by the job's code location. A process that executes a job itself,
as `dagster job execute` does, names none, so its runs were missing on the job's pages.

Dagster calls no code of ours around a run or a step. But the process that executes a run stores its
events in order, so the storage of events sees where the run and each step begin and end.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psutil
from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    EventLogEntry,
    RunRecord,
    RunsFilter,
    deserialize_value,
    serialize_value,
)
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import InstigatorTick
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log import SqlEventLogStorage
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.schedules.base import ScheduleStorage
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_shared.error import SerializableErrorInfo

from orchestration_project import release
from orchestration_project.engine.contracts.job_kinds import KINDS
from orchestration_project.engine.contracts.job_options import find_mapping
from orchestration_project.engine.contracts.partition_tags import RANGE_START, select_own_tags
from orchestration_project.engine.tracing import spans
from orchestration_project.engine.tracing.span import Span
from orchestration_project.engine.tracing.spans import begin_span, finish_span
from orchestration_project.engine.tracing.traceparent import (
    TraceContext,
    begin_run_trace,
    forget_run_trace,
    trace_of_tags,
    trace_tags,
)
from orchestration_project.instance.run_claims import RUN_ENDS, RunClaims
from orchestration_project.redaction import MASK, redacted
from orchestration_project.services.backfills import BACKFILL
from orchestration_project.services.ledger.rules.entries import BY_CLI, LAUNCHED_BY
from orchestration_project.settings import project_folder
from orchestration_project.settings.project import DEFINITIONS

UNSUCCESSFUL_ENDS = {DagsterEventType.RUN_FAILURE, DagsterEventType.RUN_CANCELED}

LAUNCHERS = {
    BACKFILL: "backfill",
    "dagster/schedule_name": "schedule",
    "dagster/sensor_name": "sensor",
}
"""Trigger of a run, by Dagster's tag."""

MAX_RETRIES_TAG = "dagster/max_retries"
"""Dagster's tag of a run: how often the daemon may retry it."""


class StoredRuns(SqlRunStorage):
    """Put before a storage of runs, backfills and heartbeats.

    Secrets are masked in what people can write. A run that ended keeps its status, and needs no
    claim: a process that was paused goes on with a run that has failed meanwhile, as it sent no
    heartbeat. Its events are stored, but it no longer changes how the run ended.
    """

    @property
    def claims(self) -> RunClaims:
        """Claims of runs."""
        return RunClaims(self.connect)

    def add_run(self, dagster_run: DagsterRun) -> DagsterRun:
        """Store a run with its origin, its trace, and the tags `launched_by`, `domain` and `kind`.

        Dimensions of a partition of another run are left out of its tags.
        """
        config, tags = _redact_texts(dagster_run.run_config), _redact_texts(dagster_run.tags)
        run = traced(visible(dagster_run._replace(run_config=config, tags=tags)))
        launch = begin_span("launch", trace_of_tags(run.tags))
        if launch is None:
            return super().add_run(run._replace(tags=select_own_tags(run.tags)))
        launch.set(**{"run.id": run.run_id, "job": run.job_name})
        tags = select_own_tags({**run.tags, **launch.context.as_tags()})
        added = super().add_run(run._replace(tags=tags))
        finish_span(launch)
        return added

    def handle_run_event(self, run_id: str, event: DagsterEvent, *rest: Any, **named: Any) -> None:
        """Store the status that an event means.

        A process may have been killed after it stored how its run ended, before the status.
        A monitor that finds it gone reports a failure: the status is that of the stored end.
        """
        if any(run.is_finished for run in self.get_runs(RunsFilter(run_ids=[run_id]))):
            return
        if is_end_from_outside(event):
            event = first_end(self._instance, run_id) or event
        super().handle_run_event(run_id, event, *rest, **named)
        if event.event_type in RUN_ENDS:
            self.claims.release(run_id)

    def add_backfill(self, partition_backfill: PartitionBackfill) -> None:
        """Store a backfill with its trace, which all its runs belong to."""
        backfill = _backfill_without_secrets(partition_backfill)
        super().add_backfill(backfill._replace(tags={**backfill.tags, **trace_tags(backfill.tags)}))

    def update_backfill(self, partition_backfill: PartitionBackfill) -> None:
        """Store how a backfill stands; of one whose runs are over ranges, without a checkpoint.

        The daemon goes on with the partitions that were named after the checkpoint, but takes
        ranges in another order: some would get no run. Without it, it goes on with those that no
        run has.
        """
        backfill = _backfill_without_secrets(partition_backfill)
        if backfill.last_submitted_partition_name and self._is_of_ranges(backfill):
            backfill = backfill.with_partition_checkpoint(None)
        super().update_backfill(backfill)

    def _is_of_ranges(self, backfill: PartitionBackfill) -> bool:
        runs_filter = RunsFilter(tags=DagsterRun.tags_for_backfill_id(backfill.backfill_id))
        return any(RANGE_START in run.tags for run in self.get_runs(runs_filter, limit=1))

    def add_daemon_heartbeat(self, daemon_heartbeat: Any) -> None:
        """Store a heartbeat, and the errors since the last one."""
        errors = [without_secrets_in(error) for error in daemon_heartbeat.errors or ()]
        super().add_daemon_heartbeat(daemon_heartbeat._replace(errors=errors))


def visible(run: DagsterRun) -> DagsterRun:
    """Return ``run`` as it is stored.

    A run that its own process executes gets an origin, and the account of the process as its user.
    Dagster must not launch it again when it
    fails, as it does with runs of an origin, so it gets no retries. Re-executed by Dagster it is
    one of Dagster's runs: neither tag is of it then.
    """
    given_names = dict(run.tags)
    if run.parent_run_id and run.remote_job_origin and given_names.get(LAUNCHED_BY) == BY_CLI:
        given_names = {
            name: given_names[name] for name in given_names.keys() - {LAUNCHED_BY, MAX_RETRIES_TAG}
        }
    tags = {LAUNCHED_BY: _find_launcher(run), **_find_domain(run), **given_names, **_find_kind(run)}
    if run.remote_job_origin is None and _is_of_location(run):
        run = run._replace(remote_job_origin=repository_origin().get_job_origin(run.job_name))
        tags.setdefault(MAX_RETRIES_TAG, "0")
        tags.setdefault("user", psutil.Process().username())
    return run._replace(tags=tags)


def traced(run: DagsterRun) -> DagsterRun:
    """Return ``run`` with the tags of its trace."""
    return run._replace(tags={**run.tags, **trace_tags(run.tags)})


def _find_launcher(run: DagsterRun) -> str:
    if run.remote_job_origin is None:
        return BY_CLI
    return next((name for tag, name in LAUNCHERS.items() if tag in run.tags), "ui")


def _find_domain(run: DagsterRun) -> dict[str, str]:
    """Return the domain that all selected assets of a run have in common: their first key part."""
    names = {key.path[0] for key in run.asset_selection or () if len(key.path) > 1}
    return {"domain": names.pop()} if len(names) == 1 else {}


def _find_kind(run: DagsterRun) -> dict[str, str]:
    """Return the kind of work that the config of a run of operations selects."""
    of_job = (kind for kind in KINDS if kind.job == run.job_name)
    selected = (
        {"kind": kind.name}
        for kind in of_job
        if [*find_mapping(run.run_config, "ops", kind.op, "config")] == [kind.name]
    )
    return next(selected, {})


def _is_of_location(run: DagsterRun) -> bool:
    origin = run.job_code_origin
    return origin is not None and getattr(origin.get_repo_pointer(), "module", None) == DEFINITIONS


def repository_origin(location_name: str = DEFINITIONS) -> RemoteRepositoryOrigin:
    """Return where a code location's definitions come from, as `workspace.yaml` names it."""
    target = LoadableTargetOrigin(module_name=DEFINITIONS, working_directory=str(project_folder()))
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=location_name)
    return RemoteRepositoryOrigin(location, "__repository__")


STEP_ENDS = {
    DagsterEventType.STEP_SUCCESS,
    DagsterEventType.STEP_FAILURE,
    DagsterEventType.STEP_UP_FOR_RETRY,
}
STEP_STARTS = {DagsterEventType.STEP_START, DagsterEventType.STEP_RESTARTED}
FAILURES = {DagsterEventType.RUN_FAILURE, DagsterEventType.STEP_FAILURE}


@contextmanager
def recorded_spans(
    event: EventLogEntry, read_run: Callable[[str], RunRecord | None]
) -> Iterator[None]:
    """Begin spans before an event is stored, and end them after it.

    The process that stores that a run started executes it, until it ends.
    """
    kind, happened = event.dagster_event_type, event.dagster_event
    if kind == DagsterEventType.RUN_START:
        _begin_run(event.run_id, read_run(event.run_id))
    elif kind in STEP_STARTS and event.run_id in _SPANS:
        _begin_step(event.run_id, event.step_key or "")
    yield
    if kind in STEP_ENDS and event.run_id in _SPANS:
        _finish_step(event.run_id, event.step_key or "", happened)
    elif kind in RUN_ENDS:
        _finish_run(event.run_id, happened)


def _begin_run(run_id: str, record: RunRecord | None) -> None:
    context = trace_of_tags(record.dagster_run.tags) if record else None
    if record is None or context is None:
        return
    begin_run_trace(run_id, context)
    if not spans.is_recording():
        return
    run = record.dagster_run
    spans.name_program("run", release())
    queue = spans.begin_span("queue", context)
    if queue is not None:
        queue.started_ns = round(record.create_timestamp.timestamp() * 1e9)
        queue.ended_ns = max(time.time_ns(), queue.started_ns)
        queue.set(**{"run.id": run_id})
        spans.finish_span(queue)
    span = spans.begin_span("run", context)
    if span is not None:
        span.set(
            **{
                "run.id": run_id,
                "job": run.job_name,
                "partition": run.tags.get("dagster/partition"),
                "domain": run.tags.get("domain"),
                "retry_of": run.parent_run_id,
            }
        )
        _SPANS[run_id] = {"": span}
        begin_run_trace(run_id, span.context)


_SPANS: dict[str, dict[str, Span]] = {}
"""Spans of runs of this process that have not ended, by run and step; of the run itself by ""."""


def _begin_step(run_id: str, step: str) -> None:
    of_run = _SPANS[run_id]
    span = spans.begin_span("step", of_run[""].context)
    if span is not None:
        span.set(**{"run.id": run_id, "step": step})
        of_run[step] = span
        begin_run_trace(run_id, span.context)


def _finish_step(run_id: str, step: str, event: DagsterEvent | None) -> None:
    of_run = _SPANS[run_id]
    _finish_span(of_run.pop(step, None), event)
    begin_run_trace(run_id, _find_context(of_run))


def _find_context(of_run: dict[str, Span]) -> TraceContext:
    """Return the context of the span that began last and has not ended."""
    return list(of_run.values())[-1].context


def _finish_run(run_id: str, event: DagsterEvent | None) -> None:
    """End the remaining spans of a run, the run last; its end is stored already."""
    forget_run_trace(run_id)
    left = _SPANS.pop(run_id, None)
    if left is None:
        return
    for span in reversed(list(left.values())):
        _finish_span(span, event)
    spans.flush()


def _finish_span(span: Span | None, event: DagsterEvent | None) -> None:
    if span is None:
        return
    if event is not None and event.event_type in FAILURES:
        span.fail(event.message or event.event_type.value)
    spans.finish_span(span)


class StoredEvents(SqlEventLogStorage):
    """Put before a storage of events: masks secrets, records spans, removes plans.

    The planned checks of a run that ended before its first step keep their last results. Dagster
    would show them as failed, although nothing was checked.
    """

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event; one that ends a run from outside only where no end is stored.

        The process that stores the start of a run executes the run.
        """
        if not is_end_from_outside(event.dagster_event):
            self._store(event)
            return
        with self.ending(event.run_id):
            if first_end(self, event.run_id) is None:
                self._store(event)

    @contextmanager
    def ending(self, run_id: str) -> Iterator[None]:
        """Keep other processes from ending the run; with SQLite, one process monitors runs."""
        yield

    def _store(self, event: EventLogEntry) -> None:
        event = without_secrets_in(event)
        with recorded_spans(event, self._run_record):
            super().store_event(event)
            if event.dagster_event_type in UNSUCCESSFUL_ENDS:
                self._remove_plan_unless_begun(event.run_id)
            if self.has_instance and is_ended_by_storage(event):
                self._instance.add_run_tags(event.run_id, {RETRY_STEP_FAILURE: "true"})

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of one run."""
        super().store_event_batch([without_secrets_in(event) for event in events])

    def _run_record(self, run_id: str) -> RunRecord | None:
        return self._instance.get_run_record_by_id(run_id) if self.has_instance else None

    def _remove_plan_unless_begun(self, run_id: str) -> None:
        begun = {DagsterEventType.STEP_START}
        if self.get_records_for_run(run_id, of_type=begun, limit=1).records:
            return
        table = AssetCheckExecutionsTable
        planned = table.c.execution_status == AssetCheckExecutionRecordStatus.PLANNED.value
        with self.index_connection() as connection:
            connection.execute(table.delete().where(table.c.run_id == run_id, planned))


def is_end_from_outside(event: DagsterEvent | None) -> bool:
    """Return whether an event ends a run from a process other than the run's own.

    A failure that the run reports itself has an error or the step that failed.
    """
    if event is None or event.event_type not in UNSUCCESSFUL_ENDS:
        return False
    if event.event_type == DagsterEventType.RUN_CANCELED:
        return True
    data = event.event_specific_data
    return not any(getattr(data, name, None) for name in ("error", "first_step_failure_event"))


def first_end(events: SqlEventLogStorage | DagsterInstance, run_id: str) -> DagsterEvent | None:
    """Return the event by which a run ended; None: it has none."""
    records = events.get_records_for_run(run_id, of_type=RUN_ENDS, limit=1, ascending=True).records
    return records[0].event_log_entry.dagster_event if records else None


RETRY_STEP_FAILURE = "dagster/retry_on_asset_or_op_failure"
"""Tag of a run that is retried although a step failed."""

OUTAGES = ("OperationalError", "DagsterPostgresException")
"""Errors of Dagster's storage, by name, as its events have them; those of assets have a cause."""


def is_ended_by_storage(event: EventLogEntry) -> bool:
    """Return whether a step failed as Dagster's own storage was away: its run is to be retried.

    The error of an asset is wrapped, and its step has had its retries.
    """
    if event.dagster_event_type != DagsterEventType.STEP_FAILURE:
        return False
    error = event.get_dagster_event().step_failure_data.error
    return error is not None and error.cls_name in OUTAGES


class StoredTicks(ScheduleStorage[Any]):
    """Put before a storage of ticks."""

    def update_tick(self, tick: InstigatorTick) -> InstigatorTick:
        """Store how a tick ended."""
        return super().update_tick(without_secrets_in(tick))


TYPE_KEYS = ("__class__", "__enum__")
"""Keys whose values are types in Dagster. A weak password may equal such a word."""

MASK_OF_TITLES = "..."
"""Dagster allows no asterisk in them, and would not read such a backfill again."""

Value = TypeVar("Value", EventLogEntry, InstigatorTick, SerializableErrorInfo)


def without_secrets_in(value: Value) -> Value:
    """Return ``value``, the same object where it holds no secret."""
    text = serialize_value(value)
    if redacted(text) == text:
        return value
    return deserialize_value(json.dumps(_redact_texts(json.loads(text))), type(value))


def _redact_texts(found: Any) -> Any:
    """Return a value that was read from JSON with its texts redacted; names of fields stay."""
    if isinstance(found, str):
        return redacted(found)
    if isinstance(found, list):
        return [_redact_texts(part) for part in found]
    if isinstance(found, Mapping):
        return {
            name: value if name in TYPE_KEYS else _redact_texts(value)
            for name, value in found.items()
        }
    return found


def _backfill_without_secrets(backfill: PartitionBackfill) -> PartitionBackfill:
    return backfill._replace(
        error=backfill.error and without_secrets_in(backfill.error),
        tags=_redact_texts(backfill.tags),
        run_config=_redact_texts(backfill.run_config),
        title=backfill.title and redacted(backfill.title).replace(MASK, MASK_OF_TITLES),
        description=_redact_texts(backfill.description),
    )
