"""Jobs as Dagster knows them: where they are, their partitions, and how they are launched."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from orchestration_project.engine.contracts.api.runs import Launched
from orchestration_project.engine.contracts.edits import EditConflictError
from orchestration_project.engine.contracts.job_kinds import describe_former_job, require_kind
from orchestration_project.engine.contracts.partition_tags import PARTITION_TAGS
from orchestration_project.engine.contracts.pipelines import KnownPartitions, propose_key
from orchestration_project.engine.loads import build_known_partitions
from orchestration_project.engine.run_statuses import ACTIVE_STATUSES
from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.gateway.api.admission import admit
from orchestration_project.gateway.api.dagster import result
from orchestration_project.gateway.api.once import Before, leased, once
from orchestration_project.gateway.api.operation import Call
from orchestration_project.gateway.api.problems import ProblemError, not_found, problem_of
from orchestration_project.gateway.request import launch_tags
from orchestration_project.registry import Registry
from orchestration_project.services.ledger.rules.entries import LAUNCHED_BY

WHERE = """{ repositoriesOrError { __typename
  ... on RepositoryConnection { nodes { name location { name } jobs { name } } }
  ... on Error { message } } }"""

ABOUT = """query ($job: PipelineSelector!, $key: String!) {
  pipelineOrError(params: $job) { __typename
    ... on Pipeline {
      partitionKeysOrError { __typename ... on PartitionKeys { partitionKeys } }
      partition(partitionName: $key) {
        tagsOrError { __typename ... on PartitionTags { results { key value } } } } }
    ... on Error { message } }
  assetNodes(pipeline: $job) { assetKey { path } isPartitioned } }"""

LAUNCH = """mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) { __typename
    ... on LaunchRunSuccess { run { runId status } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { className }
    ... on Error { message } } }"""


REPOSITORY = ("repositoryName", "repositoryLocationName")
PARTITION_SET_SUFFIX = "_partition_set"
"""Suffix that Dagster appends to a job's name for its partition set."""


@dataclass(frozen=True)
class Job:
    """A job, where it is defined, and what partitions it has.

    Attributes:
        keys: The keys of its partitions; empty where it has none.
        assets: The partitioned assets that it makes, as paths.
        tags: Of a run of the partition that was asked about.
    """

    selector: Mapping[str, str]
    keys: tuple[str, ...]
    assets: tuple[tuple[str, ...], ...]
    tags: Mapping[str, str]

    @property
    def name(self) -> str:
        """Name of the job."""
        return self.selector["pipelineName"]

    @property
    def partition_set(self) -> Mapping[str, Any]:
        """The selector of its partitions, by which Dagster backfills the job and not its assets."""
        repository = {name: self.selector[name] for name in REPOSITORY}
        return {
            "partitionSetName": f"{self.name}{PARTITION_SET_SUFFIX}",
            "repositorySelector": repository,
        }

    def known(self, registry: Registry) -> KnownPartitions:
        """Return its partitions; without a calendar if no domain of the registry defines it."""
        partitions_definitions = [
            registry.partitions[path] for path in self.assets if path in registry.partitions
        ]
        definition = partitions_definitions[0] if partitions_definitions else None
        return build_known_partitions(
            self.name, definition, self.keys, registry.first_setting(self.name)
        )


@dataclass(frozen=True)
class Launch:
    """Job to run, with partition and config.

    Attributes:
        check: Raises an error if the job would refuse its config; it runs in a thread.
        is_edit: Whether it is refused until an earlier run of the job has ended.
    """

    job: str
    partition: str | None = None
    config: Mapping[str, Any] | None = None
    tags: Mapping[str, str] | None = None
    check: Callable[[], object] | None = None
    is_edit: bool = False


async def find_job(call: Call[Any, Any], name: str, partition: str | None = None) -> Job:
    """Return the job ``name``, with the tags of a run of its ``partition``.

    Raises:
        ProblemError: The job or partition does not exist.
    """
    where = await _fetch_places(call)
    if name not in where:
        raise ProblemError(
            404,
            f"job not found: {name!r}",
            expected=f"one of {', '.join(sorted(where))}",
            remedy=describe_former_job(name) or did_you_mean(name, where) or None,
        )
    data = await call.dagster(ABOUT, job=where[name], key=partition or "")
    values = result(data, "pipelineOrError", "Pipeline")
    keys = tuple(values["partitionKeysOrError"].get("partitionKeys", ()))
    assets = [each["assetKey"]["path"] for each in data["assetNodes"] if each["isPartitioned"]]
    job = Job(where[name], keys, tuple(map(tuple, assets)), _read_tags(values, partition))
    if partition is not None and partition not in job.keys:
        registry = await call.services.in_thread(call.services.registry)
        raise _build_partition_error(job.known(registry), partition)
    return job


