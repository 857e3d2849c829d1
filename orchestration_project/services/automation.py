"""Schedules and sensors, switched on and off by profile, whether or not the UI is up."""

from collections.abc import Sequence

import dagster as dg

from orchestration_project.domains.operations.automation import PROFILE, Automation, chosen
from orchestration_project.engine.dagster_private import (
    AnyAutomation,
    RepositoryOrigin,
    is_switched_on,
    switch_automation,
)


def automations(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition
) -> Sequence[Automation]:
    """Return all schedules and sensors of a code location, and whether each is on."""
    return [
        Automation(
            each.name,
            "schedule" if isinstance(each, dg.ScheduleDefinition) else "sensor",
            _profile(each),
            is_switched_on(instance, each),
        )
        for each in _definitions(repository)
    ]


def switch(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    origin: RepositoryOrigin,
    profile: str,
    *,
    on: bool,
    is_dry_run: bool,
) -> Sequence[Automation]:
    """Switch the schedules and sensors of a profile; return those that were the other way.

    Raises:
        ConfigurationError: The code location lacks the profile.
    """
    of_profile = chosen(automations(instance, repository), profile)
    changed = [each for each in of_profile if each.is_on != on]
    if not is_dry_run:
        known = {each.name: each for each in _definitions(repository)}
        for each in changed:
            switch_automation(instance, known[each.name], origin, on=on)
    return changed


def _definitions(repository: dg.RepositoryDefinition) -> Sequence[AnyAutomation]:
    return sorted([*repository.schedule_defs, *repository.sensor_defs], key=lambda each: each.name)


def _profile(each: AnyAutomation) -> str:
    return str(each.metadata[PROFILE].value) if PROFILE in each.metadata else ""
