"""Runs as the Dagster UI finds them: each names its code location, its domain and who launched it.

Dagster lists the runs of a job by the job's code location. A process that executes a job itself,
as `dagster job execute` does, names none, so its runs were missing on the job's pages.
"""

from typing import Any

from dagster import DagsterRun
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.storage.runs.base import RunStorage
from dagster._core.storage.tags import (
    BACKFILL_ID_TAG,
    MAX_RETRIES_TAG,
    SCHEDULE_NAME_TAG,
    SENSOR_NAME_TAG,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from orchestration_project.domains.operations.ledger import LAUNCHED_BY
from orchestration_project.settings import PROJECT_ROOT

DEFINITIONS = "orchestration_project.definitions"
"""The module, and the name of the code location that has it."""

LAUNCHERS = {BACKFILL_ID_TAG: "backfill", SCHEDULE_NAME_TAG: "schedule", SENSOR_NAME_TAG: "sensor"}
"""Trigger of a run, by Dagster's tag."""

BY_CLI = "cli"
"""Trigger of a run that its own process executes."""


class VisibleRuns(RunStorage[Any]):
    """Put before a storage of runs."""

    def add_run(self, dagster_run: DagsterRun) -> DagsterRun:
        """Store a run with its origin and with the tags `launched_by` and `domain`."""
        return super().add_run(visible(dagster_run))


def visible(run: DagsterRun) -> DagsterRun:
    """Return ``run`` as it is stored.

    A run that its own process executes gets an origin. Dagster must not launch it again when it
    fails, as it does with runs of an origin, so it gets no retries. Re-executed by Dagster it is
    one of Dagster's runs: neither tag is of it then.
    """
    given = dict(run.tags)
    if run.parent_run_id and run.remote_job_origin and given.get(LAUNCHED_BY) == BY_CLI:
        given = {name: given[name] for name in given.keys() - {LAUNCHED_BY, MAX_RETRIES_TAG}}
    tags = {LAUNCHED_BY: _launcher(run), **_domain(run), **given}
    if run.remote_job_origin is None and _is_of_location(run):
        run = run._replace(remote_job_origin=RemoteJobOrigin(repository_origin(), run.job_name))
        tags.setdefault(MAX_RETRIES_TAG, "0")
    return run._replace(tags=tags)


def _launcher(run: DagsterRun) -> str:
    if run.remote_job_origin is None:
        return BY_CLI
    return next((name for tag, name in LAUNCHERS.items() if tag in run.tags), "ui")


def _domain(run: DagsterRun) -> dict[str, str]:
    """Return the domain that all selected assets of a run have in common: their first key part."""
    found = {key.path[0] for key in run.asset_selection or () if len(key.path) > 1}
    return {"domain": found.pop()} if len(found) == 1 else {}


def _is_of_location(run: DagsterRun) -> bool:
    origin = run.job_code_origin
    return origin is not None and getattr(origin.get_repo_pointer(), "module", None) == DEFINITIONS


def repository_origin() -> RemoteRepositoryOrigin:
    """Return where the code location's definitions come from, as `workspace.yaml` names it."""
    target = LoadableTargetOrigin(module_name=DEFINITIONS, working_directory=str(PROJECT_ROOT))
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=DEFINITIONS)
    return RemoteRepositoryOrigin(location, "__repository__")
