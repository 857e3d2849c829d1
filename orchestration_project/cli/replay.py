"""`replay`: validate and load recorded deliveries again, without asking the source.

Each domain declares how its tables are replayed (`Domain.replays`).
"""

import argparse
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from orchestration_project.cli.console import echo
from orchestration_project.cli.execution import ProgressLine, failures, outcome_of, run_over
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.recorded import place_of
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.storage import open_instance
from orchestration_project.registry import Replay, ReplayFilter, ReplayRequest, ReplayRuns
from orchestration_project.settings import Settings, load_settings


def main(arguments: Sequence[str]) -> int:
    """Replay the deliveries; return 0 if all of their partitions are loaded or unchanged."""
    # Not at the top: this import reads the settings, and the caller reports invalid ones.
    from orchestration_project.catalog import REGISTRY

    replays = REGISTRY.replays
    options = _read(arguments, replays)
    settings = load_settings()
    with (
        full_disk_explained(settings),
        open_instance() as instance,
        open_warehouse(settings) as warehouse,
    ):
        echo(f"database  {warehouse.shown_url}")
        replay = _replay_of(options, replays)
        plan = _plan(replay, options, settings, warehouse)
        echo(f"replay    {plan.description}\n")
        run_config = {"ops": {replay.op: {"config": _config(plan, options)}}}
        with ProgressLine(plan.count) as progress:
            results = run_over(instance, replay.job, plan.ranges, progress, run_config)
        if replay.summary is not None:
            echo(outcome_of(warehouse, results, replay.summary))
    if progress.unchanged:
        count = f"{progress.unchanged} of {progress.of} {replay.unit}"
        echo(f"\n{count}: unchanged, nothing was written")
    failed = [result for result in results if not result.success]
    for text in failures(failed):
        echo(f"\n{text}")
    return 1 if failed else 0


def _read(arguments: Sequence[str], replays: Mapping[str, Replay]) -> argparse.Namespace:
    """Return the options: `table` is None for a --group, `filters` has those that were given."""
    default = next(replay.table for replay in replays.values() if replay.is_default)
    parser = _parser(replays, default)
    options = parser.parse_args(arguments)
    given = vars(options)
    options.filters = {name: given[name] for name in _filters(replays) if given[name] is not None}
    is_selection = options.all or options.filters
    if sum(map(bool, (options.partitions, options.group, is_selection))) != 1:
        choices = ", ".join(["--all", *map("--{}".format, _filters(replays))])
        parser.error(f"name partitions, or a --group, or a choice: {choices}")
    if options.group:
        if options.table:
            parser.error("a --group names its table; leave --table out")
        return options
    options.table = options.table or default
    _refuse_foreign_filters(parser, options, replays)
    return options


def _parser(replays: Mapping[str, Replay], default: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project replay",
        description="Check and land again what was captured, by the present rules and limits, "
        "without asking the source: of each partition the latest delivery that was read whole, "
        "landed or held back; of a symbol's prices all that make up what is landed.",
    )
    parser.add_argument(
        "partitions", nargs="*", metavar="PARTITION", help="such as T1|2025-11-10; or a symbol"
    )
    parser.add_argument("--table", choices=replays, help=f"what is replayed ({default})")
    parser.add_argument("--group", metavar="ID", help="one delivery, by its group_id")
    parser.add_argument("--all", action="store_true", help="every partition that has a delivery")
    for each in _filters(replays).values():
        shape: dict[str, Any] = {"choices": each.choices or None}
        if each.is_date:
            shape = {"type": _day, "metavar": "DATE"}
        parser.add_argument(f"--{each.name}", help=each.description, **shape)
    parser.add_argument(
        "--older", action="store_true", help="also where what is landed was fetched later"
    )
    return parser


def _filters(replays: Mapping[str, Replay]) -> Mapping[str, ReplayFilter]:
    return {each.name: each for replay in replays.values() for each in replay.filters}


def _refuse_foreign_filters(
    parser: argparse.ArgumentParser, options: argparse.Namespace, replays: Mapping[str, Replay]
) -> None:
    """End with a usage error if one of the given filters does not select rows of the table."""
    own = {each.name for each in replays[options.table].filters}
    for replay in replays.values():
        names = [each.name for each in replay.filters]
        if any(name in options.filters and name not in own for name in names):
            flags = ", ".join(f"--{name}" for name in names)
            parser.error(f"{flags} choose partitions of {replay.table}; use --all or partitions")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no day, such as 2025-11-10") from None


def _replay_of(options: argparse.Namespace, replays: Mapping[str, Replay]) -> Replay:
    """Return how the table is replayed that --table or --group names.

    Raises:
        ConfigurationError: The group is not one, or is a delivery of a table without a replay.
    """
    table = place_of(options.group)[0] if options.group else options.table
    if table not in replays:
        raise ConfigurationError(
            f"{table} is no table that a replay fills",
            expected=", ".join(replays),
            remedy="name a delivery of one of these",
        )
    return replays[table]


def _plan(
    replay: Replay, options: argparse.Namespace, settings: Settings, warehouse: Warehouse
) -> ReplayRuns:
    """Return the runs of what the options select.

    Raises:
        ConfigurationError: They select nothing, or a partition that cannot be run.
    """
    keys = [place_of(options.group)[1]] if options.group else options.partitions
    request = ReplayRequest(partitions=keys, filters=options.filters)
    plan = replay.plan(request, settings, warehouse)
    if plan is None:
        raise ConfigurationError(
            "there is nothing to replay",
            expected="a delivery that was read whole, of a partition that was asked for",
            found="none",
            remedy="choose other partitions, or load them first",
        )
    return plan


def _config(plan: ReplayRuns, options: argparse.Namespace) -> Mapping[str, Any]:
    """Return the config of the op: that of the plan, and that of every replay."""
    config = {**plan.config, "allow_older": options.older}
    return config | ({"group_id": options.group} if options.group else {})
