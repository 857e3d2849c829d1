"""`run`: load each tier's latest published weeks, derive what follows, and report the outcome."""

import argparse
import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, cast

import dagster as dg
from sqlalchemy import select

from orchestration_project.cli.console import echo
from orchestration_project.cli.execution import execute, failures
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.domains.finra.recomputation import tier_ranges, week_ranges
from orchestration_project.domains.finra.selection import (
    TierWeek,
    latest_weeks,
    of_known_tiers,
    ranges,
    summary,
)
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.engine.report_log import REPORTED_LATE, UNCHANGED
from orchestration_project.engine.runner import PROGRESS
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, SourceError
from orchestration_project.instance.logs import in_log_format
from orchestration_project.instance.storage import open_instance
from orchestration_project.resources.finra import published_lately
from orchestration_project.resources.finra.activity import made_of
from orchestration_project.resources.finra.gold import outdated_tier_weeks, outdated_windows
from orchestration_project.resources.finra.opening import open_finra, open_http
from orchestration_project.settings import Settings, load_settings, without_query, without_secrets
from orchestration_project.settings.domains.finra import FinraSettings
from orchestration_project.tables.finra import finra_otc_weekly
from orchestration_project.tables.spine import audits, rejects

_Told = Mapping[tuple[str, str | None], Mapping[str, Any]]
"""The metadata of each materialization, by table and partition."""

RETRIES = logging.getLogger("orchestration_project.http")
JOB = "finra_otc_weekly"

LINES = (
    "finra_otc_weekly_capture",
    "finra_otc_weekly_staged",
    "finra_otc_weekly",
    "finra_symbol_week",
    "finra_venue_week",
)
COLUMNS = {
    "dagster/row_count": "rows",
    "rows_added": "added",
    "rows_changed": "changed",
    "rows_removed": "removed",
    "rejects": "rejects",
    "audits": "audits passed/failed",
    "audits_warning": "warnings",
    "bytes": "bytes",
    "seconds": "seconds",
}
"""Metadata of a materialization, or what is counted here, and the column that shows it."""

RESTATEMENTS_SHOWN = 20


def main(arguments: Sequence[str]) -> int:
    """Load the weeks; return 0 if all of them are landed."""
    options = _parser().parse_args(arguments)
    settings = load_settings()
    _refuse_too_many(options.weeks)
    with (
        full_disk_explained(settings),
        open_instance() as instance,
        open_warehouse(settings) as warehouse,
    ):
        echo(f"source    {_source(settings)}")
        echo(f"database  {warehouse.shown_url}")
        weeks = _latest(settings, options.weeks)
        echo(f"weeks     the {options.weeks} latest of each tier: {len(weeks)} partitions\n")
        with Progress(len(weeks)) as progress:
            results = run_over(instance, JOB, keys_of_ranges(weeks), progress)
        results += derive(instance, warehouse)
        echo(outcome_of(warehouse, results))
        results += (pictures := draw(instance, warehouse))
        echo(_pictures(pictures))
        failed = [result for result in results if not result.success]
        echo(_conclusion(settings, warehouse, progress, failed))
    return 1 if failed else 0


def run_over(
    instance: dg.DagsterInstance,
    job: str,
    partitions: Sequence[tuple[str, str]],
    progress: "Progress",
    config: Mapping[str, Any] | None = None,
) -> list[dg.JobExecutionResult]:
    """Run a job over ``partitions``, from the first to the last of each range in a run.

    Raises:
        KeyboardInterrupt: Somebody pressed Ctrl-C; how far it came was said.
    """
    try:
        return [execute(instance, job, between=between, config=config) for between in partitions]
    except KeyboardInterrupt:
        echo(
            f"\n{progress.done} of {progress.of} partitions are through; what landed stays, and "
            "the same command goes on from there"
        )
        raise


def keys_of_ranges(weeks: Sequence[TierWeek]) -> list[tuple[str, str]]:
    """Return the first and last key of consecutive weeks of each tier."""
    return [(first.key, last.key) for first, last in ranges(weeks)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project run",
        description="Load the latest published weeks of FINRA's OTC data into the database.",
    )
    parser.add_argument(
        "--weeks", type=_positive, default=8, help="how many weeks of each tier (%(default)s)"
    )
    return parser


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text} is not a number of weeks, such as 8")
    return int(text)


