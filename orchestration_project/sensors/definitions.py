"""Shared part of all sensors and schedules: description, and runs in progress."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any

import dagster as dg

from orchestration_project.contracts.automation import PROFILE, automation_text, interval_text
from orchestration_project.contracts.derivations import RecomputationRequest
from orchestration_project.contracts.partition_tags import RANGE_END, RANGE_START
from orchestration_project.engine.loads import partition_keys
from orchestration_project.errors import ConfigurationError


def sensor(
    *, profile: str, needs: str = "", what: str = "", **options: Any
) -> Callable[[Callable[..., Any]], dg.SensorDefinition]:
    """Do what `dg.sensor` does, whose ``options`` these are, and describe the sensor.

    Args:
        profile: The profile that switches it on.
        needs: Settings and loaded data without which it has nothing to do.
        what: What it does; default: the first line of the function's docstring.
        options: Those of `dg.sensor`.
    """
    jobs = [options["job"]] if "job" in options else options.get("jobs", [])
    names = ", ".join(each.name for each in jobs)
    seconds = options["minimum_interval_seconds"]
    trigger = f"Looks {interval_text(seconds)} and " + (
        f"starts {names}" if names else "does the work in the tick itself"
    )
    is_on = options.get("default_status") == dg.DefaultSensorStatus.RUNNING

    def described(decide: Callable[..., Any]) -> dg.SensorDefinition:
        text = automation_text(
            what or _first_doc_line(decide), trigger, needs=needs, profile=profile, is_on=is_on
        )
        define = dg.sensor(**options, description=text, metadata={PROFILE: profile})
        return define(_at_one_time(decide))

    return described


def schedule(
    *, profile: str, needs: str = "", what: str = "", **options: Any
) -> Callable[[Callable[..., Any]], dg.ScheduleDefinition]:
    """Do what `dg.schedule` does, whose ``options`` these are, and describe the schedule.

    The other arguments are those of `sensor`.
    """

    def described(decide: Callable[..., Any]) -> dg.ScheduleDefinition:
        kept = _described_schedule(what or _first_doc_line(decide), profile, needs, options)
        return dg.schedule(**options, **kept)(_at_one_time(decide))

    return described


def cron_schedule(
    *, profile: str, what: str, needs: str = "", **options: Any
) -> dg.ScheduleDefinition:
    """Return a schedule that always starts its job, described as those of `schedule` are."""
    kept = _described_schedule(what, profile, needs, options)
    return dg.ScheduleDefinition(**options, **kept)


def _at_one_time(decide: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``decide`` with one present for all partitions that it asks for.

    For each further present, Dagster walks through all days from then to the last partition, which
    are many where a demo's clock is set.
    """

    @wraps(decide)
    def decided(*args: Any, **resources: Any) -> Any:
        with dg.partition_loading_context():
            return decide(*args, **resources)

    return decided


def _described_schedule(
    what: str, profile: str, needs: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return description and metadata of a schedule with these options."""
    zone, cron = options["execution_timezone"], options["cron_schedule"]
    trigger = f"Starts {options['job'].name} by the cron `{cron}` ({zone})"
    is_on = options.get("default_status") == dg.DefaultScheduleStatus.RUNNING
    text = automation_text(what, trigger, needs=needs, profile=profile, is_on=is_on)
    return {"description": text, "metadata": {PROFILE: profile}}


def _first_doc_line(decide: Callable[..., Any]) -> str:
    return str(decide.__doc__).partition("\n")[0]


ACTIVE_STATUSES = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def while_under_way(instance: dg.DagsterInstance, job: str) -> dg.SkipReason | None:
    """Return what a tick says while a run of the job is under way; None: none is."""
    running = instance.get_runs(dg.RunsFilter(job_name=job, statuses=ACTIVE_STATUSES), limit=1)
    return dg.SkipReason(f"The run {running[0].run_id} of {job} is under way.") if running else None


RUN_KEY = "dagster/run_key"
ONCE_A_DAY = "a run that brings nothing is asked for again the day after."


def keys_under_way(
    instance: dg.DagsterInstance,
    job: str,
    asset: dg.AssetKey,
    definition: dg.PartitionsDefinition | None,
) -> frozenset[str]:
    """Return the partitions that a run of the job, or of a backfill of the asset, loads or will."""
    runs = [
        run
        for run in instance.get_runs(dg.RunsFilter(statuses=ACTIVE_STATUSES))
        if run.job_name == job or asset in (run.asset_selection or ())
    ]
    keys: set[str] = set()
    for run in runs:
        with suppress(ConfigurationError):  # such a run fails before it loads anything
            keys.update(partition_keys(run.tags, definition))
    return frozenset(keys)


def not_yet_asked(
    instance: dg.DagsterInstance, requests: Iterable[dg.RunRequest]
) -> Sequence[dg.RunRequest]:
    """Return the requests whose run key no run has: for the others Dagster starts none."""
    return [
        request
        for request in requests
        if not instance.get_runs(dg.RunsFilter(tags={RUN_KEY: str(request.run_key)}), limit=1)
    ]


def request_derivations(
    context: dg.SensorEvaluationContext, runs: Sequence[RecomputationRequest], left_out: str = ""
) -> dg.SensorResult | dg.SkipReason:
    """Return what is asked for; a tick that asks for runs has no message, so its log says it."""
    wanted = not_yet_asked(context.instance, map(_request, runs))
    if not wanted:
        known = ", ".join(f"{run.first} to {run.last}" for run in runs)
        return dg.SkipReason(f"Not derived, and asked for today: {known}; {ONCE_A_DAY}{left_out}")
    asked = ", ".join(f"{each.tags[RANGE_START]} to {each.tags[RANGE_END]}" for each in wanted)
    context.log.info(f"Requested {asked}.{left_out}", extra={"event": "derivation_runs_requested"})
    return dg.SensorResult(run_requests=list(wanted))


def _request(run: RecomputationRequest) -> dg.RunRequest:
    return dg.RunRequest(run_key=run.run_key, tags={RANGE_START: run.first, RANGE_END: run.last})
