"""`upgrade --check`: show what an upgrade would do, how long and with how much disk."""

import shutil
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import aligned, emit_or
from orchestration_project.cli.exit_statuses import ExitStatus

if TYPE_CHECKING:
    from orchestration_project.engine.warehouse import Warehouse
    from orchestration_project.engine.warehouse.upgrade_plans import UpgradePlan
    from orchestration_project.instance.dagster_versions import DagsterVersions

STOPPED = "daemon, workers, bridge, gateway and code servers, after `orchestrate drain`"


@click.command(cls=Command, has_json=True)
@click.option("--check", is_flag=True, help="Show it, and change nothing.")
def upgrade(check: bool) -> int:
    """Show the effect of `migrate` by this release: changes, time and disk; nothing is written.

    What `migrate` would refuse is refused here: tables of before the first release or of a newer
    one, an encoding that lacks letters, and a disk that is too small. Columns are compared with the
    declared ones where no version is pending.

    Exit status: 0 everything is up to date; 4 something would change; 1 it would be refused.
    """
    from orchestration_project.engine.environment import open_unprepared_warehouse
    from orchestration_project.instance.dagster_versions import read_dagster_versions
    from orchestration_project.migrations import NEWEST_VERSION
    from orchestration_project.settings import load_settings

    if not check:
        raise click.UsageError(
            "expected --check: a release is upgraded by the steps of docs/how-to/upgrade.md, of "
            "which `orchestrate migrate` changes the tables"
        )
    settings = load_settings()
    with open_unprepared_warehouse(settings) as warehouse:
        plan = warehouse.plan_upgrade()
        free = _measure_free(warehouse)
        shown_url = warehouse.shown_url
    plan.refuse_full_disk(free)
    dagster = read_dagster_versions(settings)
    fields = {
        "database": shown_url,
        "version": plan.version,
        "newest_version": NEWEST_VERSION,
        "pending": [asdict(pending) for pending in plan.pending],
        "own_changes": plan.own_changes,
        "copied_rows": plan.rows,
        "estimated_seconds": plan.seconds,
        "additional_bytes": plan.additional_bytes,
        "database_bytes": plan.database_bytes,
        "free_bytes": free,
        "additions": plan.additions,
        "is_recorded": plan.is_recorded,
        "dagster_versions": dagster.stored,
        "newest_dagster_version": dagster.newest,
        "is_dagster_other": dagster.is_other,
    }
    lines = [
        ("database", f"{shown_url}: version {plan.version or 'none'} -> {NEWEST_VERSION}"),
        *_describe_changes(plan),
        ("Dagster", _describe_dagster(dagster)),
    ]
    if plan.is_any:
        lines += _describe_cost(plan, free)
    emit_or(fields, aligned(lines), "nothing was changed")
    return ExitStatus.CHANGES if plan.is_any or dagster.is_other else ExitStatus.DONE


def _measure_free(warehouse: "Warehouse") -> int | None:
    """Return the free bytes of the disk of a database in a file; None: it is on a server."""
    if warehouse.file is None:
        return None
    place = warehouse.file.absolute().parent
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def _describe_changes(plan: "UpgradePlan") -> Iterator[tuple[str, str]]:
    if not plan.is_any:
        yield "tables", "up to date"
    if not plan.is_recorded:
        yield "tables", "compared with the declared ones, whose hash is stored"
    for pending in plan.pending:
        yield pending.version, pending.title
        yield from (("", change) for change in pending.changes)
    for change in plan.own_changes:
        yield "project", change
    for addition in plan.additions:
        yield "stays", f"{addition}, which is not of this project"


def _describe_dagster(dagster: "DagsterVersions") -> str:
    if not dagster.stored:
        return f"no tables yet; version {dagster.newest} is made at the first start"
    if not dagster.is_other:
        return f"version {dagster.newest}, up to date"
    versions = ", ".join(dagster.stored)
    return f"version {versions} -> {dagster.newest}: an older one needs `dagster instance migrate`"


def _describe_cost(plan: "UpgradePlan", free: int | None) -> Iterator[tuple[str, str]]:
    from orchestration_project.engine.warehouse.upgrade_plans import ROWS_PER_SECOND

    rows = ", ".join(f"{count:,} of {name}" for name, count in plan.rows.items())
    yield "rows", f"copied or read: {rows or 'none'}"
    yield "time", f"about {plan.seconds} s, where {ROWS_PER_SECOND:,} rows are copied in a second"
    free_text = (
        "of the server's disk, unknown here" if free is None else f"{_show_bytes(free)} free"
    )
    yield "disk", f"{_show_bytes(plan.additional_bytes)} while it runs; {free_text}"
    database = _show_bytes(plan.database_bytes)
    yield "backup", f"before: up to {database} of this database, Dagster's, and the artifacts"
    yield "stop", STOPPED


def _show_bytes(count: int | None) -> str:
    return "an unknown size" if count is None else f"{count / 1_000_000:,.1f} MB"
