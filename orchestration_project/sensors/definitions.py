"""Shared part of all sensors and schedules: description, runs in progress, and plans."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any

import dagster as dg
from sqlalchemy import Table

from orchestration_project.engine.contracts.automation import (
    PROFILE,
    describe_automation,
    format_interval,
)
from orchestration_project.engine.contracts.balance import FAILED, Balance
from orchestration_project.engine.contracts.derivations import (
    RecomputationRequest,
    plan_derivations,
    plan_run,
)
from orchestration_project.engine.contracts.pauses import RUNS_WHILE_PAUSED, Pause
from orchestration_project.engine.contracts.ticks import (
    REQUESTED,
    TICK,
    PlannedRun,
    TickPlan,
    balance_tick,
)
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.equations import SubjectBalance, read_balance, record_balance
from orchestration_project.engine.loads import read_partition_keys
from orchestration_project.engine.run_statuses import ACTIVE_STATUSES
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.balancing import forget_failure
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.registry import AnyJob
from orchestration_project.services.backfills import (
    REQUESTED_BY,
    find_active_backfill,
    request_backfill,
)
from orchestration_project.services.pauses import Pauses, pause_of_job
from orchestration_project.settings import load_shared_settings


def sensor(
    *, profile: str, needs: str = "", what: str = "", **options: Any
) -> Callable[[Callable[..., Any]], dg.SensorDefinition]:
    """Declare a sensor with the ``options`` of `dg.sensor`, and describe it.

    Args:
        profile: The profile that switches it on.
        needs: Settings and loaded data without which it has nothing to do.
        what: What it does; default: the first line of the function's docstring.
        options: Those of `dg.sensor`.
    """
    jobs = [options["job"]] if "job" in options else options.get("jobs", [])
    names = ", ".join(item.name for item in jobs)
    seconds = options["minimum_interval_seconds"]
    trigger = f"Looks {format_interval(seconds)} and " + (
        f"starts {names}" if names else "does the work in the tick itself"
    )
    is_on = options.get("default_status") == dg.DefaultSensorStatus.RUNNING

    def described(decide: Callable[..., Any]) -> dg.SensorDefinition:
        text = describe_automation(
            what or _read_first_doc_line(decide), trigger, needs=needs, profile=profile, is_on=is_on
        )
        define = dg.sensor(**options, description=text, metadata={PROFILE: profile})
        return define(_skip_while_paused(_hold_time(decide), [job.name for job in jobs]))

    return described


def schedule(
    *, profile: str, needs: str = "", what: str = "", **options: Any
) -> Callable[[Callable[..., Any]], dg.ScheduleDefinition]:
    """Declare a schedule with the ``options`` of `dg.schedule`, and describe it.

    The other arguments are those of `sensor`.
    """

    def described(decide: Callable[..., Any]) -> dg.ScheduleDefinition:
        described_schedule = _describe_schedule(
            what or _read_first_doc_line(decide), profile, needs, options
        )
        jobs = [options["job"].name]
        return dg.schedule(**options, **described_schedule)(
            _skip_while_paused(_hold_time(decide), jobs)
        )

    return described


def cron_schedule(
    *,
    profile: str,
    what: str,
    needs: str = "",
    assets: Sequence[dg.AssetKey] | None = None,
    **options: Any,
) -> dg.ScheduleDefinition:
    """Return a schedule that always starts its job, described as those of `schedule` are.

    A run makes these assets of the job, or all.
    """
    described_schedule = _describe_schedule(what, profile, needs, options)
    run_config = options.pop("run_config", {})

    def start_job(
        context: dg.ScheduleEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.RunRequest:
        """Start the job."""
        return dg.RunRequest(run_config=run_config, asset_selection=assets)

    define = dg.schedule(**options, **described_schedule)
    return define(_skip_while_paused(start_job, [options["job"].name]))


DAILY_CRON = "0 13 * * *"
"""After the loads of the morning, and an hour after the default grace of freshness ends."""


def daily_schedule(
    job: AnyJob,
    freshness: Sequence[dg.AssetChecksDefinition],
    *,
    profile: str,
    needs: str,
    what: str,
    zone: str,
) -> dg.ScheduleDefinition:
    """Return the schedule of a domain's daily job.

    While a pause holds the job, its freshness checks run alone: their results name the pause.
    """
    keys = [spec.key for check in freshness for spec in check.check_specs]

    def start_job(
        context: dg.ScheduleEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.RunRequest:
        """Start the job, or its freshness checks alone."""
        pauses = _read_pauses(context, {"warehouse": warehouse})
        if _pause_of_all(context, pauses, [job.name]) is None:
            return dg.RunRequest()
        return dg.RunRequest(asset_check_keys=keys, tags=RUNS_WHILE_PAUSED)

    options = {
        "name": job.name,
        "job": job,
        "cron_schedule": DAILY_CRON,
        "execution_timezone": zone,
    }
    return dg.schedule(**options, **_describe_schedule(what, profile, needs, options))(start_job)


CONTEXTS = (dg.SensorEvaluationContext, dg.ScheduleEvaluationContext)
"""Contexts of ticks, which Dagster passes under the name that a function gives them."""


def _skip_while_paused(decide: Callable[..., Any], jobs: Sequence[str]) -> Callable[..., Any]:
    """Return ``decide`` for ticks while a job of ``jobs`` may start; otherwise they are skipped.

    A tick without jobs starts no run, so no pause holds it.
    """
    if not jobs:
        return decide

    @wraps(decide)
    def decide_unless_paused(*args: Any, **named: Any) -> Any:
        [context] = [part for part in (*args, *named.values()) if isinstance(part, CONTEXTS)]
        pause = _pause_of_all(context, _read_pauses(context, named), jobs)
        return decide(*args, **named) if pause is None else dg.SkipReason(pause.text)

    return decide_unless_paused


TickContext = dg.SensorEvaluationContext | dg.ScheduleEvaluationContext


def _read_pauses(context: TickContext, named: Mapping[str, Any]) -> Sequence[Pause]:
    """Return the pauses in the database of a tick; none while that is away.

    The database is an argument of the tick, a resource, or if it has none, opened for this.
    """
    given = named.get("warehouse") or getattr(context.resources, "warehouse", None)
    try:
        with nullcontext(given) if given else open_warehouse(load_shared_settings()) as warehouse:
            return Pauses(warehouse).list_in_effect()
    except OrchestrationError:
        return []


def _pause_of_all(
    context: TickContext, pauses: Sequence[Pause], jobs: Sequence[str]
) -> Pause | None:
    """Return a pause if each of the jobs has one.

    The runs of a job that is paused beside others wait in the queue, as all do that a tick requests
    while the database is away.
    """
    if not pauses:
        return None
    repository = context.repository_def
    if repository is None:
        raise AssertionError("Dagster gives a tick its repository")
    matching = [pause_of_job(pauses, repository.get_job(job)) for job in jobs]
    return matching[0] if all(matching) else None


def _hold_time(decide: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``decide`` with one present for all partitions that it requests.

    For each further present, Dagster walks through all days from then to the last partition, which
    are many where a demo's clock is set.
    """

    @wraps(decide)
    def decided(*args: Any, **resources: Any) -> Any:
        with dg.partition_loading_context():
            return decide(*args, **resources)

    return decided


