"""Partition definitions, and the runner that takes a run's partitions one by one."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Generic, TypeVar

import dagster as dg

from orchestration_project.domains.finra.calendar import TIERS, WEEK, monday_of
from orchestration_project.errors import ContractError, OrchestrationError
from orchestration_project.resources.warehouse import SupersededError

DEFAULT_HISTORY = 52 * WEEK
"""FINRA keeps about a year in its current dataset."""

ATTEMPTS_AGAINST_OTHERS = 4
"""How often a partition is taken again because another run delivered it first."""

Report = Mapping[dg.AssetKey, Mapping[str, Any]]
"""What the load of one partition has to say about each of its assets."""

Taken = TypeVar("Taken")


def finra_tier_weeks(
    first_week: date | None, *, now: date, machine_now: date
) -> dg.MultiPartitionsDefinition:
    """Return tier x week, from ``first_week`` (default: a year back) to the last full week.

    Dagster ends weekly partitions by ``machine_now``; the offset makes that the project's ``now``.
    """
    start = first_week or monday_of(now) - DEFAULT_HISTORY
    weeks = dg.WeeklyPartitionsDefinition(
        start_date=start.isoformat(),
        day_offset=1,  # FINRA's weeks start on Mondays, Dagster's on Sundays
        end_offset=(monday_of(now) - monday_of(machine_now)) // timedelta(days=7),
    )
    return dg.MultiPartitionsDefinition(
        {"tier": dg.StaticPartitionsDefinition(list(TIERS)), "week": weeks}
    )


@dataclass(frozen=True)
class Outcome:
    """How one partition of a run ended: with a report, or with why it was held back."""

    partition_key: str
    report: Report | None
    error: OrchestrationError | None


@dataclass(frozen=True)
class Load(Generic[Taken]):
    """How a partition is loaded: ``take`` fetches and checks it, ``land`` writes it.

    ``take`` of the next partition runs while ``land`` writes the present one.
    """

    take: Callable[[str], Taken]
    land: Callable[[Taken], Report]


def each_partition(context: dg.AssetExecutionContext, load: Load[Taken]) -> list[Outcome]:
    """Load the run's partitions one by one: each lands, or is held back, alone.

    Our own errors become outcomes; any other is a defect and ends the run. A step's second
    attempt leaves out what its first one was refused for good.
    """
    outcomes = _refused_before(context)
    refused = {outcome.partition_key for outcome in outcomes}
    keys = [key for key in context.partition_keys if key not in refused]
    started = time.monotonic()
    with ThreadPoolExecutor(1, thread_name_prefix="take") as pool:
        taken = [pool.submit(load.take, key) for key in keys[:1]]
        for place, key in enumerate(keys):
            present = taken.pop()
            taken += [pool.submit(load.take, ahead) for ahead in keys[place + 1 : place + 2]]
            outcome = _outcome(context, key, present, load)
            outcomes.append(outcome)
            _log_progress(context, outcome, place + 1, len(keys), time.monotonic() - started)
    return outcomes


def _outcome(
    context: dg.AssetExecutionContext, key: str, taken: Future[Taken], load: Load[Taken]
) -> Outcome:
    try:
        return Outcome(key, _landed(key, taken.result, load, ATTEMPTS_AGAINST_OTHERS), None)
    except OrchestrationError as error:
        return Outcome(key, None, error.within(partition=key, run=context.run_id))


def _landed(
    key: str, take: Callable[[], Taken], load: Load[Taken], attempts: int
) -> Report:
    """Land a partition; when another run delivered it first, look at it again."""
    try:
        return load.land(take())
    except SupersededError:
        if attempts == 1:
            raise
    return _landed(key, lambda: load.take(key), load, attempts - 1)


def _log_progress(
    context: dg.AssetExecutionContext, outcome: Outcome, done: int, of: int, seconds: float
) -> None:
    left = seconds / done * (of - done)
    place = f"{outcome.partition_key} ({done} of {of}, about {left:.0f} s left)"
    if outcome.error is not None:
        context.log.error(f"{place} is held back: {outcome.error}")
    else:
        context.log.info(f"{place} is done")


def settle(
    context: dg.AssetExecutionContext,
    outcomes: Sequence[Outcome],
    check_results: Sequence[dg.AssetCheckResult],
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Any]]:
    """Tell Dagster how the partitions ended; the good ones are materialized in any case.

    Raises:
        Failure: At least one partition was held back. Dagster tries the step once more if that
            may help.
    """
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in outcomes:
        for asset_key, metadata in (outcome.report or {}).items():
            _note(context, asset_key, outcome.partition_key, metadata, by_hand=bool(failed))
    for outcome in failed:
        for asset_key in context.selected_asset_keys:
            context.log_event(_observation(asset_key, outcome))
    yield from check_results  # with these, Dagster also stores the events logged above
    if failed:
        raise _failure(failed, len(outcomes))
    for asset_key in sorted(context.selected_asset_keys):
        yield dg.MaterializeResult(asset_key=asset_key)


def _note(
    context: dg.AssetExecutionContext,
    asset_key: dg.AssetKey,
    partition_key: str,
    metadata: Mapping[str, Any],
    *,
    by_hand: bool,
) -> None:
    """On success Dagster emits a materialization for each partition; on failure we must."""
    if by_hand:
        event = dg.AssetMaterialization(asset_key, partition=partition_key, metadata=metadata)
        context.log_event(event)
    else:
        context.add_asset_metadata(metadata, asset_key=asset_key, partition_key=partition_key)


def _observation(asset_key: dg.AssetKey, outcome: Outcome) -> dg.AssetObservation:
    error = outcome.error
    assert error is not None  # noqa: S101 - only failed outcomes are observed
    return dg.AssetObservation(
        asset_key,
        partition=outcome.partition_key,
        metadata={
            "outcome": "held back",
            "category": error.category,
            "is_retryable": error.is_retryable,
            "reason": str(error),
        },
    )


def _refused_before(context: dg.AssetExecutionContext) -> list[Outcome]:
    """Return what an earlier attempt of this step was refused for good."""
    if context.retry_number == 0:
        return []
    records = context.instance.get_records_for_run(
        context.run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION
    ).records
    refused: dict[str, OrchestrationError] = {}
    for record in records:
        observation = record.asset_observation
        if observation is not None and observation.partition is not None:
            told = {name: value.value for name, value in observation.metadata.items()}
            if told.get("outcome") == "held back" and not told["is_retryable"]:
                refused[observation.partition] = ContractError(str(told["reason"]))
    return [Outcome(key, None, error) for key, error in refused.items()]


def _failure(failed: Sequence[Outcome], of: int) -> dg.Failure:
    errors = {outcome.partition_key: outcome.error for outcome in failed}
    listed = "\n".join(f"{key}: {error}" for key, error in errors.items())
    return dg.Failure(
        f"{len(failed)} of {of} partitions held back: {', '.join(errors)}\n{listed}",
        metadata={"held_back": list(errors)},
        allow_retries=any(error is not None and error.is_retryable for error in errors.values()),
    )
