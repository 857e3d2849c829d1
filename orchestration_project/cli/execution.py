"""Running a job in this process, for the commands that load and derive."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository

from orchestration_project.instance.launcher import own_run_tags
from orchestration_project.settings import PROJECT_ROOT

DEFINITIONS = "orchestration_project.definitions"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def execute(
    instance: dg.DagsterInstance,
    job: str,
    *,
    between: tuple[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> dg.JobExecutionResult:
    """Run a job, over the partitions from the first to the last of ``between`` if it has any."""
    marks = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    return dg.execute_job(
        _repository().get_reconstructable_job(job),
        instance,
        run_config={**QUIET, **(config or {})},
        tags=own_run_tags() | dict(zip(marks, between or (), strict=False)),
    )


def repository() -> dg.RepositoryDefinition:
    """Return all that there is to run."""
    return _repository().get_definition()


def _repository() -> ReconstructableRepository:
    return ReconstructableRepository.for_module(DEFINITIONS, "defs", str(PROJECT_ROOT))
