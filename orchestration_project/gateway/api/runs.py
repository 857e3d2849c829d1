"""Runs: launch, list, follow, retry, terminate."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import Field, StringConstraints

from orchestration_project.engine.contracts.api.runs import (
    Ending,
    FailedItems,
    RetryLaunched,
    Run,
    Runs,
    RunStatus,
    Step,
)
from orchestration_project.engine.contracts.job_kinds import RETRY_FAILURES
from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.admission import admit
from orchestration_project.gateway.api.dagster import result
from orchestration_project.gateway.api.jobs import (
    Launch,
    Launched,
    find_run,
    launch,
    launched_before,
)
from orchestration_project.gateway.api.once import IDEMPOTENCY_HEADER, once
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import (
    ProblemError,
    not_found,
    problem_of,
    require_known,
)
from orchestration_project.gateway.api.services import Services
from orchestration_project.gateway.request import launch_tags
from orchestration_project.services.ledger import Ledger
from orchestration_project.services.ledger.reading import read_facts
from orchestration_project.services.ledger.rules.entries import (
    LAUNCHED_BY,
    RESERVED_TAGS,
    LedgerEntry,
    find_partition,
    trigger_of,
)
from orchestration_project.services.presets import read_run_config
from orchestration_project.services.retries.retrying import ItemRetries
from orchestration_project.services.retries.rules import (
    ItemFilter,
    ItemRetryPlan,
    check_domain,
    check_kinds,
)
from orchestration_project.services.status import ItemTopics

MAX_PAGE_ENTRIES = 1000
"""Maximum number of entries of a page."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
TagName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]{0,62}$")]
TagValue = Annotated[str, StringConstraints(max_length=200)]

Status = Literal[
    "NOT_STARTED",
    "QUEUED",
    "STARTING",
    "STARTED",
    "CANCELING",
    "SUCCESS",
    "FAILURE",
    "CANCELED",
]


ASSETS_JOB = "__ASSET_JOB"
"""Dagster's name of the job of assets that are materialized without one."""

REEXECUTE = """mutation ($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) { __typename
    ... on LaunchRunSuccess { run { runId status jobName } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { className }
    ... on Error { message } } }"""

TERMINATE = """mutation ($run: String!) {
  terminateRun(runId: $run, terminatePolicy: SAFE_TERMINATE) { __typename
    ... on TerminateRunFailure { message }
    ... on Error { message } } }"""


class NewRun(Body):
    """Launch request: a job, or one partition of it, with a preset's config or its own."""

    job: Name = Field(description="Its name")
    partition: Name | None = Field(
        None, description="The key of a partition, such as T1|2025-01-06"
    )
    preset: Name | None = Field(None, description="A preset whose config this run gets")
    config: dict[str, Any] | None = Field(None, description="A run config, as the Launchpad takes")
    tags: dict[TagName, TagValue] = Field({}, max_length=20, description="Tags of the run")
    force: bool = Field(
        False,
        description="Continue although the preflight check finds a dependency that is not ready",
    )


class RunId(Parameters):
    """Run to show."""

    run_id: Name = Field(description="The id of a run")


class Wanted(Parameters):
    """Filter of runs, the latest first."""

    job: Name | None = Field(None, description="Job")
    status: list[Status] = Field([], description="Statuses")
    partition: Name | None = Field(None, description="Partition key")
    user: Name | None = Field(None, description="User who launched the run")
    since: Moment | None = Field(None, description="Only runs created after this time")
    until: Moment | None = Field(None, description="Only runs created before this time")
    limit: int = Field(50, ge=1, le=MAX_PAGE_ENTRIES, description="Maximum number of runs")
    cursor: Name | None = Field(None, description="`next_cursor` of the previous page")


class Retry(Body):
    """Parts of a run to retry."""

    what: Literal["from_failure", "failed_items", "all"] = Field(
        "from_failure",
        description="from_failure: the steps that failed and their dependents; failed_items: a "
        "backfill of the partitions that it quarantined or did not reach, and the work items whose "
        "latest attempt it made; all: every step",
    )
    kinds: list[Name] | None = Field(
        None,
        max_length=20,
        description=(
            "Failure categories, such as contract, for failed_items; default: those that are "
            "retryable"
        ),
    )
    dry_run: bool = Field(False, description="Dry run for failed_items: list them only")


