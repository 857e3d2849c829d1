"""Backfills: many partitions of a job asked for at once, followed, ended."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.api.models import Asked, Backfill
from orchestration_project.engine.contracts.pipelines import (
    LOADED_RANGE,
    REQUESTED_RANGE,
    DateRange,
    RangeSelection,
    select_range,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.admission import admit
from orchestration_project.gateway.api.dagster import result
from orchestration_project.gateway.api.jobs import Job, find_job
from orchestration_project.gateway.api.once import IDEMPOTENCY_HEADER, Before, once
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError
from orchestration_project.gateway.api.runs import Name, moment
from orchestration_project.gateway.api.services import Services
from orchestration_project.gateway.request import launch_tags
from orchestration_project.services.backfills import backfill_outcome

MAX_PARTITIONS = 5000
"""Maximum partitions of a backfill: more than thirty years of weeks of three tiers."""

LAUNCH = """mutation ($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) { __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on Error { message } } }"""

CANCEL = """mutation ($id: String!) {
  cancelPartitionBackfill(backfillId: $id) { __typename ... on Error { message } } }"""

STATUS = """query ($id: String!) {
  partitionBackfillOrError(backfillId: $id) { __typename
    ... on PartitionBackfill {
      id status title numPartitions timestamp endTimestamp partitionNames
      tags { key value } error { message } }
    ... on Error { message } } }"""


class NewBackfill(Body):
    """Partitions of a job."""

    job: Name = Field(description="Partitioned job")
    first: date = Field(alias="from", description="The first day, such as a week's Monday")
    last: date = Field(alias="to", description="The last day, included")
    part: Name | None = Field(
        None, description="Other part of the partition keys, such as T1; default: any"
    )
    only_missing: bool = Field(
        False,
        description=(
            "Only partitions with an asset that was never materialized, and months of prices with "
            "a wanted symbol that is not loaded"
        ),
    )
    clip: bool = Field(
        False,
        description="Load only the known partitions of a range that exceeds them; without it, such "
        "a range is refused",
    )
    dry_run: bool = Field(False, description="Dry run: list the partitions only")


class BackfillId(Parameters):
    """Backfill to show."""

    backfill_id: Name = Field(description="The id of a backfill")


async def launch_backfill(call: Call[Parameters, NewBackfill]) -> Asked:
    """Ask for the partitions of a job between two days; Dagster's daemon launches their runs."""
    return await once(
        call,
        ["backfill", call.body.model_dump(mode="json")],
        lambda marks: _request_backfill(call, marks),
        lambda before: _answer_repeated(call, before),
    )


async def _request_backfill(call: Call[Parameters, NewBackfill], marks: Mapping[str, str]) -> Asked:
    request = call.body
    job = await find_job(call, request.job)
    selection = await _select(call, job, request)
    backfill_id = None
    if selection.keys and not request.dry_run:
        backfill_id = await _launch_backfill(call, job, selection, marks)
    return Asked(
        backfill_id=backfill_id,
        job=job.name,
        partitions=list(selection.keys),
        requested_range=str(selection.requested),
        loaded_range=selection.loaded_range,
        notes=list(selection.notes),
        is_repeated=False,
    )


async def _launch_backfill(
    call: Call[Any, Any], job: Job, selection: RangeSelection, marks: Mapping[str, str]
) -> str:
    """Launch a backfill and return its id."""
    await admit(call)
    params = {
        "selector": job.partition_set,
        "partitionNames": list(selection.keys),
        "title": f"{job.name}: {len(selection.keys)} partitions",
    }
    with launch_tags({"user": call.caller.name, **selection.tags, **marks}):
        data = await call.dagster(LAUNCH, params=params)
    return result(data, "launchPartitionBackfill", "LaunchBackfillSuccess")["backfillId"]


async def _answer_repeated(call: Call[Any, Any], before: Before) -> Asked:
    if before.backfill_id is None:
        raise AssertionError("the same was asked for, so it is a backfill")
    values = await _fetch_backfill(call, before.backfill_id)
    keys: list[str] = values["partitionNames"] or []
    tags = {tag["key"]: tag["value"] for tag in values["tags"]}
    return Asked(
        backfill_id=values["id"],
        job=call.body.job,
        partitions=sorted(keys),
        requested_range=tags.get(REQUESTED_RANGE),
        loaded_range=tags.get(LOADED_RANGE),
        notes=[],
        is_repeated=True,
    )


