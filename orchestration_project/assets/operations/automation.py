"""Schedules and sensors of a profile, switched together, whether or not the UI is up."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.kinds import Kind
from orchestration_project.engine.contracts.automation import (
    PROFILE,
    Automation,
    select_automations,
)
from orchestration_project.engine.contracts.roles import needs_admin
from orchestration_project.engine.dagster_private.automation import (
    AnyAutomation,
    RepositoryOrigin,
    is_switched_on,
    switch_automation,
)
from orchestration_project.engine.options import JobOptions, report_dry_run
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.metadata import build_table

FindOrigin: TypeAlias = Callable[[str], RepositoryOrigin]
"""Returns the origin of the code location of a schedule or sensor, by its name."""


def list_automations(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    find_origin: FindOrigin | None = None,
) -> Sequence[Automation]:
    """Return all schedules and sensors of a repository, and whether each is on.

    With ``find_origin``, those that were switched in another code location are as declared.
    """
    return [
        Automation(
            definition.name,
            "schedule" if isinstance(definition, dg.ScheduleDefinition) else "sensor",
            _read_profile(definition),
            is_switched_on(instance, definition, find_origin and find_origin(definition.name)),
        )
        for definition in _list_definitions(repository)
    ]


def list_admin_only(repository: dg.RepositoryDefinition) -> set[str]:
    """Return the schedules and sensors whose jobs only an admin may launch."""
    jobs = {job.name for job in repository.get_all_jobs() if _is_for_admins(repository, job)}
    return {
        definition.name
        for definition in _list_definitions(repository)
        if jobs & set(_list_jobs(definition))
    }


def _is_for_admins(repository: dg.RepositoryDefinition, job: dg.JobDefinition) -> bool:
    """Return whether only an admin may launch a job, or a kind of it."""
    assets, keys = repository.asset_graph, job.asset_layer.executable_asset_keys
    tags = [*(assets.get(key).tags for key in keys), *(node.definition.tags for node in job.nodes)]
    return any(map(needs_admin, tags))


def _list_jobs(each: AnyAutomation) -> Sequence[str]:
    if isinstance(each, dg.ScheduleDefinition):
        return [each.job_name]
    return [target.job_name for target in each.targets]


def switch(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    find_origin: FindOrigin,
    profile: str,
    *,
    on: bool,
    is_dry_run: bool,
    left_out: Collection[str] = (),
) -> Sequence[Automation]:
    """Switch the schedules and sensors of a profile; return those that were the other way.

    Args:
        instance: Where they are switched.
        repository: Has them.
        find_origin: Where each is defined.
        profile: Their profile.
        on: Whether they are switched on.
        is_dry_run: Only return them.
        left_out: Names of those that stay as they are.

    Raises:
        ConfigurationError: The code location lacks the profile.
    """
    of_profile = select_automations(list_automations(instance, repository, find_origin), profile)
    changed = [
        automation
        for automation in of_profile
        if automation.is_on != on and automation.name not in left_out
    ]
    if not is_dry_run:
        values = {definition.name: definition for definition in _list_definitions(repository)}
        for automation in changed:
            switch_automation(
                instance, values[automation.name], find_origin(automation.name), on=on
            )
    return changed


def _list_definitions(repository: dg.RepositoryDefinition) -> Sequence[AnyAutomation]:
    return sorted([*repository.schedule_defs, *repository.sensor_defs], key=lambda each: each.name)


def _read_profile(each: AnyAutomation) -> str:
    return str(each.metadata[PROFILE].value) if PROFILE in each.metadata else ""


COLUMNS = ("name", "kind", "profile")


class SwitchAutomation(JobOptions):
    """Profile to switch."""

    profile: str = Field(
        examples=["weekly-finra"],
        description="Profile, as `orchestrate automation list` shows it, such as prices or sync; "
        "demo: everything.",
    )
    switch_on: bool = Field(default=True, description="Switch on; false switches off.")
    dry_run: bool = Field(
        default=True, description="Dry run: only list what would be switched; false switches it."
    )


def switch_profile(context: dg.OpExecutionContext, config: SwitchAutomation) -> None:
    """Switch the schedules and sensors of a profile, and list those that changed.

    Operators may launch this: what launches a job that only admins may launch stays as it is.
    """
    reported = report_dry_run(context.log, "nothing is switched", is_dry_run=config.dry_run)
    stored = context.instance.get_run_by_id(context.run.run_id)
    if stored is None or stored.remote_job_origin is None:
        raise ConfigurationError(
            "this run has no code location",
            expected="a run that Dagster's UI, daemon or `dagster job execute` launched",
            remedy="launch the job there, or use `orchestrate automation`",
        )
    origin = stored.remote_job_origin.repository_origin
    of_profile = select_automations(
        list_automations(context.instance, context.repository_def), config.profile
    )
    left_out = list_admin_only(context.repository_def) & {
        automation.name for automation in of_profile
    }
    changed = switch(
        context.instance,
        context.repository_def,
        lambda _: origin,
        config.profile,
        on=config.switch_on,
        is_dry_run=config.dry_run,
        left_out=left_out,
    )
    rows = [{name: getattr(automation, name) for name in COLUMNS} for automation in changed]
    context.add_output_metadata(
        {
            **reported,
            "switched": "on" if config.switch_on else "off",
            "changed_count": len(changed),
            "left_to_admins": ", ".join(sorted(left_out)),
            "changed": build_table(pl.DataFrame(rows, dict.fromkeys(COLUMNS, pl.String))),
        }
    )


SWITCH_AUTOMATION = Kind(
    "switch_automation",
    "Switches the schedules and sensors of a profile on or off; a dry run by default.",
    SwitchAutomation,
    switch_profile,
)
