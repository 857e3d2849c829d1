"""Running a job in this process, for the commands that load and derive."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from orchestration_project.domains.operations.partition_tags import RANGE_END, RANGE_START
from orchestration_project.engine.dagster_private import SerializableErrorInfo, load_repository
from orchestration_project.engine.runner import DID_NOT_LAND
from orchestration_project.instance.launcher import own_run_tags
from orchestration_project.settings import PROJECT_ROOT

DEFINITIONS = "orchestration_project.definitions"
INTERRUPTED = "DagsterExecutionInterruptedError"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def execute(
    instance: dg.DagsterInstance,
    job: str,
    *,
    between: tuple[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> dg.JobExecutionResult:
    """Run a job, over the partitions from the first to the last of ``between`` if it has any.

    Raises:
        KeyboardInterrupt: Somebody pressed Ctrl-C, of which Dagster makes a failed run.
    """
    result = dg.execute_job(
        load_repository(DEFINITIONS, "defs", PROJECT_ROOT).get_reconstructable_job(job),
        instance,
        run_config={**QUIET, **(config or {})},
        tags=own_run_tags() | dict(zip((RANGE_START, RANGE_END), between or (), strict=False)),
    )
    if any(error.cls_name == INTERRUPTED for error in _errors(result)):
        raise KeyboardInterrupt
    return result


def failures(results: Sequence[dg.JobExecutionResult]) -> list[str]:
    """Return a text for each step that failed; why a partition did not land was said with it."""
    return [
        f"FAILED: run {result.run_id}: {_without_partitions(_description(event))}"
        for result in results
        for event in result.all_events
        if event.is_step_failure
    ]


def _without_partitions(text: str) -> str:
    first = text.partition("\n")[0]
    return f"{first} (why: see above)" if DID_NOT_LAND in first else text


def _description(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    told = data.user_failure_data.description if data.user_failure_data else None
    if told or data.error is None:
        return told or "no reason was recorded"
    error = data.error
    while error.cause is not None:  # the outer ones say in which op, the innermost what
        error = error.cause
    return error.message.strip()


def _errors(result: dg.JobExecutionResult) -> Iterator[SerializableErrorInfo]:
    for event in result.all_events:
        error = event.step_failure_data.error if event.is_step_failure else None
        if event.event_type == dg.DagsterEventType.RUN_FAILURE:
            error = event.job_failure_data.error
        while error is not None:
            yield error
            error = error.cause


def repository() -> dg.RepositoryDefinition:
    """Return all that there is to run."""
    return load_repository(DEFINITIONS, "defs", PROJECT_ROOT).get_definition()
