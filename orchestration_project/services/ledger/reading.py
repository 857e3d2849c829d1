"""Runs of Dagster, under way or over, read from its storage as plain facts."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg
from dagster import DagsterEventType as Happened

from orchestration_project.engine.contracts.problems import Unit
from orchestration_project.engine.dagster_private.storage import SerializableErrorInfo
from orchestration_project.services.ended_runs import (
    MATERIALIZED,
    describe_error,
    describe_failure,
    find_unpublished,
    iterate_unit_events,
    read_asset,
    read_entries,
)
from orchestration_project.services.ledger.rules.entries import (
    NOT_APPLICABLE,
    Check,
    RunFacts,
    StepFacts,
)

READ = {
    Happened.RUN_FAILURE,
    Happened.STEP_START,
    Happened.STEP_RESTARTED,
    Happened.STEP_SUCCESS,
    Happened.STEP_FAILURE,
    Happened.STEP_SKIPPED,
    Happened.ASSET_MATERIALIZATION_PLANNED,
    Happened.ASSET_MATERIALIZATION,
    Happened.ASSET_OBSERVATION,
    Happened.ASSET_CHECK_EVALUATION,
}
STATUSES = {
    Happened.STEP_START: "IN_PROGRESS",
    Happened.STEP_RESTARTED: "IN_PROGRESS",
    Happened.STEP_SUCCESS: "SUCCESS",
    Happened.STEP_FAILURE: "FAILURE",
    Happened.STEP_SKIPPED: "SKIPPED",
}
STEP_START_EVENTS = (Happened.STEP_START, Happened.STEP_RESTARTED)
ENDS = (Happened.STEP_SUCCESS, Happened.STEP_FAILURE, Happened.STEP_SKIPPED)

TimedEvent = tuple[datetime, dg.DagsterEvent]


def read_facts(instance: dg.DagsterInstance, record: dg.RunRecord) -> RunFacts:
    """Return the facts of a run, as far as Dagster's event log still has them."""
    run = record.dagster_run
    happened = [
        (_convert_seconds(entry.timestamp), entry.dagster_event)
        for entry in read_entries(instance, run.run_id, READ)
        if entry.dagster_event
    ]
    failures = [event for _, event in happened if event.event_type == Happened.RUN_FAILURE]
    has_failed = run.status == dg.DagsterRunStatus.FAILURE
    return RunFacts(
        run_id=run.run_id,
        job=run.job_name,
        status=run.status.value,
        created_at=record.create_timestamp,
        changed_at=record.update_timestamp,
        started_at=_convert_seconds(record.start_time) if record.start_time else None,
        ended_at=_convert_seconds(record.end_time) if record.end_time and run.is_finished else None,
        tags=run.tags,
        config=run.run_config,
        parent_run_id=run.parent_run_id,
        root_run_id=run.root_run_id,
        assets=_list_assets(event for _, event in happened),
        steps=_read_steps(happened),
        error_classes=[name for event in failures for name in _run_classes(event)],
        error=describe_error([event for _, event in happened]) if has_failed else None,
        unpublished=sorted(find_unpublished(event for _, event in happened)),
    )


def _convert_seconds(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _list_assets(events: Iterable[dg.DagsterEvent]) -> list[str]:
    planned = Happened.ASSET_MATERIALIZATION_PLANNED
    return sorted({read_asset(event) for event in events if event.event_type == planned})


def _read_steps(events: Iterable[TimedEvent]) -> list[StepFacts]:
    by_step: dict[str, list[TimedEvent]] = {}
    for at, event in events:
        if event.step_key is not None:
            by_step.setdefault(event.step_key, []).append((at, event))
    return [
        _read_step(key, found)
        for key, found in by_step.items()
        if any(event.event_type in STATUSES for _, event in found)
    ]


def _read_step(key: str, found: Sequence[TimedEvent]) -> StepFacts:
    events = [event for _, event in found]
    status = next(
        STATUSES[dagster_event.event_type]
        for dagster_event in events[::-1]
        if dagster_event.event_type in STATUSES
    )
    begun = [at for at, event in found if event.event_type in STEP_START_EVENTS]
    ended = [at for at, event in found if event.event_type in ENDS]
    failures = [event for event in events if event.event_type == Happened.STEP_FAILURE]
    failure = failures[-1] if failures and status == "FAILURE" else None
    return StepFacts(
        step_key=key,
        status=status,
        assets=_list_assets(events),
        started_at=begun[0] if begun else None,
        ended_at=ended[-1] if ended and status != "IN_PROGRESS" else None,
        attempts=len(begun),
        checks=_read_checks(events),
        refusals=_list_refusals(events),
        error_classes=_list_classes(failure.step_failure_data.error) if failure else [],
        error=describe_failure(failure) if failure else None,
    )


def _read_checks(events: Iterable[dg.DagsterEvent]) -> list[Check]:
    evaluations = [
        event.asset_check_evaluation_data
        for event in events
        if event.event_type == Happened.ASSET_CHECK_EVALUATION
    ]
    latest = {f"{data.asset_key.to_user_string()} {data.check_name}": data for data in evaluations}
    return [
        Check(
            name,
            None
            if is_not_applicable(asset_check_evaluation.metadata)
            else asset_check_evaluation.passed,
            "error"
            if asset_check_evaluation.severity == dg.AssetCheckSeverity.ERROR
            else "warning",
            _select_numbers(asset_check_evaluation.metadata),
        )
        for name, asset_check_evaluation in sorted(latest.items())
    ]


def is_not_applicable(metadata: Mapping[str, dg.MetadataValue]) -> bool:
    """Whether the result of a check says that it had nothing to judge."""
    outcome = metadata.get("outcome")
    return outcome is not None and str(outcome.value).startswith(f"{NOT_APPLICABLE}: ")


def _select_numbers(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, int | float]:
    values = {
        name: value.value
        for name, value in metadata.items()
        if not isinstance(value, dg.TimestampMetadataValue)
    }
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _list_refusals(events: Iterable[dg.DagsterEvent]) -> list[str]:
    """Return the categories of quarantined partitions; the last attempt counts."""
    categories: dict[Unit, str] = {}
    for event in iterate_unit_events(events):
        if event.outcome == MATERIALIZED:
            categories.pop(event.unit, None)
        elif event.quarantine is not None:
            categories[event.unit] = event.quarantine.category
    return list(categories.values())


def _run_classes(event: dg.DagsterEvent) -> list[str]:
    return _list_classes(event.job_failure_data.error) if event.event_specific_data else []


def _list_classes(error: SerializableErrorInfo | None) -> list[str]:
    """Return the names of an exception and of what caused it, the outermost first."""
    classes: list[str] = []
    while error is not None:
        classes.append(str(error.cls_name).rpartition(".")[2])
        error = error.cause or error.context
    return classes
