"""Partition definitions, and the runner that takes a run's partitions one by one."""

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Generic, Protocol, TypeVar

import dagster as dg

from orchestration_project.domains.finra.calendar import (
    FIRST_WEEK_OF_ALL,
    TIERS,
    WEEK,
    monday_of,
)
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    SourceError,
    TransientError,
)
from orchestration_project.resources.warehouse import SupersededError
from orchestration_project.settings import Settings

A_YEAR = 52 * WEEK
"""What FINRA keeps in its current dataset."""

ATTEMPTS_AGAINST_OTHERS = 4
"""How often a partition is taken again because another run delivered it first."""

PROGRESS = logging.getLogger("orchestration_project.progress")
"""One line for each partition done: Dagster keeps them in the run's event log (dagster.yaml)."""

SECONDS_TO_NEXT_ATTEMPT = 5
"""Before a step's second and last attempt, or as much longer as an error says."""

PARTITION_TAGS = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)

KINDS = {kind.category: kind for kind in (SourceError, ContractError, ConfigurationError)}
"""The errors that are refusals for good, by what an observation says of them."""

Told = dg.AssetCheckResult | dg.AssetObservation | dg.MaterializeResult[Any]
"""What an asset of several partitions yields."""

Taken = TypeVar("Taken")
Loaded = TypeVar("Loaded", covariant=True)


def first_finra_week(settings: Settings, now: date) -> date:
    """Return FINRA_FIRST_WEEK; without it, a year back, and for files, which may be old, all."""
    if settings.finra_first_week is not None:
        return settings.finra_first_week
    return FIRST_WEEK_OF_ALL if settings.finra_source == "files" else monday_of(now) - A_YEAR


def finra_weeks(start: date, *, now: date, machine_now: date) -> dg.WeeklyPartitionsDefinition:
    """Return the weeks from ``start``, a Monday, to the last that has ended by ``now``.

    Dagster ends weekly partitions by ``machine_now``; the offset makes that the project's ``now``.
    """
    return dg.WeeklyPartitionsDefinition(
        start_date=start.isoformat(),
        day_offset=1,  # FINRA's weeks start on Mondays, Dagster's on Sundays
        end_offset=(monday_of(now) - monday_of(machine_now)) // timedelta(days=7),
    )


def finra_tier_weeks(weeks: dg.WeeklyPartitionsDefinition) -> dg.MultiPartitionsDefinition:
    """Return tier x week."""
    return dg.MultiPartitionsDefinition(
        {"tier": dg.StaticPartitionsDefinition(list(TIERS)), "week": weeks}
    )


class Load(Protocol[Taken, Loaded]):
    """How a partition is loaded; the next one is taken while the present one lands."""

    @property
    def where(self) -> Mapping[str, str]:
        """What an error should name besides partition and run, such as asset and source."""
        ...

    def take(self, key: str) -> Taken:
        """Fetch and check the partition ``key``; writes nothing that is published."""
        ...

    def land(self, taken: Taken) -> Loaded:
        """Write what was taken, whole or not at all."""
        ...


@dataclass(frozen=True)
class Outcome(Generic[Loaded]):
    """How one partition of a run ended: loaded, or held back by an error."""

    partition_key: str
    loaded: Loaded | None = None
    error: OrchestrationError | None = None


def each_partition(
    context: dg.AssetExecutionContext, load: Load[Taken, Loaded]
) -> list[Outcome[Loaded]]:
    """Load the run's partitions one by one: each lands, or is held back, alone.

    Our own errors become outcomes; any other is a defect and ends the run. A step's second
    attempt leaves out what its first one was refused for good.
    """
    outcomes: list[Outcome[Loaded]] = [
        Outcome(key, error=error) for key, error in _refused_before(context).items()
    ]
    refused = {outcome.partition_key for outcome in outcomes}
    keys = [key for key in _asked_keys(context) if key not in refused]
    started = time.monotonic()
    with ThreadPoolExecutor(1, thread_name_prefix="take") as pool:
        ahead = [pool.submit(load.take, key) for key in keys[:1]]
        for done, key in enumerate(keys, start=1):
            taken = ahead.pop()
            ahead += [pool.submit(load.take, following) for following in keys[done : done + 1]]
            outcome = _outcome(context.run.run_id, key, taken, load)
            _let_go(outcome.error)
            outcomes.append(outcome)
            _log_progress(outcome, done, len(keys), time.monotonic() - started)
    return outcomes


def _asked_keys(context: dg.AssetExecutionContext) -> Sequence[str]:
    """Return the run's partition keys, or just those of its tags that no partition has.

    Dagster would take a Tuesday for the Monday after it; the load refuses such a key instead.
    """
    definition = context.assets_def.partitions_def
    known = set(definition.get_partition_keys() if definition else ())
    asked = [context.run.tags[tag] for tag in PARTITION_TAGS if tag in context.run.tags]
    keys = [key for key in asked if key not in known] or context.partition_keys
    if not keys:
        raise _no_partition(asked)
    return keys


def _no_partition(asked: Sequence[str]) -> dg.Failure:
    """Dagster takes a range whose end lies before its start for a run with nothing to do."""
    error = ConfigurationError(
        f"the run's range holds no partition: {' to '.join(asked)}",
        expected="a first and a last partition, the earlier week first",
        remedy="turn the range round",
    )
    return dg.Failure(str(error), allow_retries=False)