def _refuse_too_many(weeks: int) -> None:
    # Not above, as in `_latest`.
    from orchestration_project.assets.finra.catalogue import WEEKS_OF_ALL_TIERS

    there_are = WEEKS_OF_ALL_TIERS.get_num_partitions()
    if weeks > there_are:
        first = WEEKS_OF_ALL_TIERS.get_first_partition_key()
        raise ConfigurationError(
            f"invalid --weeks {weeks}: expected at most {there_are}, e.g. 8",
            found=f"{there_are} weekly partitions, from {first} on",
            remedy="ask for fewer weeks, or set FINRA_FIRST_WEEK to an earlier Monday",
        )


def _source(settings: Settings) -> str:
    settings = FinraSettings.of(settings)
    return {
        "demo": "demo (made-up data from the embedded source)",
        "api": f"api ({without_query(settings.finra_api_url)})",
        "files": f"files ({settings.finra_files_dir})",
    }.get(str(settings.finra_source), "none: FINRA_SOURCE is not set")


def _latest(settings: Settings, weeks: int) -> list[TierWeek]:
    # Not above: it reads the settings, and wrong ones are to end `main` with a message.
    from orchestration_project.assets.finra import week_keys

    with open_http(settings) as http:
        today = open_clock(settings).today_in_new_york()
        published = published_lately(open_finra(settings, http), weeks, today=today)
    known, unknown = of_known_tiers(published)
    if unknown:
        echo(f"left out  partitions of undocumented tiers: {', '.join(unknown)}")
    latest = latest_weeks(known, weeks)
    keys = week_keys()
    there_are = [each for each in latest if each.key in keys]
    outside = sorted(set(latest) - set(there_are))
    if outside:
        echo(f"left out  before FINRA_FIRST_WEEK or not over yet: {summary(outside)}")
    if not there_are:
        raise SourceError(
            "there is no week to load",
            expected="a published week that is a partition",
            found=f"{len(known)} published weeks, {len(outside)} of the latest are no partitions",
            remedy="look at FINRA_SOURCE, at what lies in FINRA_FILES_DIR, at FINRA_FIRST_WEEK "
            "and CLOCK_NOW",
        )
    return there_are


class Progress(logging.Handler):
    """Prints a line for each partition that is done, with how many there are and an ETA.

    A step's second attempt is counted by itself.
    """

    def __init__(self, of: int) -> None:
        super().__init__(logging.INFO)
        self.of = of
        self._ended: set[str] = set()
        self._unchanged: dict[str, bool] = {}
        self._retries = in_log_format(logging.StreamHandler())
        self._started = time.monotonic()

    def __enter__(self) -> "Progress":
        PROGRESS.addHandler(self)
        PROGRESS.setLevel(logging.INFO)
        RETRIES.addHandler(self._retries)
        return self

    def __exit__(self, *_: object) -> None:
        PROGRESS.removeHandler(self)
        RETRIES.removeHandler(self._retries)

    @property
    def done(self) -> int:
        """How many partitions are done, each counted once."""
        return len(self._ended)

    @property
    def unchanged(self) -> int:
        """How many of them the source has not changed: the first load of each tells."""
        return sum(self._unchanged.values())

    def emit(self, record: logging.LogRecord) -> None:
        """Print the line."""
        told = cast(Mapping[str, Any], record.args)
        key, outcome, attempt = told["key"], told["outcome"], told["attempt"]
        self._ended.add(key)
        if record.levelno < logging.ERROR:
            self._unchanged.setdefault(key, str(outcome).startswith("unchanged"))
        done, of, left = told["done"], told["of"], told["left"]
        if not attempt:
            done, of = self.done, self.of
            left = (time.monotonic() - self._started) / done * max(of - done, 0)
        echo(f"[{done:2}/{of}] {key}: {outcome}  ({attempt}{left:.0f} s left)")


def outcome_of(warehouse: Warehouse, results: Sequence[dg.JobExecutionResult]) -> str:
    """Return what the runs did: a line for each asset, and for each restated partition."""
    told = _told(results)
    return _table(warehouse, results, told) + _restatements(told)


def _table(warehouse: Warehouse, results: Sequence[dg.JobExecutionResult], told: _Told) -> str:
    """Return what the runs did, a line for each asset; held-back partitions count in audits."""
    totals = _totals(told)
    run_ids = [result.run_id for result in results]
    audited = warehouse.frame(select(audits).where(audits.c.run_id.in_(run_ids)), audits)
    refused = warehouse.row_counts((rejects,), {"run_id": tuple(run_ids)})
    blocking = audited.filter(severity="error")
    passed, failed = (len(blocking.filter(outcome=outcome)) for outcome in ("passed", "failed"))
    totals["finra_otc_weekly"]["audits"] = f"{passed}/{failed}"
    totals["finra_otc_weekly_staged"]["rejects"] = refused[rejects.name]
    lines = [["", *COLUMNS.values()]]
    lines += [
        [name, *(_shown(total.get(key)) for key in COLUMNS)] for name, total in totals.items()
    ]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n" + "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])])
        for line in lines
    )