async def _fetch_places(call: Call[Any, Any]) -> dict[str, dict[str, str]]:
    """Return where each job is defined; Dagster's own, which begin with two bars, are left out."""
    data = await call.dagster(WHERE)
    nodes = result(data, "repositoriesOrError", "RepositoryConnection")["nodes"]
    return {
        job["name"]: {
            "pipelineName": job["name"],
            "repositoryName": node["name"],
            "repositoryLocationName": node["location"]["name"],
        }
        for node in nodes
        for job in node["jobs"]
        if not job["name"].startswith("__")
    }


def _read_tags(found: Mapping[str, Any], partition: str | None) -> dict[str, str]:
    if partition is None or not found["partition"]:
        return {}
    results = found["partition"]["tagsOrError"].get("results", ())
    return {each["key"]: each["value"] for each in results}


def _build_partition_error(known: KnownPartitions, partition: str) -> ProblemError:
    if not known.keys:
        return ProblemError(422, f"the job {known.name} has no partitions")
    return ProblemError(
        422,
        f"the job {known.name} has no partition {partition!r}",
        expected=f"one of {len(known.keys)}, {known.keys[0]} to {known.keys[-1]}",
        remedy=f"did you mean {propose_key(partition, known)}?",
    )


async def launch(call: Call[Any, Any], wanted: Launch) -> Launched:
    """Launch a run, or return the one that the same request launched before.

    Raises:
        ProblemError: It cannot be launched, or its key belongs to another request.
    """
    entries = [wanted.job, wanted.partition, wanted.config, wanted.tags]

    async def make(marks: Mapping[str, str]) -> Launched:
        if not wanted.is_edit:
            return await _launch(call, wanted, marks)
        async with leased(call.services, f"edit/{wanted.job}"):
            await call.services.in_thread(_refuse_second_edit, call.services.instance, wanted.job)
            return await _launch(call, wanted, marks)

    return await once(call, entries, make, launched_before)


def _refuse_second_edit(instance: dg.DagsterInstance, job: str) -> None:
    filters = dg.RunsFilter(job_name=job, statuses=ACTIVE_STATUSES)
    if records := instance.get_run_records(filters, limit=1):
        run_id = records[0].dagster_run.run_id
        raise ProblemError(
            409,
            f"another edit of {job} has not ended: run {run_id}",
            run_id=run_id,
            remedy="wait for that run or cancel it, read the present version, and edit again",
        )


async def _check(call: Call[Any, Any], wanted: Launch) -> None:
    try:
        require_kind(wanted.job, wanted.config or {})
        if wanted.check is not None:
            await call.services.in_thread(wanted.check)
    except EditConflictError as error:
        raise problem_of(error, 409) from error
    except ConfigurationError as error:
        raise problem_of(error, 422) from error


async def launched_before(before: Before) -> Launched:
    """Return a run that the same request launched before."""
    run = before.run
    if run is None:
        raise AssertionError("the same was asked for, so it is a run")
    return Launched(run_id=run.run_id, job=run.job_name, status=run.status.value, is_repeated=True)


async def _launch(call: Call[Any, Any], wanted: Launch, marks: Mapping[str, str]) -> Launched:
    job = await find_job(call, wanted.job, wanted.partition)
    await _check(call, wanted)
    tags = {**(wanted.tags or {}), **job.tags}
    if job.keys and tags.keys().isdisjoint(PARTITION_TAGS):
        raise ProblemError(
            422,
            f"a run of {job.name} needs a partition",
            expected=f"one of {len(job.keys)}, {job.keys[0]} to {job.keys[-1]}",
        )
    await admit(call)
    selector = {
        ("jobName" if name == "pipelineName" else name): value
        for name, value in job.selector.items()
    }
    params = {
        "selector": selector,
        "runConfigData": json.dumps(wanted.config or {}),
        "executionMetadata": {"tags": tag_list(tags)},
    }
    with launch_tags({LAUNCHED_BY: "api", **marks}):
        data = await call.dagster(LAUNCH, params=params)
    run = result(data, "launchRun", "LaunchRunSuccess")["run"]
    return Launched(run_id=run["runId"], job=job.name, status=run["status"], is_repeated=False)


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags as GraphQL takes them."""
    return [{"key": key, "value": value} for key, value in tags.items()]


def find_run(instance: dg.DagsterInstance, run_id: str) -> dg.RunRecord:
    """Return Dagster's record of a run.

    Raises:
        ProblemError: Dagster has none.
    """
    run_records = instance.get_run_records(dg.RunsFilter(run_ids=[run_id]), limit=1)
    if not run_records:
        raise not_found("run not found", run_id=run_id)
    return run_records[0]
