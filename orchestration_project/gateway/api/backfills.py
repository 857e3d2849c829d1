"""Backfills: many partitions of a job asked for at once, followed, ended."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from orchestration_project.connections.clock import Clock
from orchestration_project.domains.api.models import Asked, Backfill
from orchestration_project.domains.operations.pipelines import between
from orchestration_project.gateway.api.admission import admit
from orchestration_project.gateway.api.dagster import result
from orchestration_project.gateway.api.jobs import Job, find_job, tag_list
from orchestration_project.gateway.api.once import IDEMPOTENCY_HEADER, Before, once
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError
from orchestration_project.gateway.api.runs import Name, moment
from orchestration_project.gateway.api.services import Services

MOST_PARTITIONS = 5000
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
      id status title numPartitions timestamp endTimestamp partitionNames error { message } }
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
    dry_run: bool = Field(False, description="Dry run: list the partitions only")


class BackfillId(Parameters):
    """Backfill to show."""

    backfill_id: Name = Field(description="The id of a backfill")


async def launch_backfill(call: Call[Parameters, NewBackfill]) -> Asked:
    """Ask for the partitions of a job between two days; Dagster's daemon launches their runs."""
    return await once(
        call,
        ["backfill", call.body.model_dump(mode="json")],
        lambda marks: _asked(call, marks),
        lambda before: _launched_before(call, before),
    )


async def _asked(call: Call[Parameters, NewBackfill], marks: Mapping[str, str]) -> Asked:
    wanted = call.body
    job = await find_job(call, wanted.job)
    keys = await _keys(call, job, wanted)
    if wanted.dry_run or not keys:
        return Asked(backfill_id=None, job=job.name, partitions=keys, is_repeated=False)
    return await _launched(call, job, keys, marks)


async def _launched(
    call: Call[Any, Any], job: Job, keys: list[str], marks: Mapping[str, str]
) -> Asked:
    await admit(call)
    params = {
        "selector": job.partition_set,
        "partitionNames": keys,
        "tags": tag_list({"user": call.caller.name, **marks}),
        "title": f"{job.name}: {len(keys)} partitions",
    }
    data = await call.dagster(LAUNCH, params=params)
    found = result(data, "launchPartitionBackfill", "LaunchBackfillSuccess")
    return Asked(backfill_id=found["backfillId"], job=job.name, partitions=keys, is_repeated=False)


async def _launched_before(call: Call[Any, Any], before: Before) -> Asked:
    if before.backfill_id is None:
        raise AssertionError("the same was asked for, so it is a backfill")
    found = await _found(call, before.backfill_id)
    keys: list[str] = found["partitionNames"] or []
    return Asked(
        backfill_id=found["id"],
        job=call.body.job,
        partitions=sorted(keys),
        is_repeated=True,
    )


async def _keys(call: Call[Any, Any], job: Job, wanted: NewBackfill) -> list[str]:
    if not job.keys or not job.assets:
        raise ProblemError(422, f"the job {job.name} has no partitions")
    if wanted.first > wanted.last:
        raise ProblemError(422, "the first day is after the last")
    keys = between(job.keys, wanted.first, wanted.last, wanted.part)
    if not keys:
        part = f" of {wanted.part}" if wanted.part else ""
        raise ProblemError(
            422,
            f"invalid range: {job.name} has no partition{part} from {wanted.first} to "
            f"{wanted.last}",
            expected=f"some of {len(job.keys)} partitions, {job.keys[0]} to {job.keys[-1]}",
        )
    if wanted.only_missing:
        missing = await call.services.in_thread(_missing, call.services, job, keys)
        keys = [key for key in keys if key in missing]
    if len(keys) > MOST_PARTITIONS:
        raise ProblemError(
            422, f"{len(keys)} partitions at once", expected=f"at most {MOST_PARTITIONS}"
        )
    return keys


def _missing(services: Services, job: Job, keys: Sequence[str]) -> set[str]:
    """Return the partitions that an asset of the job lacks, or that are not fully loaded."""
    made = [
        set(services.instance.get_materialized_partitions(dg.AssetKey(list(each))))
        for each in job.assets
    ]
    missing = set(keys) - set.intersection(*made)
    registered = services.registry().jobs.get(job.name)
    if registered is not None and registered.missing is not None:
        now = Clock(
            services.settings.demo_clock_now
        ).now()  # that of the data, which a demo may set
        missing.update(registered.missing(services.settings, services.warehouse, now, keys))
    return missing


async def backfill_status(call: Call[BackfillId, Body]) -> Backfill:
    """Return how a backfill is."""
    found = await _found(call, call.query.backfill_id)
    keys: list[str] = found["partitionNames"] or []
    return Backfill(
        backfill_id=found["id"],
        status=found["status"],
        title=found["title"],
        created_at=datetime.fromtimestamp(found["timestamp"], UTC),
        ended_at=moment(found["endTimestamp"]),
        partition_count=found["numPartitions"],
        partitions=sorted(keys)[:MOST_PARTITIONS],
        error=found["error"]["message"] if found["error"] else None,
    )


async def _found(call: Call[Any, Any], backfill_id: str) -> Mapping[str, Any]:
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
