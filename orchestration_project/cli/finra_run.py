"""`run finra`: load each tier's latest published weeks, derive what follows, report both."""

from collections.abc import Sequence

import dagster as dg

from orchestration_project.cli import console
from orchestration_project.cli.execution import (
    ProgressLine,
    RunResults,
    document,
    execute,
    failures,
    materializations_of,
    outcome_of,
    results_of,
    run_over,
)
from orchestration_project.cli.exit_statuses import EXIT_STATUSES
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.domains.finra.calendar import WEEKS_AT_FIRST
from orchestration_project.domains.finra.recomputation import tier_ranges, week_ranges
from orchestration_project.domains.finra.selection import (
    TierWeek,
    key_ranges,
    latest_weeks,
    of_known_tiers,
    summary,
)
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.derived import find_outdated
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, SourceError
from orchestration_project.instance.storage import open_instance
from orchestration_project.resources.finra.activity import made_of
from orchestration_project.resources.finra.connection import open_finra, open_http
from orchestration_project.resources.finra.gold import TIER_WEEKS, WINDOWS
from orchestration_project.resources.finra.source import published_lately
from orchestration_project.services.links import name_in
from orchestration_project.settings import Settings, load_settings, without_query, without_secrets

JOB = "finra_otc_weekly"


def run(weeks: int | None) -> int:
    """Load the latest published ``weeks`` of each tier; return the exit status."""
    count = weeks or WEEKS_AT_FIRST
    settings = load_settings()
    _refuse_too_many(count)
    if console.OUTPUT.is_dry_run:
        _preview(settings, count)
        return 0
    with (
        full_disk_explained(settings),
        open_instance() as instance,
        open_warehouse(settings) as warehouse,
    ):
        console.progress(f"source    {_name_source(settings)}")
        console.progress(f"database  {warehouse.shown_url}")
        chosen = _find_latest(settings, count)
        console.progress(f"weeks     the {count} latest of each tier: {len(chosen)} partitions\n")
        with ProgressLine(len(chosen)) as progress:
            results = run_over(instance, JOB, key_ranges(chosen), progress)
        results += derive(instance, warehouse)
        run_results = _collect_results(warehouse, results)
        console.echo(str(run_results))
        results += (pictures := draw(instance, warehouse))
        console.echo(_list_pictures(settings, pictures))
        failed = [result for result in results if not result.success]
        console.echo(_render_conclusion(settings, warehouse, progress, failed))
    if console.OUTPUT.is_json:
        console.emit(document(run_results, progress.outcomes, results))
    return EXIT_STATUSES[outcome_of(results)]


def _preview(settings: Settings, count: int) -> None:
    weeks = _find_latest(settings, count)
    console.preview(
        f"{len(weeks)} partitions of {JOB} would be loaded: {summary(weeks)}",
        job=JOB,
        runs=key_ranges(weeks),
        partition_count=len(weeks),
    )


def _refuse_too_many(weeks: int) -> None:
    # Not at the top, as in `_find_latest`.
    from orchestration_project.assets.finra.catalogue import WEEKS_OF_ALL_TIERS

    there_are = WEEKS_OF_ALL_TIERS.get_num_partitions()
    if weeks > there_are:
        first = WEEKS_OF_ALL_TIERS.get_first_partition_key()
        raise ConfigurationError(
            f"invalid --weeks {weeks}: expected at most {there_are}, e.g. 8",
            found=f"{there_are} weekly partitions, from {first} on",
            remedy="ask for fewer weeks, or set FINRA_FIRST_WEEK to an earlier Monday",
        )


def _name_source(settings: Settings) -> str:
    settings = FinraSettings.of(settings)
    return {
        "demo": "demo (synthetic data from the embedded source)",
        "api": f"api ({without_query(settings.finra_api_url)})",
        "files": f"files ({settings.finra_files_dir})",
    }.get(str(settings.finra_source), "none: FINRA_SOURCE is not set")


def _find_latest(settings: Settings, weeks: int) -> list[TierWeek]:
    # Not at the top: this import reads the settings, and `main` reports invalid ones.
    from orchestration_project.assets.finra import list_week_keys

    with open_http(settings) as http:
        today = open_clock(settings).today_in_new_york()
        published = published_lately(open_finra(settings, http), weeks, today=today)
    tier_weeks, unknown = of_known_tiers(published)
    if unknown:
        console.progress(f"left out  partitions of undocumented tiers: {', '.join(unknown)}")
    keys = list_week_keys()
    there_are = latest_weeks([week for week in tier_weeks if week.key in keys], weeks)
    outside = [week for week in latest_weeks(tier_weeks, weeks) if week.key not in keys]
    if outside:
        console.progress(f"left out  without a partition: {summary(outside)}")
    if not there_are:
        raise SourceError(
            "no week to load",
            expected="a published week that is a partition",
            found=f"{len(tier_weeks)} published weeks, "
            f"{len(outside)} of the latest without a partition",
            remedy="look at FINRA_SOURCE, at what lies in FINRA_FILES_DIR, at FINRA_FIRST_WEEK "
            "and DEMO_CLOCK_NOW",
        )
    return there_are


def _collect_results(warehouse: Warehouse, results: Sequence[dg.JobExecutionResult]) -> RunResults:
    # Not at the top, as in `_find_latest`.
    from orchestration_project.assets.finra import WEEKLY_RUN_SUMMARY

    return results_of(warehouse, results, WEEKLY_RUN_SUMMARY)


def _list_pictures(settings: Settings, results: Sequence[dg.JobExecutionResult]) -> str:
    """Return the address of each picture that was drawn, which opens also where no UI runs."""
    drawn = materializations_of([result for result in results if result.success])
    files = [metadata["svg_file"] for metadata in drawn.values() if "svg_file" in metadata]
    names = [name_in(str(file)) for file in files]
    return "".join(f"\npicture   {open_store(settings).url}/{name}" for name in names)


def _render_conclusion(
    settings: Settings,
    warehouse: Warehouse,
    progress: ProgressLine,
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
    # Not at the top: this import reads the settings, and `main` reports invalid ones.
    from orchestration_project.assets.finra import WEEKS_OF_ALL_TIERS, list_week_keys

    windows = filter(list_week_keys().__contains__, find_outdated(warehouse, WINDOWS)[1])
    results = [
        execute(instance, "finra_gold", between=tier_range) for tier_range in tier_ranges(windows)
    ]
    weeks = filter(WEEKS_OF_ALL_TIERS.has_partition_key, find_outdated(warehouse, TIER_WEEKS)[1])
    results += [
        execute(instance, "finra_tier_week", between=week_range)
        for week_range in week_ranges(weeks)
    ]
    return results


def draw(instance: dg.DagsterInstance, warehouse: Warehouse) -> list[dg.JobExecutionResult]:
    """Derive symbols and draw all charts, unless the latest show what is loaded already."""
    from orchestration_project.assets.finra.daily import DERIVED
    from orchestration_project.sensors.finra.derived import drawn_version

    version = made_of(warehouse)
    if version is None or version == drawn_version(instance):
        return []
    return [execute(instance, "finra_daily", assets=sorted(DERIVED))]
