"""Backfills: many partitions of a job asked for at once, followed, ended."""

from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from orchestration_project.domains.api.backfills import Asked, Backfill
from orchestration_project.domains.operations.pipelines import between
from orchestration_project.gateway.api.dagster import result
from orchestration_project.gateway.api.jobs import Job, find_job, tag_list
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError
from orchestration_project.gateway.api.runs import Name

MOST_PARTITIONS = 5000
"""Of a backfill: more than thirty years of weeks of three tiers."""

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
    """Which partitions of a job."""

    job: Name = Field(description="A job that has partitions")
    first: date = Field(alias="from", description="The first day, such as a week's Monday")
    last: date = Field(alias="to", description="The last day, included")
    part: Name | None = Field(None, description="Another part of their keys, such as T1; any")
    only_missing: bool = Field(
        False, description="Just those that were never made of all that the job makes"
    )
    dry_run: bool = Field(False, description="Say which, and launch nothing")


class BackfillId(Parameters):
    """Which backfill."""

    backfill_id: Name = Field(description="The id of a backfill")


async def launch_backfill(call: Call[Parameters, NewBackfill]) -> Asked:
    """Ask for the partitions of a job between two days; Dagster's daemon launches their runs."""
    wanted = call.body
    job = await find_job(call, wanted.job)
    keys = await _keys(call, job, wanted)
    if wanted.dry_run or not keys:
        return Asked(backfill_id=None, job=job.name, partitions=keys)
    params = {
        "assetSelection": [{"path": list(each)} for each in job.assets],
        "partitionNames": keys,
        "tags": tag_list({"user": call.caller.name}),
        "title": f"{job.name}: {len(keys)} partitions",
    }
    data = await call.dagster(LAUNCH, params=params)
    found = result(data, "launchPartitionBackfill", "LaunchBackfillSuccess")
    return Asked(backfill_id=found["backfillId"], job=job.name, partitions=keys)


async def _keys(call: Call[Any, Any], job: Job, wanted: NewBackfill) -> list[str]:
    if not job.keys or not job.assets:
        raise ProblemError(422, f"the job {job.name} has no partitions")
    if wanted.first > wanted.last:
        raise ProblemError(422, "the first day is after the last")
    keys = between(job.keys, wanted.first, wanted.last, wanted.part)
    if wanted.only_missing:
        made = await call.services.in_thread(_made, call.services.instance, job)
        keys = [key for key in keys if key not in made]
    if len(keys) > MOST_PARTITIONS:
        raise ProblemError(
            422, f"{len(keys)} partitions at once", expected=f"at most {MOST_PARTITIONS}"
        )
    return keys


def _made(instance: dg.DagsterInstance, job: Job) -> set[str]:
    """Return the partitions of which each of the job's assets was made."""
    made = [
        set(instance.get_materialized_partitions(dg.AssetKey(list(each)))) for each in job.assets
    ]
    return set.intersection(*made)


async def backfill_status(call: Call[BackfillId, Body]) -> Backfill:
    """Return how a backfill is."""
    data = await call.dagster(STATUS, id=call.query.backfill_id)
    found = result(data, "partitionBackfillOrError", "PartitionBackfill")
    return Backfill(
        backfill_id=found["id"],
        status=found["status"],
        title=found["title"],
        created_at=_time(found["timestamp"]),
        ended_at=_time(found["endTimestamp"]) if found["endTimestamp"] else None,
        partition_count=found["numPartitions"],
        partitions=(found["partitionNames"] or [])[:MOST_PARTITIONS],
        error=found["error"]["message"] if found["error"] else None,
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


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
        status=202,
    ),
    Operation(
        "GET",
        "/backfills/{backfill_id}",
        "viewer",
        "How a backfill is",
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
