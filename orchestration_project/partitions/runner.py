"""The runner that takes a run's work piece by piece, and tells Dagster how its partitions ended."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic

import dagster as dg

from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    SourceError,
    TransientError,
)
from orchestration_project.partitions.loads import BatchLoad, Load, Loaded, OneByOne, Outcome, Taken
from orchestration_project.resources.warehouse import SupersededError

ATTEMPTS_AGAINST_OTHERS = 4
"""How often a partition is taken again because another run delivered it first."""

PROGRESS = logging.getLogger("orchestration_project.progress")
"""One line for each piece done: Dagster keeps them in the run's event log (dagster.yaml)."""

SECONDS_TO_NEXT_ATTEMPT = 5
"""Before a step's second and last attempt, after the wait that an error asks for."""

LONGEST_WAIT_SECONDS = 600
"""A run that waits keeps its place among those that may run: a source may ask for a day."""

DID_NOT_LAND = "partitions did not land"
"""How the failure of a step begins that held partitions back, each with its reason."""

PARTITION_TAGS = (
    "dagster/partition",
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)

KINDS = {kind.category: kind for kind in (SourceError, ContractError, ConfigurationError)}
"""The errors that are refusals for good, by what an observation says of them."""

Told = (
    dg.AssetCheckResult | dg.AssetMaterialization | dg.AssetObservation | dg.MaterializeResult[Any]
)
"""What an asset of several partitions yields."""


@dataclass(frozen=True)
class Report(Generic[Loaded]):
    """What an asset has to say.

    Attributes:
        news: Of a loaded partition: the metadata of each asset.
        checks: The results of the asset's checks, once all partitions are through.
        beyond: What a partition brought about in others that the run was not asked for.
    """

    news: Callable[[Loaded], Mapping[dg.AssetKey, Mapping[str, Any]]]
    checks: Callable[[], Sequence[dg.AssetCheckResult]] = tuple
    beyond: Callable[[str, Loaded], Iterable[dg.AssetMaterialization]] = lambda key, loaded: ()


@dataclass(frozen=True)
class Pieces(Generic[Loaded]):
    """What makes up a run's partitions, and is loaded in their place.

    Attributes:
        summed: How each of the run's partitions ended, by how the pieces did.
        name: What an error calls a piece.
    """

    summed: Callable[[Sequence[str], Sequence[Outcome[Any]]], Sequence[Outcome[Loaded]]]
    name: str = "partition"


EACH_PARTITION: Pieces[Any] = Pieces(lambda keys, outcomes: outcomes)
"""Each partition is a piece of its own."""


def each_partition(
    context: dg.AssetExecutionContext,
    loading: Callable[[], Load[Any, Loaded]],
    report: Report[Loaded],
) -> Iterator[Told]:
    """Load the run's partitions one by one, each alone, and tell Dagster how they ended.

    Raises:
        Failure: Partitions were held back, or something failed that concerns all of them.
        RetryRequested: The same, where another attempt may help and was not made.
    """
    run_id = context.run.run_id
    yield from each_piece(context, lambda: OneByOne(loading(), run_id), report, EACH_PARTITION)


def each_piece(
    context: dg.AssetExecutionContext,
    loading: Callable[[], BatchLoad[Any, Any]],
    report: Report[Loaded],
    pieces: Pieces[Loaded],
) -> Iterator[Told]:
    """Load what makes up the run's partitions, and tell Dagster how these ended.

    What landed is materialized in any case. Our own errors hold a piece back; any other is a
    defect and ends the run. A step's second attempt leaves out what its first one was refused
    for good. ``loading`` may look up how they are loaded: what fails there concerns all of them.

    Raises:
        Failure: Partitions were held back, or something failed that concerns all of them.
        RetryRequested: The same, where another attempt may help and was not made.
    """
    keys = _asked_keys(context)
    refused: dict[str, OrchestrationError] = {}
    taken: list[Outcome[Any]] = []

    def ended() -> list[Outcome[Loaded]]:
        before = [Outcome[Loaded](key, error=error) for key, error in refused.items()]
        return [*before, *pieces.summed([key for key in keys if key not in refused], taken)]

    try:
        load = loading()
        load.ready()
        refused |= _refused_before(context)
        left = [key for key in keys if key not in refused]
        _load_all(context, load, pieces, left, taken)
        results = report.checks()
    except OrchestrationError as error:
        yield from _told(context, ended(), report, by_hand=True)
        raise _failure_of_all(context, keys, error) from error
    except BaseException:
        yield from _told(context, ended(), report, by_hand=True)
        raise
    yield from _settled(context, ended(), report, results)


