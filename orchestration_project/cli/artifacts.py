"""The command that repairs damaged artifacts."""

from typing import Any

import click

from orchestration_project.cli.commands import Command
from orchestration_project.cli.console import OUTPUT, emit_or, preview
from orchestration_project.engine.contracts.job_kinds import REPAIR_ARTIFACTS

FIGURES = ("damaged_count", "repaired_count", "rederived_count", "lost_count")


@click.command("repair", cls=Command, has_json=True, has_dry_run=True)
@click.option(
    "--sha256", multiple=True, metavar="HEX", help="SHA-256 of captured bytes; repeatable."
)
@click.option("--dataset", metavar="NAME", help="Dataset of captures, e.g. weeklySummary.")
@click.option(
    "--from",
    "place",
    metavar="PLACE",
    help="Folder or s3:// URL of a copy of the artifact store, or of backups; tried first.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    help="Number of damaged artifacts; default: 1000, with --from all.",
)
def repair(
    sha256: tuple[str, ...], dataset: str | None, place: str | None, limit: int | None
) -> int:
    """Repair damaged artifacts from a copy or backups, their sources or rows.

    Without --sha256 and --dataset: all that the latest verifications found damaged, by
    list_artifacts of the job operations_clean_up; with --from also all that the store lacks, or
    has in another size. Run it again after an interruption.
    Exit status: 0 all repaired, 1 some lost or damaged, 2 usage.
    """
    config: dict[str, Any] = {"sha256": list(sha256), "dry_run": OUTPUT.is_dry_run}
    if place is not None:
        from orchestration_project.resources.operations.backup_objects import open_place

        config["copy_url"] = open_place(place, "--from").url
    config |= {"dataset": dataset} if dataset else {}
    config |= {"limit": limit} if limit else {}
    result = _run(config)
    if isinstance(result, int):
        return result
    figures = {name: result[name] for name in FIGURES}
    repairs = [dict(record.data) for record in result["repairs"].records]
    lines = [_render_repair(entry) for entry in repairs]
    if (remaining_count := figures["damaged_count"] - len(repairs)) > 0:
        lines.append(f"{remaining_count} more")
    if OUTPUT.is_dry_run:
        preview("\n".join([f"{figures['damaged_count']} are damaged", *lines]), repairs=repairs)
        return 0
    summary = ", ".join(f"{figures[name]} {name.removesuffix('_count')}" for name in FIGURES)
    emit_or({**figures, "repairs": repairs}, summary, *lines)
    repaired_count = figures["repaired_count"] + figures["rederived_count"]
    return int(repaired_count < figures["damaged_count"])


def _render_repair(row: dict[str, Any]) -> str:
    ways = f" from {row['from']}" if row["from"] else ""
    reasons = " ".join(filter(None, (row["reason"], row["loss"])))
    suffix = f": {reasons}" if reasons else ""
    return f"{row['artifact']}: {row['problem']}, {row['state']}{ways}{suffix}"


def _run(options: dict[str, Any]) -> dict[str, Any] | int:
    """Run the repair; return its metadata, or the exit status if it failed."""
    from orchestration_project.cli.execution import (
        execute,
        failures,
        materializations_of,
        status_of_failure,
    )
    from orchestration_project.instance.storage import open_instance

    with open_instance() as instance:
        result = execute(
            instance, REPAIR_ARTIFACTS.job, config=REPAIR_ARTIFACTS.run_config(options)
        )
        if not result.success:
            emit_or({"failures": failures([result])}, *failures([result]))
            return status_of_failure(result)
        [metadata] = materializations_of([result]).values()
        return dict(metadata)
