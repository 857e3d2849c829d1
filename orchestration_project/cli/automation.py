"""`automation`: list schedules and sensors, switch those of a profile, simulate a year of them."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from orchestration_project.cli.commands import Group
from orchestration_project.cli.console import OUTPUT, echo, emit, emit_or, preview, show_rows

HEADINGS = {"name": "name", "kind": "kind", "profile": "profile", "state": "state"}

WAITS = {
    "job": "job",
    "run_count": "runs",
    "run_seconds": "run s",
    "seconds_from": "from",
    "median_seconds": "median wait s",
    "p95_seconds": "95 % wait s",
    "longest_seconds": "longest wait s",
    "longest_at": "asked for at UTC",
}

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
    from orchestration_project.assets.operations.automation import list_automations
    from orchestration_project.cli.execution import repository
    from orchestration_project.instance.storage import open_instance

    with open_instance() as instance:
        entries = list_automations(instance, repository(), _find_origin)
    rows = [{**asdict(each), "state": "on" if each.is_on else "off"} for each in entries]
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


def _find_origin(name: str) -> Any:
    """Return the origin of the code location that has a schedule or sensor."""
    from orchestration_project.instance.stored import repository_origin
    from orchestration_project.settings import load_settings
    from orchestration_project.settings.chosen import domain_of_name
    from orchestration_project.settings.project import DEFINITIONS

    domain, locations = domain_of_name(name), load_settings().code_server_addresses
    names = (location for location in locations if domain in location.split("+"))
    return repository_origin(next(names, DEFINITIONS))


def _switch(profile: str, *, on: bool) -> int:
    from orchestration_project.assets.operations.automation import switch
    from orchestration_project.cli.execution import repository
    from orchestration_project.instance.storage import open_instance

    with open_instance() as instance:
        changed = switch(
            instance,
            repository(),
            _find_origin,
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


@automation.command("simulate", has_json=True)
@click.option(
    "--year",
    type=click.IntRange(1970, 9998),
    metavar="YEAR",
    help="Year whose schedules are replayed. [default: the next one]",
)
@click.option(
    "--concurrent-runs",
    type=click.IntRange(1),
    metavar="N",
    help="Runs at the same time. [default: MAX_CONCURRENT_RUNS]",
)
@click.option(
    "--run-seconds",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Duration of the runs of a job that has not run in the last 90 days.",
)
@click.option(
    "--allowed-seconds",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    metavar="S",
    help="Waiting begins where a run in 20 of a job waits longer.",
)
@click.option(
    "--backfill",
    "backfill_runs",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Add a backfill of N runs at the start of the year, after all others in the queue.",
)
def simulate_year(
    year: int | None,
    concurrent_runs: int | None,
    run_seconds: float,
    allowed_seconds: float,
    backfill_runs: int,
) -> int:
    """Replay a year of schedules against the queue, and print where waiting begins.

    All schedules count, on or off, and as many runs of sensors as in the last 90 days. Durations
    are means of the last 90 days. Nothing is started or written.
    """
    from orchestration_project.cli.execution import repository
    from orchestration_project.engine.connections.clock import Clock
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.instance.launchers import DEQUEUE_SECONDS
    from orchestration_project.services.schedules.rules.capacity import (
        QueueLimits,
        add_backfill,
        compute_busy_share,
        estimate_headroom,
        simulate,
    )
    from orchestration_project.services.schedules.workloads import build_workloads, read_past
    from orchestration_project.settings import load_settings

    settings, now = load_settings(), Clock().now()
    year = year or now.year + 1
    start = datetime(year, 1, 1, tzinfo=UTC)
    limits = QueueLimits(concurrent_runs or settings.max_concurrent_runs, DEQUEUE_SECONDS)
    with open_warehouse(settings) as warehouse:
        past = read_past(warehouse, now)
        of_schedules = build_workloads(repository(), warehouse, year, past, run_seconds)
    workloads = add_backfill(of_schedules, backfill_runs, run_seconds)
    seconds_of = {workload.job: workload.run_seconds for workload in workloads}
    year_seconds = (datetime(year + 1, 1, 1, tzinfo=UTC) - start).total_seconds()
    rows: list[Mapping[str, Any]] = [
        {
            **waits._asdict(),
            "run_seconds": round(seconds_of[waits.job], 1),
            "seconds_from": "runs" if waits.job in past else "--run-seconds",
            "longest_at": start + timedelta(seconds=waits.longest_at)
            if waits.longest_seconds
            else None,
        }
        for waits in sorted(simulate(workloads, limits), key=lambda each: -each.longest_seconds)
    ]
    busy = compute_busy_share(workloads, limits, year_seconds)
    factor = estimate_headroom(of_schedules, limits, allowed_seconds)
    if OUTPUT.is_json:
        emit({"jobs": rows, "busy_share": busy, "waiting_begins_at": factor})
        return 0
    show_rows(rows, WAITS)
    echo(f"{year}: {limits.concurrent_runs} concurrent runs, {busy:.1%} of their time is taken")
    echo(
        f"waiting begins when runs take {factor:.3g} times as long: "
        f"then a run in 20 of a job waits longer than {allowed_seconds:g} s"
    )
    return 0