def _outcome(
    run_id: str, key: str, taken: Future[Taken], load: Load[Taken, Loaded]
) -> Outcome[Loaded]:
    try:
        return Outcome(key, _landed(key, taken.result, load, ATTEMPTS_AGAINST_OTHERS))
    except OrchestrationError as error:
        return Outcome(key, error=error.within(partition=key, run=run_id, **load.where))


def _let_go(error: BaseException | None) -> None:
    """Clear the frames that an error and its causes came through: they hold a partition's data."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _landed(
    key: str, take: Callable[[], Taken], load: Load[Taken, Loaded], attempts: int
) -> Loaded:
    """Land a partition; when another run delivered it first, take it once more."""
    try:
        return load.land(take())
    except SupersededError:
        if attempts == 1:
            raise
    return _landed(key, lambda: load.take(key), load, attempts - 1)


def _log_progress(outcome: Outcome[Any], done: int, of: int, seconds: float) -> None:
    PROGRESS.log(
        logging.ERROR if outcome.error else logging.INFO,
        "%s: %s (%d of %d, about %.0f s left)",
        outcome.partition_key,
        outcome.error or outcome.loaded,
        done,
        of,
        seconds / done * (of - done),
    )


def settle(
    context: dg.AssetExecutionContext,
    outcomes: Sequence[Outcome[Loaded]],
    report: Callable[[Loaded], Mapping[dg.AssetKey, Mapping[str, Any]]],
    check_results: Sequence[dg.AssetCheckResult],
) -> Iterator[Told]:
    """Tell Dagster how the partitions ended; the good ones are materialized in any case.

    ``report`` says what a loaded partition has to say about each asset.

    Raises:
        Failure: Partitions were held back.
        RetryRequested: The same, where another attempt may help and was not made.
    """
    failed = {each.partition_key: each.error for each in outcomes if each.error is not None}
    for outcome in outcomes:
        for asset_key, metadata in (report(outcome.loaded) if outcome.loaded else {}).items():
            _materialized(context, asset_key, outcome.partition_key, metadata, by_hand=bool(failed))
    for key, error in failed.items():
        for asset_key in _selected(context):
            yield _held_back(asset_key, key, error)  # Dagster then stores what was logged, too
    yield from check_results
    if failed:
        raise _failure(context, failed, len(outcomes))
    for asset_key in _selected(context):
        yield dg.MaterializeResult(asset_key=asset_key)


def _selected(context: dg.AssetExecutionContext) -> list[dg.AssetKey]:
    """Return the assets to report on, upstream first, as Dagster wants them."""
    return [spec.key for spec in context.assets_def.specs]


def _materialized(
    context: dg.AssetExecutionContext,
    asset_key: dg.AssetKey,
    partition_key: str,
    metadata: Mapping[str, Any],
    *,
    by_hand: bool,
) -> None:
    """When a step succeeds, Dagster emits an event for each partition; when it fails, none."""
    if by_hand:
        context.log_event(
            dg.AssetMaterialization(asset_key, partition=partition_key, metadata=metadata)
        )
    else:
        context.add_asset_metadata(metadata, asset_key=asset_key, partition_key=partition_key)


def _held_back(
    asset_key: dg.AssetKey, partition_key: str, error: OrchestrationError
) -> dg.AssetObservation:
    return dg.AssetObservation(
        asset_key,
        partition=partition_key,
        metadata={
            "outcome": "held back",
            "category": error.category,
            "is_retryable": error.is_retryable,
            "reason": str(error),
        },
    )


def _refused_before(context: dg.AssetExecutionContext) -> dict[str, OrchestrationError]:
    """Return what an earlier attempt of this step was refused for good, by partition."""
    if context.retry_number == 0:
        return {}
    records = context.instance.get_records_for_run(
        context.run.run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION
    ).records
    own = set(_selected(context))  # other steps of the run speak of the same partitions
    refused: dict[str, OrchestrationError] = {}
    for record in records:
        observation = record.asset_observation
        if observation is None or observation.asset_key not in own:
            continue
        told = {name: value.value for name, value in observation.metadata.items()}
        if observation.partition and not told.get("is_retryable", True):
            kind = KINDS[str(told["category"])]
            refused[observation.partition] = kind(str(told["reason"]))
    return refused


def _failure(
    context: dg.AssetExecutionContext, failed: Mapping[str, OrchestrationError], of: int
) -> Exception:
    """Return what ends the step: another attempt, if that may help and was not made, or failure."""
    reasons = "\n".join(str(error) for error in failed.values())
    failure = dg.Failure(
        f"{len(failed)} of {of} partitions did not land: {', '.join(failed)}\n{reasons}",
        metadata={"held_back": list(failed)},
        allow_retries=False,
    )
    if context.retry_number or not any(error.is_retryable for error in failed.values()):
        return failure
    waits = [
        error.retry_in_seconds for error in failed.values() if isinstance(error, TransientError)
    ]
    again = dg.RetryRequested(
        max_retries=1, seconds_to_wait=SECONDS_TO_NEXT_ATTEMPT + max(waits, default=0)
    )
    again.__cause__ = failure
    return again