class RetryItems(Body):
    """Failed partitions and work items of all runs to retry."""

    domain: Name | None = Field(None, description="Domain")
    since: Moment | None = Field(None, description="Only runs that ended after this time")
    kinds: list[Name] | None = Field(
        None,
        max_length=20,
        description="Failure categories of partitions; default: those that are retryable",
    )
    topics: list[Name] = Field(
        [],
        max_length=100,
        description="Only work items of these topics, such as webhooks/github, and no partitions",
    )
    item_keys: list[Name] = Field(
        [],
        max_length=100,
        description="Only work items with these keys, whatever their failure, and no partitions",
    )
    reason_codes: list[Name] = Field(
        [],
        max_length=100,
        description="Only work items that failed by these reasons, such as encrypted, permanent "
        "ones, too, and no partitions",
    )
    include_permanent: bool = Field(
        False,
        description="Retry also work items with a permanent failure, such as contract",
    )
    include_items: bool = Field(True, description="Retry also work items; false: only partitions")
    dry_run: bool = Field(False, description="Dry run: list partitions and work items only")


async def launch_run(call: Call[Parameters, NewRun]) -> Launched:
    """Launch a job, or one partition of it; the gate looks at what it depends on as it begins."""
    new_run = call.body
    return await launch(
        call,
        Launch(
            new_run.job,
            new_run.partition,
            _build_config(new_run),
            _check_tags(new_run.tags),
        ),
    )


def _check_tags(tags: Mapping[str, str]) -> Mapping[str, str]:
    intersection = sorted(RESERVED_TAGS.intersection(tags))
    if intersection:
        raise ProblemError(422, f"these tags are not a caller's: {', '.join(intersection)}")
    return tags


def _build_config(wanted: NewRun) -> dict[str, Any]:
    if wanted.preset is not None and wanted.config is not None:
        raise ProblemError(422, "give a preset or a config, not both")
    config = dict(wanted.config or {})
    if wanted.preset is not None:
        try:
            config = read_run_config(wanted.preset, wanted.job)
        except ConfigurationError as error:
            raise problem_of(error, 422) from error
    return _add_force(config) if wanted.force else config


def _add_force(config: dict[str, Any]) -> dict[str, Any]:
    resources = config.get("resources", {})
    if not isinstance(resources, dict):
        raise ProblemError(422, "invalid resources of the config: expected an object")
    return config | {"resources": resources | {"gate": {"config": {"force": True}}}}


async def list_runs(call: Call[Wanted, Body]) -> Runs:
    """List runs, the latest first."""
    run_records, following = await call.services.in_thread(page_of_runs, call.services, call.query)
    if not run_records and call.query.job is not None:
        await call.services.in_thread(_require_job, call.services, call.query.job)
    return Runs(runs=[run_of(record) for record in run_records], next_cursor=following)


def _require_job(services: Services, job: str) -> None:
    """Refuse a job that is not declared and has no runs."""
    if not services.instance.get_runs_count(dg.RunsFilter(job_name=job)):
        require_known("job", job, {*services.registry().jobs, ASSETS_JOB})


def page_of_runs(services: Services, wanted: Wanted) -> tuple[list[dg.RunRecord], str | None]:
    """Return a page of runs, and the cursor of the next."""
    tags = {"dagster/partition": wanted.partition, "user": wanted.user}
    filters = dg.RunsFilter(
        job_name=wanted.job,
        statuses=[dg.DagsterRunStatus(text) for text in wanted.status],
        tags={name: value for name, value in tags.items() if value is not None},
        created_after=wanted.since,
        created_before=wanted.until,
    )
    if wanted.cursor is not None:
        find_run(services.instance, wanted.cursor)
    run_records = services.instance.get_run_records(
        filters, limit=wanted.limit + 1, cursor=wanted.cursor
    )
    page = list(run_records[: wanted.limit])
    return page, page[-1].dagster_run.run_id if len(run_records) > wanted.limit else None


