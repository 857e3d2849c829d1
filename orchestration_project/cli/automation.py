"""`automation`: list schedules and sensors, and switch those of a profile on or off."""

from dataclasses import asdict

import click

from orchestration_project.cli.commands import Group
from orchestration_project.cli.console import OUTPUT, emit_or, preview, show_rows

HEADINGS = {"name": "name", "kind": "kind", "profile": "profile", "state": "state"}

profile_argument = click.argument("profile", metavar="PROFILE")


@click.group(cls=Group)
def automation() -> None:
    """Schedules and sensors: which are on, and profiles that switch them together.

    PROFILE is one of the profiles that `automation list` shows, such as weekly-finra, prices or
    sync. The profile demo stands for all. The UI may be up or down.
    """


@automation.command("list", has_json=True)
def list_automation() -> int:
    """List schedules and sensors with their profiles, and whether they are on."""
    from orchestration_project.assets.operations.automation import automations
    from orchestration_project.cli.execution import repository
    from orchestration_project.instance.storage import open_instance

    with open_instance() as instance:
        found = automations(instance, repository())
    rows = [{**asdict(each), "state": "on" if each.is_on else "off"} for each in found]
    show_rows(rows, HEADINGS)
    return 0


@automation.command("on", has_json=True, has_dry_run=True)
@profile_argument
def switch_on(profile: str) -> int:
    """Switch the schedules and sensors of a profile on."""
    return _switch(profile, on=True)


@automation.command("off", has_json=True, has_dry_run=True)
@profile_argument
def switch_off(profile: str) -> int:
    """Switch the schedules and sensors of a profile off."""
    return _switch(profile, on=False)


def _switch(profile: str, *, on: bool) -> int:
    from orchestration_project.assets.operations.automation import switch
    from orchestration_project.cli.execution import repository
    from orchestration_project.instance.redacting import repository_origin
    from orchestration_project.instance.storage import open_instance

    with open_instance() as instance:
        changed = switch(
            instance,
            repository(),
            repository_origin(),
            profile,
            on=on,
            is_dry_run=OUTPUT.is_dry_run,
        )
    state, names = "on" if on else "off", [each.name for each in changed]
    listed = ", ".join(names) or "nothing: all are so already"
    if OUTPUT.is_dry_run:
        preview(f"would switch {state}: {listed}", state=state, changed=names)
    else:
        emit_or({"state": state, "changed": names}, f"switched {state}: {listed}")
    return 0
