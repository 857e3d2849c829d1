"""Runs that are over, read from Dagster's event log as plain facts."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import dagster as dg
from dagster import DagsterEventType as Happened
from sqlalchemy.exc import DatabaseError

from orchestration_project.engine.announcements import read_time
from orchestration_project.engine.contracts.failures import (
    NOT_PUBLISHED,
    QUARANTINED,
    WITHOUT_DATA,
    Quarantine,
    is_ours,
    read_quarantine,
)
from orchestration_project.engine.contracts.partition_tags import PARTITION_TAGS
from orchestration_project.engine.contracts.problems import (
    EVALUATED_BY_LOAD,
    CheckResult,
    EndedRun,
    Notice,
    Unit,
)
from orchestration_project.engine.dagster_private.storage import SerializableErrorInfo
from orchestration_project.engine.tracing.traceparent import trace_of_tags

Outcome = Literal["success", "failure", "canceled"]

ENDS: dict[Outcome, Any] = {
    "success": Happened.RUN_SUCCESS,
    "failure": Happened.RUN_FAILURE,
    "canceled": Happened.RUN_CANCELED,
}
READ = {
    Happened.RUN_FAILURE,
    Happened.STEP_FAILURE,
    Happened.ASSET_MATERIALIZATION_PLANNED,
    Happened.ASSET_MATERIALIZATION,
    Happened.ASSET_OBSERVATION,
    Happened.ASSET_CHECK_EVALUATION,
}
MATERIALIZED = "materialized"
WILL_RETRY, RETRIED_AS = "dagster/will_retry", "dagster/auto_retry_run_id"
SHOWN_LENGTH = 120
"""Characters; longer metadata of a check is omitted from its reported text."""
SHOWN_KINDS = (
    dg.TextMetadataValue
    | dg.BoolMetadataValue
    | dg.IntMetadataValue
    | dg.FloatMetadataValue
    | dg.TimestampMetadataValue
)
"""Metadata that is reported as text; links have their own lines."""


DAMAGED = (11, 26)
"""Errors of SQLite for a malformed file, or one that is not a database."""

log = logging.getLogger(__name__)


class RunEnd(NamedTuple):
    """That a run ended, and its place in the event log."""

    place: int
    run_id: str
    outcome: Outcome

    @property
    def cause(self) -> str:
        """A name for this end: a run may be marked failed and still succeed."""
        return f"run {self.run_id} {self.outcome}"


def find_latest_end(instance: dg.DagsterInstance, before: datetime) -> int:
    """Return the place of the latest end of a run before a time, 0 if there is none."""
    latest = [
        instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(event_type=kind, before_timestamp=before.timestamp()),
            limit=1,
        ).records
        for kind in ENDS.values()
    ]
    return max((record.storage_id for records in latest for record in records), default=0)


def list_ends_after(instance: dg.DagsterInstance, place: int, limit: int) -> list[RunEnd]:
    """Return the first ends of runs after ``place``, in order."""
    run_ends = [
        RunEnd(record.storage_id, record.event_log_entry.run_id, outcome)
        for outcome, kind in ENDS.items()
        for record in instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(event_type=kind, after_storage_id=place),
            limit=limit,
            ascending=True,
        ).records
    ]
    return sorted(run_ends)[:limit]


def retry_of(instance: dg.DagsterInstance, run_id: str) -> Literal["none", "made", "announced"]:
    """Return the state of a failed run's retry: none, made, or announced and not made yet.

    Dagster decides right after it has stored the failure, so a run without that word is awaited.
    """
    run = instance.get_run_by_id(run_id)
    if run is None or not instance.run_retries_enabled:
        return "none"
    if run.tags.get(RETRIED_AS):
        return "made"
    return "none" if run.tags.get(WILL_RETRY) == "false" else "announced"


def read_entries(
    instance: dg.DagsterInstance, run_id: str, kinds: set[Any]
) -> list[dg.EventLogEntry]:
    """Return the events of a run of these kinds; none where its file in SQLite is damaged.

    Who looks at all runs would fail at that one for ever, and see none that ended after it.
    """
    try:
        records = instance.get_records_for_run(run_id, of_type=kinds).records
    except DatabaseError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF not in DAMAGED:
            raise
        log.warning(
            "the log of the run %s cannot be read: %s",
            run_id,
            error.orig,
            extra={"event": "run_log_unreadable"},
        )
        return []
    return [record.event_log_entry for record in records]


def read_run(instance: dg.DagsterInstance, end: RunEnd) -> EndedRun | None:
    """Return the facts of a run that ended, None if it was deleted."""
    record = instance.get_run_record_by_id(end.run_id)
    if record is None:
        return None
    run = record.dagster_run
    trace = trace_of_tags(run.tags)
    entries = read_entries(instance, end.run_id, READ)
    happened = [entry.dagster_event for entry in entries if entry.dagster_event is not None]
    planned = [(event.step_key, unit) for event in happened for unit in _list_planned(event)]
    speaks = _choose_speakers(planned)
    loaded, refused = _collect_outcomes(happened, speaks)
    expected_units = frozenset(unit for step, unit in planned if unit.asset == speaks.get(step))
    return EndedRun(
        run_id=end.run_id,
        job=run.job_name,
        outcome=end.outcome,
        has_started=record.start_time is not None,
        partitions=_list_partitions(run.tags, expected_units),
        wanted=expected_units,
        loaded=frozenset(loaded),
        refused=refused,
        checks=_read_checks(happened),
        notices=_read_notices(happened),
        together=_group_assets(planned, speaks),
        error=describe_error(happened) if end.outcome == "failure" else "",
        trace_id=trace.trace_id if trace else None,
    )


def find_missing_units(instance: dg.DagsterInstance, run_id: str) -> frozenset[Unit]:
    """Return the partitions of assets that a run was to materialize and did not."""
    kinds = {Happened.ASSET_MATERIALIZATION_PLANNED, Happened.ASSET_MATERIALIZATION}
    entries = read_entries(instance, run_id, kinds)
    events = [entry.dagster_event for entry in entries if entry.dagster_event is not None]
    units = {
        Unit(read_asset(event), event.partition or "")
        for event in events
        if event.event_type == Happened.ASSET_MATERIALIZATION
    }
    return frozenset(unit for event in events for unit in _list_planned(event)) - units


ENDS_OF_RUNS: Mapping[dg.DagsterRunStatus, str] = {
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.CANCELED: "canceled",
}
"""End of a partition that no event of its run names; a run that succeeded names all."""

UNKNOWN_END = ""
"""End of a partition that a run which succeeded was to make, and that none of its events names."""


class UnitEvent(NamedTuple):
    """Event of a run about a partition.

    Attributes:
        unit: The partition of an asset.
        outcome: `MATERIALIZED`, or the outcome that an observation has; empty: it has none.
        quarantine: Why it was quarantined, if it was.
        step_key: The step.
    """

    unit: Unit
    outcome: str
    quarantine: Quarantine | None
    step_key: str | None


def iterate_unit_events(events: Iterable[dg.DagsterEvent]) -> Iterator[UnitEvent]:
    """Yield the materializations and observations among events: of a partition, the last counts."""
    for event in events:
        asset = read_asset(event)
        if event.event_type == Happened.ASSET_MATERIALIZATION:
            unit = Unit(asset, event.partition or "")
            yield UnitEvent(unit, MATERIALIZED, None, event.step_key)
        elif event.event_type == Happened.ASSET_OBSERVATION:
            observation = event.asset_observation_data.asset_observation
            metadata = {name: value.value for name, value in observation.metadata.items()}
            quarantine = read_quarantine(metadata)
            outcome = str(metadata.get("outcome", "")) if quarantine is None else QUARANTINED
            unit = Unit(asset, observation.partition or "")
            yield UnitEvent(unit, outcome, quarantine, event.step_key)


def read_unit_ends(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Mapping[Unit, str]:
    """Return how the partitions ended that a run was to make.

    Ends are materialized, without_data, quarantined, failed, canceled and `UNKNOWN_END`.
    """
    entries = read_entries(instance, run.run_id, READ)
    events = [entry.dagster_event for entry in entries if entry.dagster_event is not None]
    end_of_run = ENDS_OF_RUNS.get(run.status, UNKNOWN_END)
    ends = {unit: end_of_run for event in events for unit in _list_planned(event)}
    for event in iterate_unit_events(events):
        if event.outcome in (MATERIALIZED, QUARANTINED):
            ends[event.unit] = event.outcome
        elif event.outcome in WITHOUT_DATA:
            ends[event.unit] = "without_data"
    return ends


def _list_planned(event: dg.DagsterEvent) -> list[Unit]:
    if event.event_type != Happened.ASSET_MATERIALIZATION_PLANNED or event.asset_key is None:
        return []
    asset, subset = event.asset_key.to_user_string(), event.partitions_subset
    keys = list(subset.get_partition_keys()) if subset else [event.partition or ""]
    return [Unit(asset, key) for key in keys]


def _choose_speakers(planned: Iterable[tuple[str | None, Unit]]) -> Mapping[str | None, str]:
    """Return for each step the first of its assets by name, which stands for all of them."""
    return {step: unit.asset for step, unit in sorted(planned, key=lambda each: each[1])[::-1]}


def _group_assets(
    planned: Iterable[tuple[str | None, Unit]], speaks: Mapping[str | None, str]
) -> Mapping[str, frozenset[str]]:
    """Return all assets of a step by the one that stands for them."""
    names: dict[str, set[str]] = {}
    for step, unit in planned:
        names.setdefault(speaks[step], set()).add(unit.asset)
    return {asset: frozenset(assets) for asset, assets in names.items()}


def _collect_outcomes(
    events: Iterable[dg.DagsterEvent], speaks: Mapping[str | None, str]
) -> tuple[set[Unit], dict[Unit, str]]:
    """Return loaded partitions, and quarantined ones with reason: the last attempt counts.

    A partition without data is as good as loaded: a holiday, or one that is not published yet.
    """
    loaded: set[Unit] = set()
    refused: dict[Unit, str] = {}
    for event in iterate_unit_events(events):
        unit, quarantine = event.unit, event.quarantine
        if event.outcome == MATERIALIZED:
            loaded.add(unit)
            refused.pop(unit, None)
        elif quarantine is not None and unit.asset == speaks.get(event.step_key):
            loaded.discard(unit)
            refused[unit] = quarantine.reason
        elif event.outcome in WITHOUT_DATA:
            loaded.add(unit)
    return loaded, refused


def find_unpublished(events: Iterable[dg.DagsterEvent]) -> set[str]:
    """Return the partitions that their source has not published yet: the last attempt counts."""
    outcomes = {event.unit: event.outcome for event in iterate_unit_events(events)}
    return {unit.partition for unit, outcome in outcomes.items() if outcome == NOT_PUBLISHED}


def read_asset(event: dg.DagsterEvent) -> str:
    """Return the asset that an event is about, empty if it is about none."""
    return event.asset_key.to_user_string() if event.asset_key else ""


def _list_partitions(tags: Mapping[str, str], wanted: Iterable[Unit]) -> Sequence[str]:
    keys = sorted({unit.partition for unit in wanted if unit.partition})
    if keys:
        return keys
    given_names = [tags[tag] for tag in PARTITION_TAGS if tag in tags]
    return list(dict.fromkeys(given_names))


def _read_checks(events: Iterable[dg.DagsterEvent]) -> list[CheckResult]:
    evaluations = [
        event.asset_check_evaluation_data
        for event in events
        if event.event_type == Happened.ASSET_CHECK_EVALUATION
    ]
    latest = {
        (data.asset_key, data.check_name): data
        for data in evaluations
        if data.passed or EVALUATED_BY_LOAD not in data.metadata
    }
    return [
        CheckResult(
            asset=asset_check_evaluation.asset_key.to_user_string(),
            name=asset_check_evaluation.check_name,
            passed=asset_check_evaluation.passed,
            severity="error"
            if asset_check_evaluation.severity == dg.AssetCheckSeverity.ERROR
            else "warning",
            said=_describe_check(asset_check_evaluation),
        )
        for asset_check_evaluation in latest.values()
    ]


def _describe_check(check: dg.AssetCheckEvaluation) -> str:
    """Return the report of a check; a description that sums up its metadata is not repeated."""
    is_summary = "outcome" in check.metadata
    return (None if is_summary else check.description) or _format_metadata(check.metadata)


def _format_metadata(metadata: Mapping[str, dg.MetadataValue[Any]]) -> str:
    plain = {
        name: read_time(value).isoformat()
        if isinstance(value, dg.TimestampMetadataValue)
        else str(value.value)
        for name, value in metadata.items()
        if isinstance(value, SHOWN_KINDS)
    }
    return ", ".join(f"{name}: {text}" for name, text in plain.items() if len(text) <= SHOWN_LENGTH)


def _read_notices(events: Iterable[dg.DagsterEvent]) -> list[Notice]:
    notices = []
    for event in events:
        if event.event_type == Happened.ASSET_MATERIALIZATION:
            metadata = event.step_materialization_data.materialization.metadata
        elif event.event_type == Happened.ASSET_OBSERVATION:
            metadata = event.asset_observation_data.asset_observation.metadata
        else:
            continue
        if "notice" in metadata:
            kind = str(metadata["notice_kind"].value) if "notice_kind" in metadata else "notice"
            unit = Unit(read_asset(event), event.partition or "")
            notices.append(Notice(kind, str(metadata["notice"].value), unit))
    return notices


def describe_error(events: Sequence[dg.DagsterEvent]) -> str:
    """Return the errors of the failed steps; of a run that none failed in, Dagster's reason."""
    steps = [event for event in events if event.event_type == Happened.STEP_FAILURE]
    if steps:
        return "\n".join(f"{event.step_key}: {describe_failure(event)}" for event in steps)
    failures = [event for event in events if event.event_type == Happened.RUN_FAILURE]
    messages = [event.message or "" for event in failures]
    causes = [
        event.job_failure_data.error.message.strip()
        for event in failures
        if event.event_specific_data and event.job_failure_data.error
    ]
    return "\n".join([*messages, *causes]) or "Dagster gives no reason; see the run's events"


def describe_failure(event: dg.DagsterEvent) -> str:
    """Return an op's own description of its failure, or what its error says."""
    failure = event.step_failure_data
    if failure.user_failure_data and failure.user_failure_data.description:
        return failure.user_failure_data.description
    return extract_message(failure.error) if failure.error else str(event.message)


def extract_message(error: SerializableErrorInfo) -> str:
    """Return the message of an error: the first of ours in it, else the one at the bottom."""
    while error.cause is not None and not is_ours(str(error.cls_name).rpartition(".")[2]):
        error = error.cause
    return error.message.strip()
