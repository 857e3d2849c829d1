"""Automation: descriptions of schedules and sensors, and profiles that are switched together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestration_project.errors import (
    UnknownNameError,
    did_you_mean,
)

ALL = "demo"
"""The profile of everything in the code location: a demo asks no outside system."""

PROFILE = "profile"
"""Key in the metadata of a schedule or sensor: its profile."""


@dataclass(frozen=True)
class Automation:
    """A schedule or sensor, and whether it is on."""

    name: str
    kind: str
    profile: str
    is_on: bool


def format_interval(seconds: int) -> str:
    """Return how often a sensor looks, in words."""
    if seconds < 120:
        return f"every {seconds} s"
    return f"every {seconds // 60} min" if seconds < 7200 else f"every {seconds // 3600} h"


def describe_automation(what: str, trigger: str, *, needs: str, profile: str, is_on: bool) -> str:
    """Return the description of a schedule or sensor.

    Args:
        what: What it does, in sentences.
        trigger: What starts it, and how often, as a sentence without its stop.
        needs: Settings and loaded data without which it has nothing to do; "" for none.
        profile: The profile that switches it on.
        is_on: Whether it is on from the start.
    """
    switch = "from the start" if is_on else f"after `orchestrate automation on {profile}`"
    needed = needs or "nothing"
    return (
        f"{what} {trigger}. Needs: {needed}. On in a normal installation: yes, {switch}. "
        f"Profile: {profile}."
    )


def select_automations(automations: Sequence[Automation], profile: str) -> Sequence[Automation]:
    """Return the schedules and sensors of a profile.

    Raises:
        ConfigurationError: The code location lacks the profile.
    """
    names = group_by_profile(automations)
    if profile not in names:
        raise UnknownNameError(
            f"profile not found: {profile!r}",
            expected=f"one of {', '.join(names)}",
            remedy=did_you_mean(profile, names) or "name one of them; set the domain's source",
        )
    return [automation for automation in automations if profile in (ALL, automation.profile)]


def group_by_profile(automations: Sequence[Automation]) -> Mapping[str, Sequence[str]]:
    """Return the names of the schedules and sensors of each profile."""
    names: dict[str, list[str]] = {}
    for automation in automations:
        names.setdefault(automation.profile, []).append(automation.name)
    return {**dict(sorted(names.items())), ALL: [automation.name for automation in automations]}
