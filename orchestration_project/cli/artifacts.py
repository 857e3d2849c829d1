"""The commands that repair damaged artifacts and copy artifacts to a second store."""

from typing import Any

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import OUTPUT, emit_or, preview
from orchestration_project.contracts.job_kinds import (
    COPY_ARTIFACTS,
    REPAIR_ARTIFACTS,
    JobKind,
)

FIGURES = ("damaged_count", "repaired_count", "rederived_count", "lost_count")


@click.command("repair", cls=Command, has_json=True, has_dry_run=True)
@click.option(
    "--sha256", multiple=True, metavar="HEX", help="SHA-256 of captured bytes; repeatable."
)
@click.option("--dataset", metavar="NAME", help="Dataset of captures, e.g. weeklySummary.")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=1_000,
    show_default=True,
    help="Number of damaged artifacts.",
)
def repair(sha256: tuple[str, ...], dataset: str | None, limit: int) -> int:
    """Repair damaged artifacts from the second store, their sources or rows.

    Without --sha256 and --dataset: all that the latest verifications found damaged, by
    list_artifacts of the job operations_clean_up.
    Exit status: 0 all repaired, 1 some lost or damaged, 2 usage.
    """
    config: dict[str, Any] = {"sha256": list(sha256), "limit": limit, "dry_run": OUTPUT.is_dry_run}
    found = _run(REPAIR_ARTIFACTS, {**config, **({"dataset": dataset} if dataset else {})})
    if isinstance(found, int):
        return found
    figures = {name: found[name] for name in FIGURES}
    repairs = [dict(each.data) for each in found["repairs"].records]
    lines = [_line(each) for each in repairs]
    if OUTPUT.is_dry_run:
        preview("\n".join([f"{figures['damaged_count']} are damaged", *lines]), repairs=repairs)
        return 0
    summary = ", ".join(f"{figures[name]} {name.removesuffix('_count')}" for name in FIGURES)
    emit_or({**figures, "repairs": repairs}, summary, *lines)
    repaired_count = figures["repaired_count"] + figures["rederived_count"]
    return int(repaired_count < figures["damaged_count"])


@click.command("copy", cls=Command, has_json=True)
@click.option("--all", "follow_all", is_flag=True, help="Follow all rows, not only the new ones.")
def copy(follow_all: bool) -> int:
    """Copy new captured bytes and exported files to the store of ARTIFACTS_COPY_URL."""
    found = _run(COPY_ARTIFACTS, {"follow_all": follow_all})
    if isinstance(found, int):
        return found
    figures = {name: found[name] for name in ("copied_count", "bytes", "damaged_count")}
    emit_or(
        figures,
        f"{found['copied_count']} objects copied, {found['bytes']} bytes; "
        f"{found['damaged_count']} are damaged",
    )
    return int(found["damaged_count"] > 0)


def _line(row: dict[str, Any]) -> str:
    ways = f" from {row['from']}" if row["from"] else ""
    more = " ".join(filter(None, (row["reason"], row["loss"])))
    return f"{row['artifact']}: {row['problem']}, {row['state']}{ways}{': ' if more else ''}{more}"


def _run(kind: JobKind, options: dict[str, Any]) -> dict[str, Any] | int:
    """Run a kind of a job; return its metadata, or the exit status if it failed."""
    from orchestration_project.cli.execution import (
        execute,
        failures,
        materializations_of,
        status_of_failure,
    )
    from orchestration_project.instance.storage import open_instance

    with open_instance() as instance:
        result = execute(instance, kind.job, config=kind.run_config(options))
        if not result.success:
            emit_or({"failures": failures([result])}, *failures([result]))
            return status_of_failure(result)
        [metadata] = materializations_of([result]).values()
        return dict(metadata)
