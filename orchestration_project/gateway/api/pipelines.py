"""The paths that callers of other systems know: run a pipeline by name, ask how it went."""

from collections.abc import Mapping
from typing import Annotated, Any

import dagster as dg
from pydantic import Field, StringConstraints

from orchestration_project.engine.contracts.api.pipelines import (
    Declared,
    Executed,
    Execution,
    Executions,
    ExecutionStatus,
    Failure,
    Metrics,
    Pipelines,
    State,
)
from orchestration_project.engine.contracts.pipelines import Pipeline, build_partition_key
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.jobs import Launch, launch
from orchestration_project.gateway.api.once import IDEMPOTENCY_HEADER
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError, problem_of
from orchestration_project.gateway.api.runs import (
    MAX_PAGE_ENTRIES,
    Name,
    Wanted,
    entry_of_run,
    page_of_runs,
    run_of,
    step_of,
)
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.ledger import Ledger
from orchestration_project.services.ledger.reading import read_facts
from orchestration_project.services.ledger.rules.entries import LedgerEntry
from orchestration_project.tables.operations_runs import STATES

FIGURES = ("rows_in", "rows_landed", "rows_rejected", "byte_count")

Value = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class PipelineName(Parameters):
    """Pipeline to run."""

    name: Name = Field(description="The name of a pipeline")


class ExecutionId(Parameters):
    """Execution to show."""

    execution_id: Name = Field(description="The id of an execution: that of its run")


class Given(Body):
    """Parameters of a pipeline; those that it does not take are refused."""

    tier: Value | None = Field(None, description="Such as T1")
    week_ending: Value | None = Field(None, description="A Friday, such as 2025-01-10")
    month: Value | None = Field(None, description="Such as 2025-01")
    partition: Value | None = Field(None, description="A partition's key, such as 2026-01-05")


class HistoryWanted(Parameters):
    """Filter of executions."""

    status: State | None = Field(None, description="Status")
    limit: int = Field(50, ge=1, le=MAX_PAGE_ENTRIES, description="Maximum number of executions")


async def list_pipelines(call: Call[Parameters, Body]) -> Pipelines:
    """List the pipelines that can be run by name, with their parameters."""
    registry = await call.services.in_thread(call.services.registry)
    return Pipelines(
        pipelines=[
            Declared(
                name=name,
                job=name,
                parameters=[parameter.name for parameter in pipeline.parameters],
            )
            for name, pipeline in registry.pipelines.items()
        ]
    )


async def run_pipeline(call: Call[PipelineName, Given]) -> Execution:
    """Run a pipeline for what its parameters name."""
    name = call.query.name
    registry = await call.services.in_thread(call.services.registry)
    pipelines = registry.pipelines
    pipeline = pipelines.get(name)
    if pipeline is None:
        raise ProblemError(
            404, f"pipeline not found: {name!r}", expected=f"one of {', '.join(pipelines)}"
        )
    config = registry.jobs[pipeline.job].real_config or None
    launched = await launch(
        call, Launch(pipeline.job, _resolve_partition(pipeline, call.body), config)
    )
    return Execution(execution_id=launched.run_id, status="started", pipeline=name)


def _resolve_partition(pipeline: Pipeline, given: Given) -> str | None:
    try:
        return build_partition_key(pipeline, given.model_dump(exclude_none=True))
    except ConfigurationError as error:
        raise problem_of(error, 422) from error


async def execution_status(call: Call[ExecutionId, Body]) -> ExecutionStatus:
    """Return how an execution is, with its steps and figures."""
    entry = await call.services.in_thread(entry_of_run, call.services, call.query.execution_id)
    steps = [step_of(step) for step in entry.steps]
    return ExecutionStatus(**_render_execution(entry.run), outcome=entry.outcome, steps=steps)


async def history(call: Call[HistoryWanted, Body]) -> Executions:
    """List executions, the latest first; what the ledger has not yet, is read from Dagster."""
    rows = await call.services.in_thread(_read_history, call.services, call.query)
    return Executions(runs=[Executed(**_render_execution(row)) for row in rows])


def _read_history(services: Services, wanted: HistoryWanted) -> list[Mapping[str, Any]]:
    """Return Dagster's runs, in the fields of the ledger."""
    of_dagster = {dagster_run_status.value for dagster_run_status in dg.DagsterRunStatus} & set(
        STATES
    )
    statuses = [name for name in of_dagster if wanted.status in (None, STATES[name].lower())]
    page = Wanted.model_validate({"status": sorted(statuses), "limit": wanted.limit})
    records, _ = page_of_runs(services, page)
    ledger = Ledger(services.warehouse, services.clock)
    run_ids = [record.dagster_run.run_id for record in records]
    entries = {
        run_id: entry
        for run_id, entry in ledger.written(run_ids).items()
        if entry.run["ended_at"] is not None
    }
    late = [record for record in records if record.dagster_run.run_id not in entries]
    for entry in ledger.drawn_up([read_facts(services.instance, record) for record in late]):
        entries[entry.run["run_id"]] = entry
    return [_merge_row(record, entries[record.dagster_run.run_id]) for record in records]


def _merge_row(record: dg.RunRecord, entry: LedgerEntry) -> Mapping[str, Any]:
    """Return Dagster's own word of how a run is, and of the ledger what only that has."""
    run = run_of(record)
    columns = ("run_id", "job", "status", "started_at", "ended_at", "duration_seconds")
    return dict(entry.run) | {name: getattr(run, name) for name in columns}


def _render_execution(row: Mapping[str, Any]) -> dict[str, Any]:
    category, message = row.get("error_category"), row.get("error_message")
    return {
        "execution_id": row["run_id"],
        "pipeline": row["job"],
        "status": STATES.get(row["status"], "RUNNING").lower(),
        "started_at": row["started_at"],
        "completed_at": row["ended_at"],
        "metrics": Metrics(
            duration_seconds=row["duration_seconds"],
            bytes_processed=row["byte_count"],
            **{name: row[name] for name in FIGURES[:3]},
        ),
        "error": Failure(category=category, message=message or "") if category else None,
    }


OPERATIONS = (
    Operation("GET", "/pipelines", "viewer", "List pipelines", list_pipelines, answer=Pipelines),
    Operation(
        "POST",
        "/pipelines/run/{name}",
        "operator",
        "Run a pipeline",
        run_pipeline,
        query=PipelineName,
        body=Given,
        answer=Execution,
        headers=IDEMPOTENCY_HEADER,
        status=202,
    ),
    Operation(
        "GET",
        "/pipelines/status/{execution_id}",
        "viewer",
        "Get an execution",
        execution_status,
        query=ExecutionId,
        answer=ExecutionStatus,
    ),
    Operation(
        "GET",
        "/history/runs",
        "viewer",
        "List executions",
        history,
        query=HistoryWanted,
        answer=Executions,
    ),
)
