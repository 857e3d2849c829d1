"""`replay`: check and land again what was captured, without asking the source."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from orchestration_project.cli.console import echo
from orchestration_project.cli.execution import failures
from orchestration_project.cli.finra_run import Progress, keys_of_ranges, outcome_of, run_over
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.domains.finra.calendar import TIERS
from orchestration_project.domains.finra.selection import (
    TierWeek,
    chosen,
    summary,
    tier_week,
)
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.recorded import place_of
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.storage import open_instance
from orchestration_project.resources.prices.states import oldest_month
from orchestration_project.settings import Settings, load_settings
from orchestration_project.tables.finra import finra_otc_weekly
from orchestration_project.tables.finra_datasets import DATASETS
from orchestration_project.tables.prices import prices_daily

WEEKLY, PRICES = finra_otc_weekly.name, prices_daily.name
TABLES = (WEEKLY, PRICES, *(each.table.name for each in DATASETS))
WEEKLY_OP = "finra_otc_weekly_load"


@dataclass(frozen=True)
class Runs:
    """The runs of a replay: a job over ranges of partitions, and what its op is told.

    ``said`` is what they replay, in words, and ``count`` how many pieces that are.
    """

    job: str
    op: str
    ranges: Sequence[tuple[str, str]]
    said: str
    count: int
    config: Mapping[str, Any] = field(default_factory=dict)


def main(arguments: Sequence[str]) -> int:
    """Replay the deliveries; return 0 if each partition then is what its captures say."""
    options = _read(arguments)
    settings = load_settings()
    with (
        full_disk_explained(settings),
        open_instance() as instance,
        open_warehouse(settings) as warehouse,
    ):
        echo(f"database  {warehouse.shown_url}")
        table = place_of(options.group)[0] if options.group else options.table
        runs = _runs(settings, warehouse, table, options)
        echo(f"replay    {runs.said}\n")
        config = {**runs.config, "allow_older": options.older}
        config |= {"group_id": options.group} if options.group else {}
        with Progress(runs.count) as progress:
            run_config = {"ops": {runs.op: {"config": config}}}
            results = run_over(instance, runs.job, runs.ranges, progress, run_config)
        if table == WEEKLY:
            echo(outcome_of(warehouse, results))
    if progress.unchanged:
        what = "symbols" if table == PRICES else "partitions"
        echo(f"\n{progress.unchanged} of {progress.of} {what}: unchanged, nothing was written")
    failed = [result for result in results if not result.success]
    for text in failures(failed):
        echo(f"\n{text}")
    return 1 if failed else 0


def _read(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project replay",
        description="Check and land again what was captured, by the present rules and limits, "
        "without asking the source: of each partition the latest delivery that was read whole, "
        "landed or held back; of a symbol's prices all that make up what is landed.",
    )
    parser.add_argument(
        "partitions", nargs="*", metavar="PARTITION", help="such as T1|2025-11-10; or a symbol"
    )
    parser.add_argument("--table", choices=TABLES, help=f"what is replayed ({WEEKLY})")
    parser.add_argument("--group", metavar="ID", help="one delivery, by its group_id")
    parser.add_argument("--all", action="store_true", help="every partition that has a delivery")
    parser.add_argument("--tier", choices=TIERS, help=f"the partitions of a tier of {WEEKLY}")
    parser.add_argument(
        "--from",
        dest="first",
        type=_day,
        metavar="DATE",
        help=f"weeks of {WEEKLY} from this on",
    )
    parser.add_argument("--to", dest="last", type=_day, metavar="DATE", help="weeks up to this one")
    parser.add_argument(
        "--older", action="store_true", help="also where what is landed was fetched later"
    )
    options = parser.parse_args(arguments)
    of_weeks = options.tier or options.first or options.last
    if sum(map(bool, (options.partitions, options.group, options.all or of_weeks))) != 1:
        parser.error("name partitions, or a --group, or a choice: --all, --tier, --from, --to")
    if options.group and options.table:
        parser.error("a --group names its table; leave --table out")
    options.table = options.table or WEEKLY
    if of_weeks and options.table != WEEKLY:
        parser.error(f"--tier, --from and --to choose weeks of {WEEKLY}; use --all or partitions")
    return options


def _runs(
    settings: Settings, warehouse: Warehouse, table: str, options: argparse.Namespace
) -> Runs:
    if table == WEEKLY:
        return _of_weeks(settings, warehouse, options)
    named = [place_of(options.group)[1]] if options.group else options.partitions
    if table == PRICES:
        return _of_prices(warehouse, named)
    return _of_dataset(warehouse, table, named)


def _of_weeks(settings: Settings, warehouse: Warehouse, options: argparse.Namespace) -> Runs:
    # Not above: it reads the settings, and wrong ones are to end `main` with a message.
    from orchestration_project.assets.finra import REPLAY_JOB, week_keys

    weeks = _weeks(settings, warehouse, options)
    keys = week_keys()
    _refuse_outside([each.key for each in weeks if each.key not in keys])
    return Runs(REPLAY_JOB, WEEKLY_OP, keys_of_ranges(weeks), summary(weeks), len(weeks))


def _weeks(settings: Settings, warehouse: Warehouse, options: argparse.Namespace) -> list[TierWeek]:
    named = [place_of(options.group)[1]] if options.group else options.partitions
    today = open_clock(settings).today_in_new_york()
    weeks = [tier_week(key, today=today) for key in named] or chosen(
        warehouse.replayable(finra_otc_weekly),
        tier=options.tier,
        first=options.first,
        last=options.last,
    )
    _refuse_nothing(weeks)
    return weeks


def _of_prices(warehouse: Warehouse, named: Sequence[str]) -> Runs:
    from orchestration_project.assets.prices import LOAD_OP, MONTHS, REPLAY_JOB

    symbols = named or warehouse.replayable(prices_daily)
    _refuse_nothing(symbols)
    first = oldest_month(warehouse)
    months = [key for key in MONTHS.get_partition_keys() if first and key >= first.isoformat()]
    if not months:
        raise ConfigurationError(
            "no month with these prices is a partition",
            expected="months from PRICES_FIRST_MONTH on",
            found=f"{first or 'no symbol that was ever asked for'}",
            remedy="load prices, or set PRICES_FIRST_MONTH to an earlier month",
        )
    said = f"{len(symbols)} symbols of {PRICES}"
    config = {"symbols": list(symbols)}
    return Runs(REPLAY_JOB, LOAD_OP, [(months[0], months[-1])], said, len(symbols), config)


def _of_dataset(warehouse: Warehouse, table: str, named: Sequence[str]) -> Runs:
    from orchestration_project.assets.finra import DATASET_ASSETS

    found = [each for each in DATASET_ASSETS if each.dataset.table.name == table]
    if not found:
        raise ConfigurationError(
            f"{table} is no table that a replay fills",
            expected=", ".join(TABLES),
            remedy="name a delivery of one of these",
        )
    keys = named or warehouse.replayable(found[0].dataset.table)
    _refuse_nothing(keys)
    _refuse_outside([key for key in keys if not found[0].has(key)])
    said = f"{len(keys)} partitions of {table}"
    ranges = _ranges(keys, found[0].keys)
    name = f"finra_{found[0].dataset.noun}"
    return Runs(name, f"{name}_load", ranges, said, len(keys), {"replay": True})


def _ranges(keys: Sequence[str], every: Sequence[str]) -> list[tuple[str, str]]:
    """Return first and last of ``keys`` that follow each other, alike but for their last part."""
    place = {key: number for number, key in enumerate(every)}
    found: list[tuple[str, str]] = []
    for key in sorted(set(keys), key=place.__getitem__):
        last = found[-1][1] if found else ""
        is_next = bool(found) and place[key] == place[last] + 1
        if is_next and key.rpartition("|")[0] == last.rpartition("|")[0]:
            found[-1] = (found[-1][0], key)
        else:
            found.append((key, key))
    return found


def _refuse_nothing(found: Sequence[object]) -> None:
    if not found:
        raise ConfigurationError(
            "there is nothing to replay",
            expected="a delivery that was read whole, of a partition that was asked for",
            found="none",
            remedy="choose other partitions, or load them first",
        )


def _refuse_outside(keys: Sequence[str]) -> None:
    if keys:
        raise ConfigurationError(
            "these are no partitions",
            expected="such from FINRA_FIRST_WEEK on that are over",
            found=", ".join(keys),
            remedy="set FINRA_FIRST_WEEK to the first of them, or choose others",
        )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no day, such as 2025-11-10") from None