def moment(seconds: float | None) -> datetime | None:
    """Return a time of Dagster's, seconds since 1970."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def run_of(record: dg.RunRecord) -> Run:
    """Return a run as Dagster has it."""
    run = record.dagster_run
    kind, name = trigger_of(run.tags)
    started, ended = moment(record.start_time), moment(record.end_time)
    return Run(
        run_id=run.run_id,
        job=run.job_name,
        status=run.status.value,
        partition=find_partition(run.tags),
        created_at=record.create_timestamp,
        started_at=started,
        ended_at=ended,
        duration_seconds=(ended - started).total_seconds() if started and ended else None,
        trigger_kind=kind,
        trigger_name=name,
        user=run.tags.get("user"),
        retry_of=run.parent_run_id,
    )


async def run_status(call: Call[RunId, Body]) -> RunStatus:
    """Return how a run is, and its steps; of one that Dagster has deleted, what the ledger kept."""
    entry = await call.services.in_thread(entry_of_run, call.services, call.query.run_id)
    steps = [step_of(row) for row in entry.steps]
    return RunStatus(**_run_fields(entry.run), outcome=entry.outcome, steps=steps)


def entry_of_run(services: Services, run_id: str) -> LedgerEntry:
    """Return the ledger's entry of a run as of now, or the stored one of a run that Dagster lacks.

    Raises:
        ProblemError: Neither has it.
    """
    ledger = Ledger(services.warehouse, services.clock)
    records = services.instance.get_run_records(dg.RunsFilter(run_ids=[run_id]), limit=1)
    if records:
        entry = ledger.drawn_up([read_facts(services.instance, records[0])])[0]
        if entry.steps:
            return entry
        written = ledger.written([run_id]).get(run_id)
        return replace(entry, steps=written.steps) if written else entry
    entry = ledger.written([run_id]).get(run_id)
    if entry is None:
        raise not_found("run not found", run_id=run_id)
    return entry


def _run_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    same = (
        *("run_id", "job", "status", "created_at", "started_at", "ended_at", "duration_seconds"),
        *("trigger_kind", "trigger_name", "retry_of", "rows_in", "rows_rejected"),
        "error_category",
    )
    return {name: row[name] for name in same} | {
        "partition": row["partition_key"],
        "user": row["user_name"],
        "rows": row["rows_landed"],
        "bytes_in": row["byte_count"],
        "error": row["error_message"],
    }


def step_of(row: Mapping[str, Any]) -> Step:
    """Return a step as the ledger has it."""
    same = (
        *("status", "assets", "started_at", "ended_at", "duration_seconds"),
        *("rows_in", "rows_rejected", "quality_passed", "error_category"),
    )
    return Step(
        name=row["step_key"],
        attempts=row["attempt_count"],
        rows=row["rows_landed"],
        error=row["error_message"],
        **{name: row[name] for name in same},
    )


async def retry_run(call: Call[RunId, Retry]) -> Launched:
    """Try a run again: from its failure, all of it, or just the items that failed."""
    run_id = call.query.run_id
    record = await call.services.in_thread(find_run, call.services.instance, run_id)
    if call.body.what == "failed_items":
        config = {
            "run_id": run_id,
            "dry_run": call.body.dry_run,
            **_validate_kinds(call.body.kinds),
        }
        return await _retry_items(call, config)
    if call.body.kinds is not None or call.body.dry_run:
        raise ProblemError(422, "kinds and dry_run belong to failed_items")
    if not record.dagster_run.is_finished:
        raise ProblemError(409, "the run has not ended", run_id=run_id)
    if call.body.what == "from_failure" and record.dagster_run.is_success:
        raise ProblemError(409, "the run did not fail", run_id=run_id)
    names = ["retry", run_id, call.body.what]
    return await once(
        call, names, lambda marks: _launch_again(call, record.dagster_run, marks), launched_before
    )


async def _launch_again(
    call: Call[RunId, Retry], run: dg.DagsterRun, marks: Mapping[str, str]
) -> Launched:
    """Launch the run again; the marks of the first are not this one's."""
    await admit(call)
    strategies = {"from_failure": "FROM_FAILURE", "all": "ALL_STEPS"}
    params = {
        "parentRunId": run.run_id,
        "strategy": strategies[call.body.what],
    }
    with launch_tags({LAUNCHED_BY: "api", **marks}):
        data = await call.dagster(REEXECUTE, params=params)
    again = result(data, "launchRunReexecution", "LaunchRunSuccess")["run"]
    return Launched(
        run_id=again["runId"], job=again["jobName"], status=again["status"], is_repeated=False
    )


