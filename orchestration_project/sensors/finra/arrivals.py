"""When weeks are loaded because FINRA has them: published for the first time, or changed."""

from collections.abc import Collection, Iterable, Mapping, Sequence

import dagster as dg

from orchestration_project.assets.finra import OTC_WEEKLY, WEEKS, list_week_keys, otc_weekly_job
from orchestration_project.domains.finra.selection import (
    TierWeek,
    horizon_start,
    of_known_tiers,
    parsed,
    sweep_start,
)
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.domains.finra.tables import weekly as tables
from orchestration_project.domains.finra.ticks import (
    PublishedWeeks,
    ReadWeeks,
    Sweep,
    plan_publication,
    plan_restatement,
    plan_runs,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.ticks import PlannedRun, TickPlan, choose_runs
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import SourceError
from orchestration_project.resources.finra.source import FinraSource, versions_of
from orchestration_project.sensors.definitions import (
    build_answer,
    keys_under_way,
    read_known_keys,
    record_plan,
    sensor,
)

PROFILE, NEEDS = "weekly-finra", "FINRA_SOURCE"

SECONDS_BETWEEN_LISTINGS = 900
"""FINRA names no hour of publication; a look is one request and a small query."""

DATABASE_SEPARATOR = " of "
"""In a cursor, between a day and what identifies the database; a user may set the day alone."""

SECONDS_BETWEEN_SWEEPS = 3600
"""Restatements come months after a week: an hour does not matter, a look is four requests."""


@sensor(
    job=otc_weekly_job,
    minimum_interval_seconds=SECONDS_BETWEEN_LISTINGS,
    profile=PROFILE,
    needs=NEEDS,
)
def finra_on_publication(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    finra: dg.ResourceParam[FinraSource],
    settings: dg.ResourceParam[FinraSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SensorResult | dg.SkipReason:
    """Request the weeks within the horizon that FINRA lists and that were never taken.

    The cursor names what the last look found missing in vain, so that such a look is not repeated
    on the same day; it may be reset at any time.
    """
    weeks = read_published_weeks(clock, finra, settings, warehouse)
    running = _find_loading(context.instance, weeks.missing)
    unread = weeks.find_unread(running, context.cursor)
    read = _read_first(context, finra, unread, weeks, settings.finra_max_runs_per_tick)
    plan = plan_publication(weeks, running, read, context.cursor)
    listed = weeks.keys
    return _answer(context, plan, "finra_on_publication", listed, clock, warehouse)


@sensor(
    job=otc_weekly_job,
    minimum_interval_seconds=SECONDS_BETWEEN_SWEEPS,
    profile=PROFILE,
    needs=f"{NEEDS}, and loaded weeks",
)
def finra_on_restatement(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    finra: dg.ResourceParam[FinraSource],
    settings: dg.ResourceParam[FinraSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SensorResult | dg.SkipReason:
    """Request the weeks that were taken and that FINRA has changed since.

    The cursor is the day up to which every change was taken, and by which database; it moves when
    nothing is left to take.
    """
    loaded = warehouse.known_versions(tables.finra_otc_weekly)
    tier_weeks = _select_with_partition(map(parsed, loaded))
    sweep = _read_sweep(context.cursor, clock, finra, warehouse, loaded, tier_weeks)
    running = _find_loading(context.instance, sweep.changed)
    known_keys = read_known_keys(context.instance, sweep.build_runs(running))
    plan = plan_restatement(sweep, running, known_keys, settings.finra_max_runs_per_tick)
    suspects = {week.key for week in sweep.suspects}
    return _answer(context, plan, "finra_on_restatement", suspects, clock, warehouse)


def read_published_weeks(
    clock: Clock, finra: FinraSource, settings: FinraSettings, warehouse: Warehouse, weeks: int = 0
) -> PublishedWeeks:
    """Return the weeks that FINRA lists of the horizon, or of the last ``weeks`` if these are more.

    Raises:
        SourceError: FINRA's list cannot be read.
    """
    today, horizon = clock.today_in_new_york(), settings.finra_lookback_weeks
    published = finra.published(since=horizon_start(today, max(horizon, weeks)))
    listed, unknown = of_known_tiers(published)
    return PublishedWeeks(
        listed=listed,
        unknown=unknown,
        loaded=warehouse.known_versions(tables.finra_otc_weekly),
        partitions=list_week_keys(),
        today=today,
        horizon=horizon,
    )


def _read_sweep(
    cursor: str | None,
    clock: Clock,
    finra: FinraSource,
    warehouse: Warehouse,
    loaded: Mapping[str, Collection[str]],
    weeks: Sequence[TierWeek],
) -> Sweep:
    """Return which loaded weeks FINRA may have changed since the cursor, and their versions."""
    today = clock.today_in_new_york()
    database = f"{warehouse.first_landed_at(tables.finra_otc_weekly)}"
    day, _, text = (cursor or "").partition(DATABASE_SEPARATOR)
    since, suspects = today, list[TierWeek]()
    if weeks:
        since = sweep_start(day if text in ("", database) else None, weeks, today=today)
        suspects = finra.maybe_changed(weeks, since=since, until=today)
    versions, refusals = versions_of(finra, suspects)
    return Sweep(
        loaded=loaded,
        week_count=len(weeks),
        suspects=suspects,
        versions=versions,
        refusals=refusals,
        since=since,
        today=today,
        next_cursor=f"{today}{DATABASE_SEPARATOR}{database}",
    )


def _select_with_partition(partitions: Iterable[TierWeek]) -> list[TierWeek]:
    """Leave out what lies before FINRA_FIRST_WEEK."""
    keys = list_week_keys()
    return [partition for partition in partitions if partition.key in keys]


def _find_loading(
    instance: dg.DagsterInstance, partitions: Collection[TierWeek]
) -> frozenset[TierWeek]:
    """Return those of the partitions that a run loads now, or will: of the job or a backfill."""
    keys = keys_under_way(instance, otc_weekly_job.name, OTC_WEEKLY, WEEKS)
    return frozenset(partition for partition in partitions if partition.key in keys)


def _read_first(
    context: dg.SensorEvaluationContext,
    finra: FinraSource,
    unread: Sequence[TierWeek],
    weeks: PublishedWeeks,
    max_runs: int,
) -> ReadWeeks:
    """Read the versions of missing weeks until ``max_runs`` of them need a run that is new."""
    new: list[PlannedRun] = []
    requested_today: list[PlannedRun] = []
    refusals: dict[str, SourceError] = {}
    while unread and len(new) < max_runs:
        room = max_runs - len(new)
        batch, unread = unread[:room], unread[room:]
        versions, refused = versions_of(finra, batch)
        runs = plan_runs(batch, versions, weeks.today)
        chosen = choose_runs(runs, read_known_keys(context.instance, runs))
        new += chosen.requested
        requested_today += chosen.requested_today
        refusals |= refused
    return ReadWeeks(new=new, requested_today=requested_today, rest=unread, refusals=refusals)


def _answer(
    context: dg.SensorEvaluationContext,
    plan: TickPlan,
    automation: str,
    listed: Collection[str],
    clock: Clock,
    warehouse: Warehouse,
) -> dg.SensorResult | dg.SkipReason:
    """Record and log the plan of a tick, and return it for Dagster."""
    table_name = tables.finra_otc_weekly.name
    record_plan(warehouse, table_name, automation, listed=listed, plan=plan, now=clock.now())
    if plan.message:  # Dagster shows no reason of a tick that requests runs
        context.log.info(plan.message, extra={"event": "week_runs_requested"})
    return build_answer(plan)