def _describe_schedule(
    what: str, profile: str, needs: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return description and metadata of a schedule with these options."""
    zone, cron = options["execution_timezone"], options["cron_schedule"]
    trigger = f"Starts {options['job'].name} by the cron `{cron}` ({zone})"
    is_on = options.get("default_status") == dg.DefaultScheduleStatus.RUNNING
    text = describe_automation(what, trigger, needs=needs, profile=profile, is_on=is_on)
    return {"description": text, "metadata": {PROFILE: profile}}


def _read_first_doc_line(decide: Callable[..., Any]) -> str:
    return str(decide.__doc__).partition("\n")[0]


def find_run_under_way(instance: dg.DagsterInstance, job: str) -> str:
    """Return the reason to skip a tick while a run of the job is under way; empty: none is."""
    runs = instance.get_runs(dg.RunsFilter(job_name=job, statuses=ACTIVE_STATUSES), limit=1)
    return f"The run {runs[0].run_id} of {job} is under way." if runs else ""


def find_earlier_backfill(instance: dg.DagsterInstance, schedule_name: str) -> str:
    """Return the reason to skip a tick while a backfill of the schedule runs; empty: none does."""
    running = find_active_backfill(instance, {REQUESTED_BY: schedule_name})
    return f"The backfill {running} of an earlier tick is still running." if running else ""


def launch_backfill(
    context: dg.ScheduleEvaluationContext,
    plan: TickPlan,
    schedule_name: str,
    assets: Sequence[dg.AssetKey],
    title: str,
) -> dg.SkipReason:
    """Backfill the partitions that a plan requests; return what the tick did, as Dagster shows it.

    Args:
        context: Of the tick.
        plan: Its decision; `REQUESTED` has the keys.
        schedule_name: The schedule, whose runs the backfill's count as.
        assets: What is backfilled.
        title: What people read of the backfill.
    """
    if plan.skip_reason:
        return dg.SkipReason(plan.skip_reason)
    backfill = request_backfill(
        context.instance,
        context.repository_def,
        assets,
        list(plan.places[REQUESTED]),
        tags={REQUESTED_BY: schedule_name},
        title=title,
    )
    return dg.SkipReason(f"Launched the backfill {backfill}: {plan.message}")


RUN_KEY = "dagster/run_key"


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
            keys.update(read_partition_keys(run.tags, definition))
    return frozenset(keys)


def read_known_keys(instance: dg.DagsterInstance, runs: Iterable[PlannedRun]) -> frozenset[str]:
    """Return the run keys that a run has: for these Dagster starts none."""
    keys = [str(run.run_key) for run in runs]
    return frozenset(
        key for key in keys if instance.get_runs(dg.RunsFilter(tags={RUN_KEY: key}), limit=1)
    )


def build_request(run: PlannedRun) -> dg.RunRequest:
    """Return the request of Dagster for a planned run."""
    return dg.RunRequest(
        run_key=run.run_key,
        partition_key=run.partition_key,
        job_name=run.job_name,
        tags=dict(run.tags),
        run_config=dict(run.run_config),
        asset_selection=[dg.AssetKey.from_user_string(name) for name in run.assets] or None,
    )


def read_request(request: dg.RunRequest) -> PlannedRun:
    """Return a request of Dagster as a planned run."""
    return PlannedRun(
        run_key=request.run_key,
        partition_key=request.partition_key,
        job_name=request.job_name,
        tags=request.tags,
        run_config=request.run_config,
        assets=[key.to_user_string() for key in request.asset_selection or ()],
    )


def find_jobs(context: TickContext, names: Iterable[str]) -> dict[str, dg.JobDefinition]:
    """Return the jobs of these names in the repository of a tick; none where it has none."""
    repository = context.repository_def
    return {} if repository is None else {name: repository.get_job(name) for name in names}


def build_result(
    plan: TickPlan, events: Sequence[dg.AssetMaterialization | dg.AssetObservation] = ()
) -> dg.SensorResult:
    """Return the plan of a sensor's tick for Dagster, and events that the tick records."""
    return dg.SensorResult(
        run_requests=[build_request(run) for run in plan.requests],
        skip_reason=plan.skip_reason or None,
        cursor=plan.cursor,
        asset_events=list(events),
    )


def build_answer(plan: TickPlan) -> dg.SensorResult | dg.SkipReason:
    """Return the plan of a sensor's tick for Dagster: a reason alone, where it has no more."""
    if plan.requests or plan.cursor is not None:
        return build_result(plan)
    return dg.SkipReason(plan.skip_reason)


def build_run(plan: TickPlan) -> dg.RunRequest | dg.SkipReason:
    """Return the plan of a tick that requests one run at most for Dagster."""
    return build_request(plan.requests[0]) if plan.requests else dg.SkipReason(plan.skip_reason)


def record_plan(
    warehouse: Warehouse,
    table_name: str,
    automation: str,
    *,
    listed: Collection[str],
    plan: TickPlan,
    now: datetime,
) -> None:
    """Record where the partitions go that a tick considered, as `record_tick`.

    A plan that is skipped before it considers any has no places, and nothing is compared.

    Raises:
        UnbalancedError: The plan drops or doubles one of the ``listed`` partitions.
    """
    if plan.places:
        record_tick(warehouse, table_name, automation, balance_tick(listed, plan.places), now)


def record_tick(
    warehouse: Warehouse, table_name: str, automation: str, balance: Balance, now: datetime
) -> None:
    """Record the equation of a tick that requests something; of others it is compared alone.

    A failure stays recorded until the next tick of the automation that balances.

    Raises:
        UnbalancedError: It has a difference: the tick dropped or doubled a partition.
    """
    subject = automation
    if not balance.difference:
        _forget_failed_tick(warehouse, table_name, automation)
        if not balance.went_to.get(REQUESTED):
            return
        subject = f"{automation} {now:%Y-%m-%dT%H:%M:%S.%fZ}"
    with warehouse.writing() as connection:
        stage = SubjectBalance(table_name, subject, balance)
        record_balance(connection, stage, run_id="", at=now)


def _forget_failed_tick(warehouse: Warehouse, table_name: str, automation: str) -> None:
    with warehouse.reading() as connection:
        failures = read_balance(connection, table_name, f"{automation}{FAILED}", TICK)
    if failures:
        with warehouse.writing() as connection:
            forget_failure(connection, table_name, automation)


@dataclass(frozen=True)
class DueDerivations:
    """Partitions that a tick has to have derived.

    Attributes:
        automation: Name of the sensor.
        warehouse: Records the equation of the tick.
        table: Table that they are derived of.
        due: Their keys.
        now: When the tick is.
        job_name: Job that derives them.
        current: A sentence for a tick at which none is due.
        left_out: A sentence about partitions that are out of date, and not due.
    """

    automation: str
    warehouse: Warehouse
    table: Table
    due: Collection[str]
    now: datetime
    job_name: str
    current: str = ""
    left_out: str = ""


def decide_derivations(
    context: dg.SensorEvaluationContext,
    runs: Sequence[RecomputationRequest],
    derivation: DueDerivations,
) -> TickPlan:
    """Return which of the runs a tick requests, logged and recorded.

    Raises:
        UnbalancedError: The runs lack a partition that is due, or have it twice.
    """
    due, planned = derivation.due, [plan_run(run, derivation.job_name) for run in runs]
    running = find_run_under_way(context.instance, derivation.job_name) if due else ""
    known_keys = frozenset() if running else read_known_keys(context.instance, planned)
    plan = plan_derivations(
        due,
        planned,
        known_keys,
        running=running,
        current=derivation.current,
        left_out=derivation.left_out,
    )
    record_plan(
        derivation.warehouse,
        derivation.table.name,
        derivation.automation,
        listed=due,
        plan=plan,
        now=derivation.now,
    )
    if plan.message:  # Dagster shows no reason of a tick that requests runs
        context.log.info(plan.message, extra={"event": "derivation_runs_requested"})
    return plan


def request_derivations(
    context: dg.SensorEvaluationContext,
    runs: Sequence[RecomputationRequest],
    derivation: DueDerivations,
) -> dg.SensorResult | dg.SkipReason:
    """Return the plan of `decide_derivations` for Dagster."""
    return build_answer(decide_derivations(context, runs, derivation))
