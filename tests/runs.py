"""Results of a run in the process of the test."""

import base64
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from sqlalchemy import Engine
from sqlalchemy.event import listens_for, remove

from orchestration_project.engine.contracts.job_kinds import JobKind
from orchestration_project.engine.dagster_private.definitions import build_job_parts
from tests.expecting import expect_present
from tools.reference_pages.metadata_keys import key_named


def set_worker_health(
    monkeypatch: pytest.MonkeyPatch, instance: dg.DagsterInstance, health: WorkerStatus | None
) -> None:
    """Have the launcher find each worker in this state; None: it cannot find out."""
    launcher, answer = (
        type(instance.run_launcher),
        CheckRunHealthResult(health or WorkerStatus.UNKNOWN),
    )
    monkeypatch.setattr(launcher, "supports_check_run_worker_health", health is not None)
    monkeypatch.setattr(launcher, "check_run_worker_health", lambda *_: answer)


def expect_failure(result: dg.ExecuteInProcessResult | dg.JobExecutionResult, op: str) -> str:
    """Return what a failed op says."""
    failure = result.failure_data_for_node(op)
    assert failure
    assert failure.user_failure_data
    return str(failure.user_failure_data.description)


OF_TESTS = {"key"}
"""Keys of assets that tests define."""


def metadata_by_partition(
    result: dg.ExecuteInProcessResult,
) -> Mapping[str, Mapping[str | None, dict[str, Any]]]:
    """Return the metadata of each materialization, by asset and partition."""
    by_asset: dict[str, dict[str | None, dict[str, Any]]] = defaultdict(dict)
    for evaluation in result.get_asset_check_evaluations():
        check_declared(evaluation.metadata)
    for event in result.get_asset_materialization_events():
        asset_key = expect_present(event.asset_key)
        metadata = event.step_materialization_data.materialization.metadata
        by_asset[asset_key.path[-1]][event.partition] = {
            label: value.value for label, value in check_declared(metadata).items()
        }
    return by_asset


def check_declared(
    metadata: Mapping[str, dg.MetadataValue[Any]],
) -> Mapping[str, dg.MetadataValue[Any]]:
    """Return metadata of which every key is declared with its meaning."""
    unknown = [name for name in metadata if key_named(name) is None and name not in OF_TESTS]
    assert unknown == []
    return metadata


def observed_by(
    result: dg.ExecuteInProcessResult,
) -> Mapping[str, Mapping[str | None, dict[str, Any]]]:
    """Return the metadata of each observation, by asset and partition."""
    found: dict[str, dict[str | None, dict[str, Any]]] = defaultdict(dict)
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.ASSET_OBSERVATION:
            observation = event.asset_observation_data.asset_observation
            found[observation.asset_key.path[-1]][observation.partition] = {
                label: value.value for label, value in check_declared(observation.metadata).items()
            }
    return found


def texts_of(image: str) -> list[str]:
    """Return the texts of an SVG that stands in metadata as an image in Markdown."""
    svg = base64.b64decode(image.rpartition(",")[2].removesuffix(")"))
    found = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")  # noqa: S314 - ours
    return [str(line.text) for line in found]


def executed(
    instance: dg.DagsterInstance,
    job: str,
    *,
    module: str = "orchestration_project.definitions",
    again: dg.ReexecutionOptions | None = None,
    tags: Mapping[str, str] | None = None,
    assets: Sequence[dg.AssetKey] | None = None,
    **config: Any,
) -> dg.JobExecutionResult:
    """Run a job of a module's ``defs`` as Dagster's own processes do: it knows its repository."""
    target = ReconstructableRepository.for_module(module, "defs").get_reconstructable_job(job)
    return dg.execute_job(
        target, instance, config, tags=tags, reexecution_options=again, asset_selection=assets
    )


def part_of_daily(domain: str, *parts: dg.AssetKey | dg.AssetCheckKey) -> dg.JobDefinition:
    """Return the daily job of a domain with these assets and checks alone."""
    from orchestration_project.definitions import defs

    return defs.resolve_job_def(f"{domain}_daily").get_subset(
        asset_selection={part for part in parts if isinstance(part, dg.AssetKey)},
        asset_check_selection={part for part in parts if isinstance(part, dg.AssetCheckKey)},
    )


def run_kind(
    job: dg.JobDefinition,
    kind: JobKind,
    resources: Mapping[str, Any],
    instance: dg.DagsterInstance | None = None,
    **options: Any,
) -> dg.ExecuteInProcessResult:
    """Run a kind of a job with these of its resources."""
    others = dict.fromkeys(build_job_parts(job).resources, "unused")
    config = kind.run_config(options)
    return job.execute_in_process(config, instance, resources={**others, **resources})


def op_metadata(result: dg.JobExecutionResult) -> dict[str, Any]:
    """Return the metadata of the one output of a job."""
    [output] = [event for event in result.all_events if event.is_successful_output]
    found = check_declared(output.step_output_data.metadata)
    return {name: value.value for name, value in found.items()}


@contextmanager
def lost_reports() -> Iterator[None]:
    """Let Dagster learn of no materialization, as of a process that is killed before."""

    @listens_for(Engine, "before_cursor_execute")
    def execute(_, __, statement, parameters, *___):
        is_event = statement.startswith("INSERT INTO event_logs")
        if is_event and "ASSET_MATERIALIZATION'" in str(parameters):
            raise ConnectionAbortedError

    try:
        yield
    finally:
        remove(Engine, "before_cursor_execute", execute)