def landed_before(context: dg.AssetExecutionContext, asset: dg.AssetKey) -> frozenset[str]:
    """Return the partitions that this run, or a run that it tries again, has landed already.

    One that succeeded is not tried again: who re-executes it wants it done once more.
    """
    landed: set[str | None] = set()
    run: dg.DagsterRun | None = context.run
    while run is not None:
        records = context.instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        landed.update(each.partition_key for each in records if each.asset_key == asset)
        parent = context.instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
        run = None if parent is None or parent.is_success else parent
    return frozenset(key for key in landed if key is not None)


def _load_all(
    context: dg.AssetExecutionContext,
    load: BatchLoad[Any, Loaded],
    pieces: Pieces[Any],
    partitions: Sequence[str],
    outcomes: list[Outcome[Loaded]],
) -> None:
    """Append to ``outcomes`` how each piece ended, so that a later defect does not hide it."""
    started, keys = time.monotonic(), load.pieces(partitions)
    batches = load.batches(keys)
    with ThreadPoolExecutor(1, thread_name_prefix="take") as pool:
        ahead = pool.submit(next, batches, None)
        while (taken := ahead.result()) is not None:
            ahead = pool.submit(next, batches, None)
            ended = _landed(load, taken, ATTEMPTS_AGAINST_OTHERS)
            del taken  # before the next one is waited for
            for key, each in ended.items():
                where = {pieces.name: key, "run": context.run.run_id, **load.where}
                outcomes.append(_outcome(key, each, where))
                _log_progress(outcomes[-1], len(outcomes), len(keys), time.monotonic() - started)


def _asked_keys(context: dg.AssetExecutionContext) -> Sequence[str]:
    """Return the run's partition keys, or just those of its tags that no partition has.

    Dagster would take a Tuesday for the Monday after it; the load refuses such a key instead.
    """
    definition = context.assets_def.partitions_def
    known = set(definition.get_partition_keys() if definition else ())
    asked = [context.run.tags[tag] for tag in PARTITION_TAGS if tag in context.run.tags]
    if known and not asked:
        raise _unnamed(max(known))
    keys = [key for key in asked if key not in known] or context.partition_keys
    if not keys:
        raise _no_partition(asked)
    return keys


def _unnamed(example: str) -> dg.Failure:
    error = ConfigurationError(
        "the run names no partition",
        expected=f"""--tags '{{"dagster/partition": "{example}"}}', or of a range the tags """
        "dagster/asset_partition_range_start and dagster/asset_partition_range_end",
        remedy="name one; the UI asks for it, as Materialize shows all that there are",
    )
    return dg.Failure(str(error), allow_retries=False)


def _no_partition(asked: Sequence[str]) -> dg.Failure:
    """Dagster takes a range whose end lies before its start for a run with nothing to do."""
    error = ConfigurationError(
        f"the run's range holds no partition: {' to '.join(asked)}",
        expected="a first and a last partition, the earlier week first",
        remedy="turn the range round",
    )
    return dg.Failure(str(error), allow_retries=False)


def _outcome(
    key: str, ended: Loaded | OrchestrationError, where: Mapping[str, str]
) -> Outcome[Loaded]:
    if not isinstance(ended, OrchestrationError):
        return Outcome(key, ended)
    _let_go(ended)
    return Outcome(key, error=ended.within(**where))


