"""The action run_job: a run of a job that the API lists, requested by the sensor."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import dagster as dg
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import Connection, select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_kinds import find_present_job
from orchestration_project.engine.contracts.matching import TargetFields
from orchestration_project.engine.contracts.pipelines import (
    Pipeline,
    build_partition_key,
    propose_key,
)
from orchestration_project.engine.loads import build_known_partitions
from orchestration_project.engine.outbox import DONE, Entry, OutboxLoop, Outcome
from orchestration_project.engine.tracing.traceparent import TraceContext
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.registry import ActionRequest, Registry, RoutingAction
from orchestration_project.resources.events.routing.applying import (
    ClaimedAction,
    EndedAction,
    action_of,
    begin_action,
    due_actions,
    record_action,
)
from orchestration_project.resources.events.routing.planning import (
    Routed,
    request_of,
    shown,
)
from orchestration_project.resources.events.routing.targets import RoutingTargets
from orchestration_project.settings import Settings
from orchestration_project.tables.spine import inbox

ROUTING_TAG = "routing_key"
"""Run tag: the idempotency key of the action that requested the run."""

RUNS_PER_TICK = 25


class RunTarget(BaseModel):
    """Declaration of a job whose runs rules may request.

    Attributes:
        job: Job of assets that the API lists as a pipeline; a former name is the present one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    job: Annotated[str, AfterValidator(find_present_job)] = Field(min_length=1, max_length=100)


def runnable_jobs(registry: Registry) -> Mapping[str, Pipeline]:
    """Return the jobs of assets that the API lists as pipelines, by name.

    Dagster copies a sensor of any other job, and warns about what the copy has.
    """
    return {
        name: pipeline
        for name, pipeline in registry.pipelines.items()
        if not isinstance(registry.jobs[name].definition, dg.JobDefinition)
    }


def _list_fields(declared: RunTarget, registry: Registry, _: Settings) -> TargetFields:
    names = [parameter.name for parameter in _find_pipeline(declared, registry).parameters]
    return TargetFields(dict.fromkeys(names, "text"), frozenset(names))


def _find_pipeline(declared: RunTarget, registry: Registry) -> Pipeline:
    runnable = runnable_jobs(registry)
    pipeline = runnable.get(declared.job)
    if pipeline is None:
        raise ConfigurationError(
            f"invalid job {declared.job!r}: expected a job of assets that the API lists",
            expected=f"one of {', '.join(sorted(runnable))}",
            remedy="correct targets in WEBHOOKS_FILE",
        )
    return pipeline


def _run(request: ActionRequest, registry: Registry) -> dg.RunRequest:
    declared: RunTarget = request.declared
    pipeline = _find_pipeline(declared, registry)
    fields = {name: str(value) for name, value in request.fields.items()}
    return dg.RunRequest(
        run_key=request.idempotency_key,
        job_name=declared.job,
        partition_key=build_partition_key(pipeline, fields),
        run_config=dict(registry.jobs[declared.job].real_config),
        tags={ROUTING_TAG: request.idempotency_key, "routing_rule": request.rule_id},
    )


RUN_JOB = RoutingAction(
    name="run_job",
    description="Requests a run of a job that WEBHOOKS_FILE lists.",
    declaration=RunTarget,
    fields=_list_fields,
    run=_run,
)


class RunRequester:
    """Requests the runs that are due, and settles those that exist.

    ``jobs`` are those of this code location; None: partitions are not verified. Only the run says
    that it was requested: a tick that is broken off requests it again by the same key, of which
    Dagster makes no second run.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        clock: Clock,
        targets: RoutingTargets,
        jobs: Mapping[str, dg.JobDefinition | None],
    ) -> None:
        self._warehouse = warehouse
        self._clock = clock
        self._targets = targets
        self._jobs = jobs

    def requests(self, instance: dg.DagsterInstance) -> Sequence[dg.RunRequest]:
        """Return the runs to request now, of this code location's jobs."""
        registry = self._targets.registry
        actions = [action.name for action in registry.actions.values() if action.run]
        due = due_actions(self._warehouse, self._clock, actions, limit=RUNS_PER_TICK)
        loop = OutboxLoop(self._warehouse, self._clock, run_id="")
        requests: list[dg.RunRequest] = []

        def send(claimed: ClaimedAction) -> Outcome | None:
            return self._send(instance, claimed, requests)

        for _ in loop.apply(due, self._begin, send, self._record):
            pass
        return requests

    def _begin(self, connection: Connection, entry: Entry) -> ClaimedAction | EndedAction:
        """Return a due action; no claim is needed, as Dagster makes one run of each key."""
        return begin_action(connection, entry, self._clock, run_id="")

    def _send(
        self,
        instance: dg.DagsterInstance,
        claimed: ClaimedAction,
        requests: list[dg.RunRequest],
    ) -> Outcome | None:
        """Find the run of an action, or else add its request; the next tick finds the run."""
        action, routed = self._targets.registry.actions[action_of(claimed.entry)], claimed.routed
        if action.run is None:
            raise AssertionError("only actions with a run are due here")
        tagged = dg.RunsFilter(tags={ROUTING_TAG: routed["idempotency_key"]})
        if run_ids := instance.get_run_ids(tagged, limit=1):
            claimed.run_id = claimed.answer = run_ids[0]
            return DONE
        try:
            request = action.run(request_of(routed, self._targets, action), self._targets.registry)
            self._require_partition(request)
        except ConfigurationError as error:
            claimed.error = error
            return Outcome("dead", shown(str(error)))
        if request.job_name in self._jobs:
            tags = {**request.tags, **self._trace_tags(routed)}
            requests.append(request._replace(tags=tags))
        return None

    def _trace_tags(self, routed: Routed) -> dict[str, str]:
        """Return the tags of the delivery's trace; none where the inbox has it no more."""
        pair = (inbox.c.source == routed["source"], inbox.c.delivery_id == routed["delivery_id"])
        with self._warehouse.reading() as connection:
            row = connection.execute(select(inbox.c.trace_id, inbox.c.span_id).where(*pair)).first()
        is_traced = row is not None and row.trace_id and row.span_id
        return TraceContext(row.trace_id, row.span_id).as_tags() if row and is_traced else {}

    def _require_partition(self, request: dg.RunRequest) -> None:
        """Make sure that a run's partition exists; of another code location's it does not know."""
        job = self._jobs.get(str(request.job_name))
        if job is None or request.partition_key is None:
            return
        definition = job.partitions_def
        if definition is not None and definition.has_partition_key(request.partition_key):
            return
        keys = definition.get_partition_keys() if definition is not None else []
        already_known = build_known_partitions(str(request.job_name), definition, keys)
        nearest = propose_key(request.partition_key, already_known)
        raise ConfigurationError(
            f"invalid partition {request.partition_key!r} of {request.job_name}",
            expected="a partition of the job" + (f", e.g. {nearest}" if nearest else ""),
            remedy="correct the mapping, then replay the dead letter",
        )

    def _record(
        self, connection: Connection, claimed: ClaimedAction, outcome: Outcome, is_current: bool
    ) -> None:
        if is_current:
            record_action(connection, claimed, outcome, now=self._clock.now(), run_id="")