async def _select(call: Call[Any, Any], job: Job, request: NewBackfill) -> RangeSelection:
    """Return the partitions of a request.

    Raises:
        ProblemError: The range is invalid, or exceeds the known partitions.
    """
    if not job.keys or not job.assets:
        raise ProblemError(422, f"the job {job.name} has no partitions")
    if request.first > request.last:
        raise ProblemError(422, "the first day is after the last")
    registry = await call.services.in_thread(call.services.registry)
    dates = DateRange(request.first, request.last, request.part)
    try:
        selection = select_range(job.known(registry), dates, clip=request.clip)
    except ConfigurationError as error:
        raise ProblemError(
            422,
            error.what,
            expected=error.expected or None,
            found=error.found or None,
            remedy=error.remedy or None,
        ) from error
    if request.only_missing:
        missing = await call.services.in_thread(_find_missing, call.services, job, selection.keys)
        keys = [key for key in selection.keys if key in missing]
        selection = replace(selection, keys=keys)
    if len(selection.keys) > MAX_PARTITIONS:
        raise ProblemError(
            422, f"{len(selection.keys)} partitions at once", expected=f"at most {MAX_PARTITIONS}"
        )
    return selection


def _find_missing(services: Services, job: Job, keys: Sequence[str]) -> set[str]:
    """Return the partitions that an asset of the job lacks, or that are not fully loaded."""
    entries = [
        set(services.instance.get_materialized_partitions(dg.AssetKey(list(asset))))
        for asset in job.assets
    ]
    missing = set(keys) - set.intersection(*entries)
    registered = services.registry().jobs.get(job.name)
    if registered is not None and registered.missing is not None:
        now = Clock(
            services.settings.demo_clock_now
        ).now()  # that of the data, which a demo may set
        missing.update(registered.missing(services.settings, services.warehouse, now, keys))
    return missing


async def backfill_status(call: Call[BackfillId, Body]) -> Backfill:
    """Return how a backfill is."""
    values = await _fetch_backfill(call, call.query.backfill_id)
    keys: list[str] = values["partitionNames"] or []
    outcome = None
    if values["endTimestamp"] is not None:
        outcome = await call.services.in_thread(
            backfill_outcome, call.services.instance, values["id"]
        )
    return Backfill(
        backfill_id=values["id"],
        status=values["status"],
        title=values["title"],
        created_at=datetime.fromtimestamp(values["timestamp"], UTC),
        ended_at=moment(values["endTimestamp"]),
        partition_count=values["numPartitions"],
        partitions=sorted(keys)[:MAX_PARTITIONS],
        error=values["error"]["message"] if values["error"] else None,
        outcome=outcome,
    )


async def _fetch_backfill(call: Call[Any, Any], backfill_id: str) -> Mapping[str, Any]:
    data = await call.dagster(STATUS, id=backfill_id)
    return result(data, "partitionBackfillOrError", "PartitionBackfill")


async def cancel_backfill(call: Call[BackfillId, Body]) -> Backfill:
    """End a backfill, and the runs that it launched."""
    await backfill_status(call)  # Dagster takes one that there is not for a defect
    data = await call.dagster(CANCEL, id=call.query.backfill_id)
    result(data, "cancelPartitionBackfill", "CancelBackfillSuccess")
    return await backfill_status(call)


OPERATIONS = (
    Operation(
        "POST",
        "/backfills",
        "operator",
        "Launch a backfill",
        launch_backfill,
        body=NewBackfill,
        answer=Asked,
        headers=IDEMPOTENCY_HEADER,
        status=202,
    ),
    Operation(
        "GET",
        "/backfills/{backfill_id}",
        "viewer",
        "Get a backfill",
        backfill_status,
        query=BackfillId,
        answer=Backfill,
    ),
    Operation(
        "POST",
        "/backfills/{backfill_id}/cancel",
        "operator",
        "End a backfill",
        cancel_backfill,
        query=BackfillId,
        answer=Backfill,
        status=202,
    ),
)