def _let_go(error: BaseException | None) -> None:
    """Drop how an error and its causes came about: those frames hold a partition's data."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _landed(
    load: BatchLoad[Taken, Loaded], taken: Taken, attempts: int
) -> Mapping[str, Loaded | OrchestrationError]:
    """Land a batch; pieces that another run delivered first are taken once more."""
    ended = dict(load.land(taken))
    overtaken = [key for key, each in ended.items() if isinstance(each, SupersededError)]
    if overtaken and attempts > 1:
        for again in load.batches(overtaken):
            ended |= _landed(load, again, attempts - 1)
    return ended


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


def _settled(
    context: dg.AssetExecutionContext,
    outcomes: Sequence[Outcome[Loaded]],
    report: Report[Loaded],
    check_results: Sequence[dg.AssetCheckResult],
) -> Iterator[Told]:
    failed = {each.partition_key: each.error for each in outcomes if each.error is not None}
    yield from _told(context, outcomes, report, by_hand=bool(failed))
    yield from check_results
    if failed:
        raise _failure(context, failed, len(outcomes))
    for asset_key in _selected(context):
        yield dg.MaterializeResult(asset_key=asset_key)


def _told(
    context: dg.AssetExecutionContext,
    outcomes: Sequence[Outcome[Loaded]],
    report: Report[Loaded],
    *,
    by_hand: bool,
) -> Iterator[Told]:
    """Tell of each partition.

    When a step succeeds, Dagster emits an event for each partition; when it fails, none: then
    they are made ``by_hand``.
    """
    for key, loaded, error in ((each.partition_key, each.loaded, each.error) for each in outcomes):
        if error is not None:
            yield from (_held_back(asset_key, key, error) for asset_key in _selected(context))
        if loaded is None:
            continue
        for asset_key, metadata in report.news(loaded).items():
            if by_hand:
                yield dg.AssetMaterialization(asset_key, partition=key, metadata=metadata)
            else:
                context.add_asset_metadata(metadata, asset_key=asset_key, partition_key=key)
        yield from report.beyond(key, loaded)


def _selected(context: dg.AssetExecutionContext) -> list[dg.AssetKey]:
    """Return the assets to report on, upstream first, as Dagster wants them."""
    chosen = context.selected_asset_keys
    return [spec.key for spec in context.assets_def.specs if spec.key in chosen]


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
    """Return what ends a step that held partitions back."""
    reasons = "\n".join(str(error) for error in failed.values())
    failure = dg.Failure(
        f"{len(failed)} of {of} {DID_NOT_LAND}: {', '.join(failed)}\n{reasons}",
        metadata={"held_back": list(failed)},
        allow_retries=False,
    )
    return _again_or(failure, context, list(failed.values()))


def _failure_of_all(
    context: dg.AssetExecutionContext, keys: Sequence[str], error: OrchestrationError
) -> Exception:
    """Return what ends a step whose error is no single partition's."""
    error.within(
        assets=", ".join(key.to_user_string() for key in _selected(context)),
        partitions=keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]} ({len(keys)})",
        run=context.run.run_id,
    )
    return _again_or(dg.Failure(str(error), allow_retries=False), context, [error])


def _again_or(
    failure: dg.Failure, context: dg.AssetExecutionContext, errors: Sequence[OrchestrationError]
) -> Exception:
    """Return another attempt, if that may help soon and was not made, or the failure.

    What a source asks to be waited for is waited for here: between two attempts Dagster lets
    nobody end a run.
    """
    waits = [error.retry_in_seconds for error in errors if isinstance(error, TransientError)]
    wait = max(waits, default=0)
    is_vain = not any(error.is_retryable for error in errors) or wait > LONGEST_WAIT_SECONDS
    if context.retry_number or is_vain:
        return failure
    if wait:
        context.log.warning(
            f"Waits {wait:.0f} s, as it is asked to, for another attempt.\n{failure}"
        )
        time.sleep(wait)
    again = dg.RetryRequested(max_retries=1, seconds_to_wait=SECONDS_TO_NEXT_ATTEMPT)
    again.__cause__ = failure
    return again
