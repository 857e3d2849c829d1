"""When weeks are loaded because FINRA has them: published for the first time, or changed."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date

import dagster as dg

from orchestration_project.assets.finra import OTC_WEEKLY, WEEKS, otc_weekly_job, week_keys
from orchestration_project.domains.finra.selection import (
    TierWeek,
    by_publication,
    horizon_start,
    of_known_tiers,
    outdated,
    parsed,
    run_key,
    summary,
    sweep_start,
    within_horizon,
)
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.domains.finra.tables import weekly as tables
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import SourceError
from orchestration_project.resources.finra.source import FinraSource, versions_of
from orchestration_project.sensors.definitions import (
    ONCE_A_DAY,
    REQUESTED,
    AskedRequests,
    balance_tick,
    keys_of,
    keys_under_way,
    record_tick,
    sensor,
    split_requests,
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
    """Ask for the weeks within the horizon that FINRA lists and that were never taken.

    The cursor names what the last look found missing in vain, so that such a look is not repeated
    on the same day; it may be reset at any time.
    """
    today, horizon = clock.today_in_new_york(), settings.finra_lookback_weeks
    tier_weeks, unknown = of_known_tiers(finra.published(since=horizon_start(today, horizon)))
    left_out = (
        f" Left out, as tiers that are not documented: {', '.join(unknown)}." if unknown else ""
    )
    in_horizon = within_horizon(tier_weeks, today=today, weeks=horizon)
    recent = _select_with_partition(in_horizon)
    known_versions = warehouse.known_versions(tables.finra_otc_weekly)
    missing = by_publication(
        tier_week for tier_week in recent if tier_week.key not in known_versions
    )
    running = _find_loading(context.instance, missing)
    waiting = [tier_week for tier_week in missing if tier_week not in running]
    not_due = {
        "before_horizon": {week.key for week in tier_weeks}
        - {tier_week.key for tier_week in in_horizon},
        "no_partition": {tier_week.key for tier_week in in_horizon}
        - {tier_week.key for tier_week in recent},
        "loaded": {tier_week.key for tier_week in recent if tier_week.key in known_versions},
        "under_way": [tier_week.key for tier_week in running],
    }
    if not waiting:
        under_way = f" or are being loaded ({summary(running)})" if running else ""
        _record("finra_on_publication", warehouse, clock, tier_weeks, not_due)
        return dg.SkipReason(
            f"Nothing to do: all {len(recent)} partitions published in the last {horizon} weeks "
            f"were taken{under_way}.{left_out}"
        )
    look = _look(waiting, today)
    asked_today = f"Not landed, and asked for today: {summary(waiting)}; {ONCE_A_DAY}{left_out}"
    if context.cursor == look:
        return dg.SkipReason(asked_today)
    finra_max_runs_per_tick = settings.finra_max_runs_per_tick
    asked_requests, rest, refusals = _request_first(
        context, finra, waiting, today, finra_max_runs_per_tick
    )
    places = {
        REQUESTED: keys_of(asked_requests.new),
        "asked_today": keys_of(asked_requests.known),
        "waiting": [tier_week.key for tier_week in rest],
        "refused": refusals,
        **not_due,
    }
    _record("finra_on_publication", warehouse, clock, tier_weeks, places)
    if asked_requests.new:
        return _report_requests(
            context,
            asked_requests.new,
            wait=len(rest),
            left_out=left_out + _describe_refusals(refusals),
        )
    if refusals:  # which may be over in a minute, so the next tick looks again
        return dg.SkipReason(f"Nothing can be asked for.{_describe_refusals(refusals)}{left_out}")
    return dg.SensorResult(skip_reason=asked_today, cursor=look)


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
    """Ask for the weeks that were taken and that FINRA has changed since.

    The cursor is the day up to which every change was taken, and by which database; it moves when
    nothing is left to take.
    """
    today = clock.today_in_new_york()
    seen_names = warehouse.known_versions(tables.finra_otc_weekly)
    tier_weeks = _select_with_partition(map(parsed, seen_names))
    if not tier_weeks:
        return dg.SkipReason("Nothing to do: no week was taken yet.")
    database = f"{warehouse.first_landed_at(tables.finra_otc_weekly)}"
    day, _, text = (context.cursor or "").partition(DATABASE_SEPARATOR)
    since = sweep_start(day if text in ("", database) else None, tier_weeks, today=today)
    suspects = finra.maybe_changed(tier_weeks, since=since, until=today)
    now, refusals = versions_of(finra, suspects)
    changed = by_publication(
        outdated(
            [suspect for suspect in suspects if suspect.key not in refusals],
            seen=seen_names,
            now=now,
        )
    )
    looked = f"{len(tier_weeks)} weeks that were taken, from {since} to {today}"
    if not changed and not refusals:
        reason = f"Nothing to do: FINRA changed none of the {looked}."
        return dg.SensorResult(skip_reason=reason, cursor=f"{today}{DATABASE_SEPARATOR}{database}")
    running = _find_loading(context.instance, changed)
    free = _build_requests(
        [tier_week for tier_week in changed if tier_week not in running], now, today
    )
    split, finra_max_runs_per_tick = (
        split_requests(context.instance, free),
        settings.finra_max_runs_per_tick,
    )
    requested_run_requests = split.new
    places = {
        REQUESTED: keys_of(requested_run_requests[:finra_max_runs_per_tick]),
        "waiting": keys_of(requested_run_requests[finra_max_runs_per_tick:]),
        "asked_today": keys_of(split.known),
        "under_way": [tier_week.key for tier_week in running],
        "refused": refusals,
        "unchanged": [key for key, version in now.items() if version in seen_names[key]],
    }
    _record("finra_on_restatement", warehouse, clock, suspects, places)
    if not requested_run_requests:
        known = f" Being loaded or asked for today: {summary(changed)}; {ONCE_A_DAY}"
        remaining_text = (known if changed else "") + _describe_refusals(refusals)
        return dg.SkipReason(f"Nothing more to ask for of the {looked}.{remaining_text}")
    remaining_text = len(requested_run_requests[finra_max_runs_per_tick:])
    return _report_requests(
        context,
        requested_run_requests[:finra_max_runs_per_tick],
        wait=remaining_text,
        left_out=_describe_refusals(refusals),
    )


def _select_with_partition(partitions: Iterable[TierWeek]) -> list[TierWeek]:
    """Leave out what lies before FINRA_FIRST_WEEK."""
    keys = week_keys()
    return [partition for partition in partitions if partition.key in keys]


def _find_loading(
    instance: dg.DagsterInstance, partitions: Collection[TierWeek]
) -> frozenset[TierWeek]:
    """Return those of the partitions that a run loads now, or will: of the job or a backfill."""
    keys = keys_under_way(instance, otc_weekly_job.name, OTC_WEEKLY, WEEKS)
    return frozenset(partition for partition in partitions if partition.key in keys)


def _look(waiting: Sequence[TierWeek], today: date) -> str:
    keys = "\n".join(tier_week.key for tier_week in waiting)
    return f"{today} {hashlib.sha256(keys.encode()).hexdigest()[:16]}"


def _request_first(
    context: dg.SensorEvaluationContext,
    finra: FinraSource,
    waiting: Sequence[TierWeek],
    today: date,
    most: int,
) -> tuple[AskedRequests, Sequence[TierWeek], Mapping[str, SourceError]]:
    """Return requests for the first ``most`` that have not failed, what is left, and refusals."""
    run_requests: list[dg.RunRequest] = []
    known: list[dg.RunRequest] = []
    refusals: dict[str, SourceError] = {}
    while waiting and len(run_requests) < most:
        room = most - len(run_requests)
        batch, waiting = waiting[:room], waiting[room:]
        versions, refused = versions_of(finra, batch)
        split = split_requests(context.instance, _build_requests(batch, versions, today))
        run_requests += split.new
        known += split.known
        refusals |= refused
    return AskedRequests(run_requests, known), waiting, refusals


def _record(
    automation: str,
    warehouse: Warehouse,
    clock: Clock,
    listed: Iterable[TierWeek],
    places: Mapping[str, Iterable[str]],
) -> None:
    balance = balance_tick({week.key for week in listed}, places)
    record_tick(warehouse, tables.finra_otc_weekly.name, automation, balance, clock.now())


def _build_requests(
    partitions: Sequence[TierWeek], versions: Mapping[str, str], today: date
) -> list[dg.RunRequest]:
    return [
        dg.RunRequest(
            run_key=run_key(partition, versions[partition.key], today), partition_key=partition.key
        )
        for partition in partitions
        if partition.key in versions
    ]


def _describe_refusals(refusals: Collection[str]) -> str:
    return f" FINRA says nothing of {', '.join(sorted(refusals))}." if refusals else ""


def _report_requests(
    context: dg.SensorEvaluationContext,
    requests: Sequence[dg.RunRequest],
    *,
    wait: int,
    left_out: str,
) -> dg.SensorResult:
    """Return the requested runs; a tick that requests runs has no message, so its log says it."""
    partitions = summary(parsed(str(request.partition_key)) for request in requests)
    waiting = f" {wait} more wait for the next tick." if wait else ""
    context.log.info(
        f"Requested {partitions}.{waiting}{left_out}", extra={"event": "week_runs_requested"}
    )
    return dg.SensorResult(run_requests=list(requests))
