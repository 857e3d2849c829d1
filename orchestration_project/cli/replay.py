"""Replays recorded deliveries of a table, as each domain declares it (`definitions.replays`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import click
import dagster as dg

from orchestration_project.cli import console
from orchestration_project.cli.domains import require_defined
from orchestration_project.cli.execution import (
    ProgressLine,
    document,
    failures,
    materializations_of,
    outcome_of,
    results_of,
    run_over,
)
from orchestration_project.cli.exit_statuses import EXIT_STATUSES
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.replay_plans import Replay, ReplayRequest, ReplayRuns
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.chain_checking import find_current_name
from orchestration_project.engine.warehouse.recorded import parse_group_id
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.storage import open_instance
from orchestration_project.settings import Settings, load_settings


@dataclass(frozen=True)
class ReplayChoice:
    """Selection by the options of the command.

    Attributes:
        partitions: Keys of partitions.
        table: The table; None: that of the group, or the default one.
        group: The id of one delivery.
        filters: The given values of `Replay.filters`, by name.
        allow_older: Whether older data may replace newer data.
        options: Further options of the runs, by name.
    """

    partitions: Sequence[str]
    table: str | None
    group: str | None
    filters: Mapping[str, Any]
    allow_older: bool
    options: Mapping[str, str] = field(default_factory=dict)


def replay(choice: ReplayChoice) -> int:
    """Replay the deliveries; return 0 if all of their partitions are loaded or unchanged."""
    # Not at the top: this import reads the settings, and `main` reports invalid ones.
    from orchestration_project.catalog import REGISTRY

    settings = load_settings()
    replay = _replay_of(choice, REGISTRY.replays, settings)
    _require_filters(choice, replay, REGISTRY.replays)
    with (
        full_disk_explained(settings),
        open_instance() as instance,
        open_warehouse(settings) as warehouse,
    ):
        console.progress(f"database  {warehouse.shown_url}")
        plan = _plan(replay, choice, settings, warehouse)
        if console.OUTPUT.is_dry_run:
            console.preview(f"would be replayed: {plan.description}", runs=plan.ranges)
            return 0
        console.progress(f"replay    {plan.description}\n")
        run_config = replay.run_config(plan, _build_options(choice) if replay.has_options else {})
        with ProgressLine(plan.count) as progress:
            results = run_over(
                instance,
                replay.job,
                plan.ranges,
                progress,
                run_config,
                after_each=lambda span, result: progress.finish(
                    [key for key in plan.keys if span[0] <= key <= span[1]],
                    is_loaded=result.success,
                    outcomes=dict.fromkeys(plan.keys, _describe_outcome(replay, result)),
                ),
            )
        summary = replay.summary and results_of(warehouse, results, replay.summary)
    counts = _sum_counts(replay, results)
    failed = [result for result in results if not result.success]
    status = EXIT_STATUSES[outcome_of(results)]
    if console.OUTPUT.is_json:
        values = document(summary, progress.outcomes, results)
        console.emit({**values, "counts": counts} if replay.counts else values)
        return status
    if summary:
        console.echo(str(summary))
    for name, count in counts.items():
        console.echo(f"{count:>8,}  {_clean_name(name)}")
    if progress.unchanged:
        count = f"{progress.unchanged} of {progress.of} {replay.unit}"
        console.echo(f"\n{count}: unchanged, nothing was written")
    for text in failures(failed):
        console.echo(f"\n{text}")
    return status


def _describe_outcome(replay: Replay, result: dg.JobExecutionResult) -> str:
    """Return how a run ended that did not report its partitions, such as ``3 loaded document``."""
    counts = _sum_counts(replay, [result])
    return ", ".join(f"{count:,} {_clean_name(name)}" for name, count in counts.items()) or "loaded"


def _clean_name(name: str) -> str:
    return name.removesuffix("_count").replace("_", " ")


def _sum_counts(replay: Replay, results: Sequence[dg.JobExecutionResult]) -> Mapping[str, int]:
    """Return the counts of runs that are not 0, by name."""
    counts = {
        name: sum(
            int(materialization.get(name, 0))
            for materialization in materializations_of(results).values()
        )
        for name in replay.counts
    }
    return {name: count for name, count in counts.items() if count}


def _replay_of(choice: ReplayChoice, replays: Mapping[str, Replay], settings: Settings) -> Replay:
    """Return how the table is replayed that --table or --group names.

    Raises:
        ConfigurationError: The group is not one, or is a delivery of a table without a replay.
        UsageError: No table that --table names is replayed.
    """
    default = next((each.table for each in replays.values() if each.is_default), "")
    table = parse_group_id(choice.group)[0] if choice.group else choice.table or default
    if choice.group and table not in replays:  # perhaps it was renamed since
        with open_warehouse(settings) as warehouse, warehouse.reading() as connection:
            table = find_current_name(connection, table)
    if table in replays:
        return replays[table]
    require_defined(table)
    if choice.group:
        raise ConfigurationError(
            f"a delivery of {table} cannot be replayed",
            expected=f"a delivery of one of {', '.join(replays)}",
            remedy="name a delivery of one of these",
        )
    likely = get_close_matches(table, replays, 1)
    raise click.BadParameter(
        f"{table!r} is not one of {', '.join(replays)}."
        + (f" Did you mean {likely[0]!r}?" if likely else ""),
        param_hint="--table",
    )


def _require_filters(choice: ReplayChoice, replay: Replay, replays: Mapping[str, Replay]) -> None:
    """Make sure that the given filters select partitions of the table, and have valid values.

    Raises:
        UsageError: One does not.
    """
    if not replay.has_options and (choice.group or choice.allow_older or choice.options):
        raise click.UsageError(
            f"--group, --allow-older, --accept and --reason do not apply to {replay.table}: "
            f"name partitions, e.g. 2026-11-02, or --all"
        )
    replay_filters = {replay_filter.name: replay_filter for replay_filter in replay.filters}
    for name, value in choice.filters.items():
        if name not in replay_filters:
            tables = [
                table
                for table, item in replays.items()
                if name in {one.name for one in item.filters}
            ]
            raise click.UsageError(
                f"--{name} chooses partitions of {', '.join(tables)}; use --all or partitions"
            )
        choices = replay_filters[name].choices
        if choices and value not in choices:
            raise click.BadParameter(
                f"{value!r} is not one of {', '.join(choices)}.", param_hint=f"--{name}"
            )


def _plan(
    replay: Replay, choice: ReplayChoice, settings: Settings, warehouse: Warehouse
) -> ReplayRuns:
    """Return the runs of what the options select.

    Raises:
        ConfigurationError: They select nothing, or a partition that cannot be run.
    """
    keys = [parse_group_id(choice.group)[1]] if choice.group else choice.partitions
    return replay.plan_runs(
        ReplayRequest(partitions=keys, filters=choice.filters), settings, warehouse
    )


def _build_options(choice: ReplayChoice) -> Mapping[str, Any]:
    """Return the options of the runs that the command was given."""
    group = {"group_id": choice.group} if choice.group else {}
    return {"allow_older": choice.allow_older, **choice.options, **group}
