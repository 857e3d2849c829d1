"""Applies a plan: the runs that replay its partitions, and what came of them."""

from collections.abc import Collection, Sequence
from pathlib import Path

from sqlalchemy import select

from orchestration_project.cli import console
from orchestration_project.cli.execution import ProgressLine, failures, outcome_of, run_over
from orchestration_project.cli.exit_statuses import EXIT_STATUSES, ExitStatus
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.replay_plans import Replay, ReplayRequest
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.delivery import group_of
from orchestration_project.errors import UnknownNameError
from orchestration_project.instance.storage import open_instance
from orchestration_project.registry import Registry
from orchestration_project.services.plans import (
    PLAN_SESSION,
    PLAN_TAG,
    AppliedPartition,
    read_plan,
    refuse_moved,
)
from orchestration_project.settings import load_settings
from orchestration_project.tables.catalogue import METADATA
from orchestration_project.tables.spine import landings


def apply_plan(file: Path) -> int:
    """Replay the partitions of a plan, table by table; return the exit status.

    Raises:
        ConfigurationError: The file is not a plan, or one of other code or another state.
    """
    from orchestration_project.catalog import REGISTRY

    settings = load_settings()
    document = read_plan(file)
    plan_id, partitions = document.plan_id, document.partitions
    by_table: dict[str, list[AppliedPartition]] = {}
    for partition in partitions:
        by_table.setdefault(partition.table, []).append(partition)
    with open_instance() as instance, open_warehouse(settings) as warehouse:
        _require_replays(by_table, REGISTRY)
        refuse_moved(warehouse, document.code_sha256, partitions)
        plans = {
            table: REGISTRY.replays[table].plan_runs(
                ReplayRequest(partitions=[item.partition_key for item in of_table]),
                settings,
                warehouse,
            )
            for table, of_table in by_table.items()
        }
        if console.OUTPUT.is_dry_run:
            for runs in plans.values():
                console.preview(f"would be replayed: {runs.description}", runs=runs.ranges)
            return ExitStatus.DONE
        if not partitions:
            console.echo("nothing to apply: the plan changes nothing that a replay loads")
            return ExitStatus.DONE
        document.keep(open_store(settings))
        results = []
        for table, runs in plans.items():
            replay: Replay = REGISTRY.replays[table]
            with ProgressLine(runs.count) as line:
                results += run_over(
                    instance,
                    replay.job,
                    runs.ranges,
                    line,
                    replay.run_config(runs, {}),
                    tags={PLAN_TAG: plan_id, "session": f"{PLAN_SESSION}{plan_id}"},
                )
        differing = _find_differing(warehouse, partitions)
    for text in failures([result for result in results if not result.success]):
        console.echo(f"\n{text}")
    for text in differing:
        console.echo(text)
    console.echo(
        f"plan {plan_id}: {len(partitions) - len(differing)} partitions changed as planned"
    )
    status = EXIT_STATUSES[outcome_of(results)]
    return ExitStatus.FAILED if differing else status


def _require_replays(tables: Collection[str], registry: Registry) -> None:
    """Refuse a plan of a table whose dataset is not enabled here.

    Raises:
        UnknownNameError: A table has no replay.
    """
    for table in sorted(tables):
        if table not in registry.replays:
            raise UnknownNameError(
                f"table without a replay in this installation: {table!r}",
                expected=f"one of {', '.join(sorted(registry.replays))}",
                remedy="apply the plan where its domain and dataset are enabled, or enable them",
            )


def _find_differing(warehouse: Warehouse, partitions: Sequence[AppliedPartition]) -> list[str]:
    """Return a line for each partition that was not changed as the plan said."""
    columns = ("rows_added", "rows_changed", "rows_removed")
    lines: list[str] = []
    with warehouse.reading() as connection:
        for item in partitions:
            group = group_of(METADATA.tables[item.table], item.partition_key, item.token + 1)
            counts = select(*(landings.c[name] for name in columns)).where(
                landings.c.group_id == group, landings.c.table_name == item.table
            )
            found = connection.execute(counts).first()
            expected = (item.added, item.changed, item.removed)
            counted = (0, 0, 0) if found is None else tuple(found)  # no load: nothing to write
            if counted != expected:
                lines.append(_describe(item, found))
    return lines


def _describe(item: AppliedPartition, found: Sequence[int] | None) -> str:
    expected = f"+{item.added} ~{item.changed} -{item.removed}"
    changed = "nothing loaded" if found is None else "+{} ~{} -{}".format(*found)
    return f"{item.table} {item.partition_key}: expected {expected}, found {changed}"
