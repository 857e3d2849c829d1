"""`replay`: check and land again what was captured, without asking the source."""

import argparse
from collections.abc import Iterable, Sequence
from datetime import date

from orchestration_project.cli.execution import failures
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.cli.run import Progress, outcome_of, run_over, say
from orchestration_project.domains.finra.calendar import TIERS
from orchestration_project.domains.finra.selection import (
    TierWeek,
    chosen,
    partition_of,
    summary,
    tier_week,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.storage import open_instance
from orchestration_project.resources.providers import open_clock, open_warehouse
from orchestration_project.resources.warehouse import Warehouse
from orchestration_project.settings import Settings, load_settings
from orchestration_project.tables.finra import finra_otc_weekly

OP = "finra_otc_weekly_load"


def main(arguments: Sequence[str]) -> int:
    """Replay the deliveries; return 0 if each partition then is what its captures say."""
    options = _read(arguments)
    settings = load_settings()
    # Not above: it reads the settings, and wrong ones are to end `main` with a message.
    from orchestration_project.assets.finra import REPLAY_JOB, WEEKS

    with (
        full_disk_explained(settings),
        open_instance() as instance,
        open_warehouse(settings) as warehouse,
    ):
        say(f"database  {warehouse.shown_url}")
        weeks = _weeks(settings, warehouse, options)
        _refuse_outside(each.key for each in weeks if not WEEKS.has_partition_key(each.key))
        say(f"replay    {summary(weeks)}\n")
        config = {"allow_older": options.older}
        config |= {"group_id": options.group} if options.group else {}
        run_config = {"ops": {OP: {"config": config}}}
        with Progress(len(weeks)) as progress:
            results = run_over(instance, REPLAY_JOB, weeks, progress, run_config)
        say(outcome_of(warehouse, results))
    if progress.unchanged:
        say(f"\n{progress.unchanged} of {progress.of} partitions: unchanged, nothing was written")
    failed = [result for result in results if not result.success]
    for text in failures(failed):
        say(f"\n{text}")
    return 1 if failed else 0


def _read(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project replay",
        description="Check and land again what was captured of weeks, by the present rules and "
        "limits, without asking the source: of each partition the latest delivery that was read "
        "whole, landed or held back.",
    )
    parser.add_argument("partitions", nargs="*", metavar="PARTITION", help="such as T1|2025-11-10")
    parser.add_argument("--group", metavar="ID", help="one delivery, by its group_id")
    parser.add_argument("--all", action="store_true", help="every partition that has a delivery")
    parser.add_argument("--tier", choices=TIERS, help="the partitions of a tier")
    parser.add_argument(
        "--from", dest="first", type=date.fromisoformat, metavar="DATE", help="weeks from this on"
    )
    parser.add_argument(
        "--to", dest="last", type=date.fromisoformat, metavar="DATE", help="weeks up to this one"
    )
    parser.add_argument(
        "--older", action="store_true", help="also where what is landed was fetched later"
    )
    options = parser.parse_args(arguments)
    by_range = options.all or options.tier or options.first or options.last
    if sum(map(bool, (options.partitions, options.group, by_range))) != 1:
        parser.error("name partitions, or a --group, or a choice: --all, --tier, --from, --to")
    return options


def _weeks(settings: Settings, warehouse: Warehouse, options: argparse.Namespace) -> list[TierWeek]:
    named = [partition_of(options.group)] if options.group else options.partitions
    today = open_clock(settings).today_in_new_york()
    weeks = [tier_week(key, today=today) for key in named] or chosen(
        warehouse.replayable(finra_otc_weekly),
        tier=options.tier,
        first=options.first,
        last=options.last,
    )
    if not weeks:
        raise ConfigurationError(
            "there is nothing to replay",
            expected="a delivery that was read whole, of a partition that was asked for",
            found="none",
            remedy="choose other weeks, or load them first",
        )
    return weeks


def _refuse_outside(keys: Iterable[str]) -> None:
    outside = ", ".join(keys)
    if outside:
        raise ConfigurationError(
            "these weeks are no partitions",
            expected="weeks from FINRA_FIRST_WEEK on that are over",
            found=outside,
            remedy="set FINRA_FIRST_WEEK to the first of them, or choose with --from",
        )