def _told(results: Sequence[dg.JobExecutionResult]) -> _Told:
    """Return what the materialized partitions tell, by asset and partition."""
    told: dict[tuple[str, str | None], dict[str, Any]] = defaultdict(dict)
    for event in (event for result in results for event in result.all_events):
        if event.is_step_materialization:  # twice for a partition, where the step was tried again
            materialization = event.step_materialization_data.materialization
            name = "_".join(materialization.asset_key.path)
            told[name, materialization.partition] |= {
                label: value.value for label, value in materialization.metadata.items()
            }
    return told


def _totals(told: _Told) -> dict[str, dict[str, Any]]:
    """Add up what the runs did, by asset and column; what is carried forward they did not."""
    totals: dict[str, dict[str, Any]] = {name: {} for name in LINES}
    for (name, _), metadata in told.items():
        total = totals.setdefault(name, {})
        is_carried = metadata.get("outcome") in (UNCHANGED, REPORTED_LATE)
        for column in COLUMNS.keys() & metadata.keys():
            is_of_run = column == "dagster/row_count" or not is_carried
            total[column] = total.get(column, 0) + (metadata[column] if is_of_run else 0)
    return totals


def _restatements(told: _Told) -> str:
    """Return a line for each partition whose landed values were replaced by others."""
    lines = [
        metadata["change"]
        for metadata in told.values()
        if metadata.get("restated_rows") and metadata.get("outcome") != UNCHANGED
    ]
    if len(lines) > RESTATEMENTS_SHOWN:
        rest = f"and {len(lines) - RESTATEMENTS_SHOWN} more, which docs/recipes.md asks for by SQL"
        lines = [*lines[:RESTATEMENTS_SHOWN], rest]
    return "\n".join(["\n", *lines]) if lines else ""


def _pictures(results: Sequence[dg.JobExecutionResult]) -> str:
    """Return where each picture that was drawn lies."""
    told = _told([result for result in results if result.success])
    return "".join(f"\npicture   {metadata['svg_file']}" for metadata in told.values())


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value or "")


def _conclusion(
    settings: Settings,
    warehouse: Warehouse,
    progress: Progress,
    failed: Sequence[dg.JobExecutionResult],
) -> str:
    lines = [""]
    if progress.unchanged:
        lines += [
            f"{progress.unchanged} of {progress.of} partitions: nothing changed at the source"
        ]
    lines += failures(failed)
    lines += [
        f"The data lies in {warehouse.shown_url}, all that was fetched in "
        f"{without_secrets(settings.artifacts_url or str(settings.state_path / 'artifacts'))}.",
    ]
    if not failed:
        real = "; FINRA_SOURCE=api loads FINRA's own data" if settings.is_demo else ""
        lines += [f"Next: `make ui`, with the same settings, shows these runs{real}."]
    return "\n".join(lines)


def derive(instance: dg.DagsterInstance, warehouse: Warehouse) -> list[dg.JobExecutionResult]:
    """Run the jobs of the gold that is out of date, as the sensors would."""
    # Not above: it reads the settings, and wrong ones are to end `main` with a message.
    from orchestration_project.assets.finra import WEEKS_OF_ALL_TIERS, week_keys

    landed = warehouse.changes(finra_otc_weekly)
    windows = filter(week_keys().__contains__, outdated_windows(warehouse, landed))
    results = [execute(instance, "finra_gold", between=each) for each in tier_ranges(windows)]
    weeks = filter(WEEKS_OF_ALL_TIERS.has_partition_key, outdated_tier_weeks(warehouse, landed))
    results += [execute(instance, "finra_tier_week", between=each) for each in week_ranges(weeks)]
    return results


def draw(instance: dg.DagsterInstance, warehouse: Warehouse) -> list[dg.JobExecutionResult]:
    """Draw the picture of what is landed, unless the latest shows that already."""
    from orchestration_project.sensors.finra.derived import drawn_version

    version = made_of(warehouse)
    if version is None or version == drawn_version(instance):
        return []
    return [execute(instance, "finra_trade_activity")]