async def retry_failed_items(call: Call[Parameters, RetryItems]) -> RetryLaunched:
    """Retry failed partitions and work items of all runs: the run that is launched lists them."""
    retry_request = call.body
    config: dict[str, Any] = {
        "dry_run": retry_request.dry_run,
        **_validate_kinds(retry_request.kinds),
    }
    if retry_request.domain is not None:
        config["domain"] = retry_request.domain
    if retry_request.since is not None:
        config["since"] = retry_request.since.isoformat()
    for name in ("topics", "item_keys", "reason_codes", "include_permanent"):
        if value := getattr(retry_request, name):
            config[name] = value
    if not retry_request.include_items:
        config["include_items"] = False
    items = await call.services.in_thread(_find_failed_items, call.services, retry_request)
    launched = await _retry_items(call, config)
    return RetryLaunched(**launched.model_dump(), items=items)


def _find_failed_items(services: Services, wanted: RetryItems) -> FailedItems:
    """Return which work items a request retries, and which it leaves out.

    Raises:
        ProblemError: The domain or a topic is not known.
    """
    registry = services.registry()
    items = ItemRetries(services.warehouse, services.clock, registry)
    chosen = ItemFilter(**wanted.model_dump(exclude={"kinds", "dry_run", "include_items"}))
    try:
        if wanted.domain is not None:
            partitioned = {path[0] for path in registry.partitions}
            with_items = {
                domain.name for domain in registry.domains if domain.registered(ItemTopics)
            }
            check_domain(wanted.domain, partitioned | with_items)
        plan = items.plan(chosen) if wanted.include_items else ItemRetryPlan()
        return FailedItems.model_validate(plan, from_attributes=True)
    except ConfigurationError as error:
        raise problem_of(error, 422) from error


def _validate_kinds(kinds: Sequence[str] | None) -> dict[str, Any]:
    if kinds is None:
        return {}
    try:
        check_kinds(kinds)
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    return {"kinds": list(kinds)}


async def _retry_items(call: Call[Any, Any], config: Mapping[str, Any]) -> Launched:
    run_config = RETRY_FAILURES.run_config(config)
    return await launch(call, Launch(RETRY_FAILURES.job, config=run_config))


async def cancel_run(call: Call[RunId, Body]) -> Ending:
    """End a run: what loaded stays, and the step under way is interrupted."""
    run_id = call.query.run_id
    result(await call.dagster(TERMINATE, run=run_id), "terminateRun", "TerminateRunSuccess")
    record = await call.services.in_thread(find_run, call.services.instance, run_id)
    return Ending(run_id=run_id, status=record.dagster_run.status.value)


OPERATIONS = (
    Operation(
        "POST",
        "/runs",
        "operator",
        "Launch a run",
        launch_run,
        body=NewRun,
        answer=Launched,
        headers=IDEMPOTENCY_HEADER,
        status=202,
    ),
    Operation("GET", "/runs", "viewer", "List runs", list_runs, query=Wanted, answer=Runs),
    Operation(
        "POST",
        "/runs/retry-failed-items",
        "operator",
        "Retry failed partitions and work items of all runs",
        retry_failed_items,
        body=RetryItems,
        answer=RetryLaunched,
        headers=IDEMPOTENCY_HEADER,
        status=202,
    ),
    Operation(
        "GET",
        "/runs/{run_id}",
        "viewer",
        "Get a run and its steps",
        run_status,
        query=RunId,
        answer=RunStatus,
    ),
    Operation(
        "POST",
        "/runs/{run_id}/retry",
        "operator",
        "Retry a run",
        retry_run,
        query=RunId,
        body=Retry,
        answer=Launched,
        headers=IDEMPOTENCY_HEADER,
        status=202,
    ),
    Operation(
        "POST",
        "/runs/{run_id}/cancel",
        "operator",
        "End a run",
        cancel_run,
        query=RunId,
        answer=Ending,
        status=202,
    ),
)
