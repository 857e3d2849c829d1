"""Loads a run's items batch by batch, and yields the events of its partitions to Dagster."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeAlias, TypeVar, cast

import dagster as dg
from sqlalchemy import Table

from orchestration_project.engine.announcements import (
    ReportLog,
    normalise_metadata,
    settle_announcements,
)
from orchestration_project.engine.contracts.balance import Balance
from orchestration_project.engine.contracts.failures import (
    NO_DATA,
    QUARANTINED,
    format_quarantine,
    read_quarantine,
)
from orchestration_project.engine.contracts.partition_tags import select_own_tags
from orchestration_project.engine.dataset import LoadedPartition
from orchestration_project.engine.loads import (
    REFUSALS,
    BatchLoad,
    ItemResult,
    Load,
    Loaded,
    SingleItemLoad,
    Taken,
    build_partition_balance,
    build_piece_balance,
    classify_error,
    read_partition_keys,
    record_run_balances,
)
from orchestration_project.engine.tracing.span import Span
from orchestration_project.engine.tracing.spans import open_span
from orchestration_project.engine.warehouse import SupersededError, Warehouse
from orchestration_project.engine.warehouse.delivery import ATTEMPTS_AGAINST_OTHERS
from orchestration_project.errors import (
    ConfigurationError,
    OrchestrationError,
    TransientError,
)

PROGRESS = logging.getLogger("orchestration_project.progress")
"""One line for each piece done: Dagster keeps them in the run's event log (dagster.yaml)."""

SECONDS_TO_NEXT_ATTEMPT = 5
"""Before a step's second and last attempt, after the wait that an error requests."""

MAX_WAIT_SECONDS = 600
"""A run that waits keeps its place among those that may run: a source may request a day."""

DID_NOT_LOAD = "partitions did not load"
"""How the failure of a step begins that held partitions back, each with its reason."""

KINDS = {kind.category: kind for kind in REFUSALS}
"""The errors that are refusals for good, by what an observation says of them."""

Checked = dg.AssetCheckResult | dg.AssetCheckEvaluation
"""How a check did; an evaluation is of a check that the asset's own step does not define."""

AssetEvent: TypeAlias = (
    Checked | dg.AssetMaterialization | dg.AssetObservation | dg.MaterializeResult[Any]
)
"""Dagster events of an asset of several partitions."""


Reported = TypeVar("Reported")
"""A loaded partition, of which an asset reports."""


class Report(Generic[Reported]):
    """Report of an asset about its partitions; a subclass overrides the parts that differ."""

    def metadata(self, loaded: Reported) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
        """Return the metadata of each asset, of a loaded partition."""
        raise NotImplementedError

    def checks(self) -> Sequence[Checked]:
        """Return the results of the asset's checks, once all partitions are through."""
        return ()

    def side_effects(self, key: str, loaded: Reported) -> Iterable[dg.AssetMaterialization]:
        """Return materializations of partitions outside of the run that a partition changed."""
        return ()

    def evidence(self, error: OrchestrationError) -> Mapping[dg.AssetKey, Mapping[str, Any]]:
        """Return further metadata of assets, of a quarantined partition, by its error."""
        return {}

    def has_data(self, loaded: Reported) -> bool:
        """Whether a partition has data; without any it is observed, and is not materialized."""
        return True

    def is_unchanged(self, loaded: Reported) -> bool:
        """Whether the load of a partition wrote nothing."""
        return False

    def is_not_requested(self, loaded: Reported) -> bool:
        """Whether it wrote nothing because the source was deliberately not asked."""
        return False

    def is_published(self, loaded: Reported) -> bool:
        """Whether the source had a partition without data published."""
        return True

    def settle(self, loaded: Mapping[str, Reported]) -> None:
        """Take the loaded partitions once Dagster has stored their events."""

    def record_balances(self, run_id: str, balances: Sequence[Balance]) -> None:
        """Store the equations of the run."""

    def place_of(self, outcome: ItemResult[Reported]) -> str:
        """Return how a partition ended, as `loads.PLACES` names it."""
        loaded = outcome.loaded
        if outcome.error is not None or loaded is None:
            return classify_error(outcome.error) if outcome.error else "failed"
        if not self.has_data(loaded):
            return "no_data" if self.is_published(loaded) else "not_published"
        if self.is_not_requested(loaded):
            return "not_asked"
        return "unchanged" if self.is_unchanged(loaded) else "loaded"


@dataclass(frozen=True)
class DatasetReport(Report[LoadedPartition[Any, Any]]):
    """Report of an asset whose partitions `DatasetLoader` loads.

    Attributes:
        warehouse: The database.
        table: The table that is loaded.
        log: Dagster's events of its asset.
        now: Times of the run's equations.
    """

    warehouse: Warehouse
    table: Table
    log: ReportLog
    now: Callable[[], datetime]

    def has_data(self, loaded: LoadedPartition[Any, Any]) -> bool:
        """Whether a partition has rows."""
        return loaded.has_data

    def is_unchanged(self, loaded: LoadedPartition[Any, Any]) -> bool:
        """Whether its rows were the same."""
        return loaded.write_result is None

    def is_published(self, loaded: LoadedPartition[Any, Any]) -> bool:
        """Whether the source had it published."""
        return loaded.unpublished_until is None

    def settle(self, loaded: Mapping[str, LoadedPartition[Any, Any]]) -> None:
        """Delete the announcements of these events."""
        settle_announcements(self.warehouse, self.table, self.log, loaded)

    def record_balances(self, run_id: str, balances: Sequence[Balance]) -> None:
        """Store the equations of the run."""
        record_run_balances(self.warehouse, self.table.name, run_id, balances, self.now())


@dataclass(frozen=True)
class ItemPlan(Generic[Loaded]):
    """Pieces of a run's partitions, loaded in their place.

    Attributes:
        summed: How each of the run's partitions ended, by how the pieces did.
        name: What an error calls a piece.
    """

    summed: Callable[[Sequence[str], Sequence[ItemResult[Any]]], Sequence[ItemResult[Loaded]]]
    name: str = "partition"


EACH_PARTITION: ItemPlan[Any] = ItemPlan(lambda keys, outcomes: outcomes)
"""Each partition is a piece of its own."""


def load_partitions(
    context: dg.AssetExecutionContext,
    loading: Callable[[], Load[Any, Loaded]],
    report: Report[Loaded],
) -> Iterator[AssetEvent]:
    """Load the run's partitions one by one, each alone, and yield their events.

    Raises:
        Failure: Partitions were quarantined, or something failed that concerns all of them.
        RetryRequested: The same, where another attempt may help and was not made.
    """
    run_id = context.run.run_id
    yield from load_pieces(
        context, lambda: SingleItemLoad(loading(), run_id), report, EACH_PARTITION
    )


def load_pieces(
    context: dg.AssetExecutionContext,
    loading: Callable[[], BatchLoad[Any, Any]],
    report: Report[Loaded],
    pieces: ItemPlan[Loaded],
) -> Iterator[AssetEvent]:
    """Load the pieces of the run's partitions, and yield the events of these.

    What loaded is materialized in any case. Our own errors hold a piece back; any other is a
    defect and ends the run. A step's second attempt leaves out what its first one was refused
    for good. ``loading`` may look up how they are loaded: what fails there concerns all of them.

    Raises:
        Failure: Partitions were quarantined, or something failed that concerns all of them.
        RetryRequested: The same, where another attempt may help and was not made.
    """
    keys = read_requested_keys(context)
    context.log.info(
        f"{len(keys)} partitions requested: {', '.join(keys)}",
        extra={"event": "partitions_requested"},
    )
    refused: dict[str, OrchestrationError] = {}
    item_results: list[ItemResult[Any]] = []
    requested_pieces: list[str] = []

    def ended() -> list[ItemResult[Loaded]]:
        before = [
            ItemResult[Loaded](key, error=error, is_reported=True) for key, error in refused.items()
        ]
        return [*before, *pieces.summed([key for key in keys if key not in refused], item_results)]

    def balances(*, is_early: bool) -> list[Balance]:
        places = {outcome.partition_key: report.place_of(outcome) for outcome in ended()}
        made_balances = [build_partition_balance(keys, places, is_early=is_early)]
        if pieces is not EACH_PARTITION:
            made_balances.append(
                build_piece_balance(pieces.name, requested_pieces, item_results, is_early=is_early)
            )
        return made_balances

    try:
        load = loading()
        load.ready()
        refused |= _find_refused(context)
        requested_pieces += load.pieces([key for key in keys if key not in refused])
        _load_all(context, load, pieces, requested_pieces, item_results)
        results = report.checks()
    except OrchestrationError as error:
        _record(context, report, balances(is_early=True))
        yield from _yield_explicit(context, ended(), report)
        raise _build_failure_of_all(context, keys, error) from error
    except BaseException:
        _record(context, report, balances(is_early=True))
        yield from _yield_explicit(context, ended(), report)
        raise
    made_balances = balances(is_early=False)
    _record(context, report, made_balances)
    yield from _finish_partitions(context, keys, ended(), report, results, made_balances)


def find_loaded(context: dg.AssetExecutionContext, asset: dg.AssetKey) -> frozenset[str]:
    """Return the partitions that this run, or a run that it tries again, has loaded already.

    A run that succeeded does not count: re-executing it loads its partitions again.
    """
    loaded: set[str | None] = set()
    run: dg.DagsterRun | None = context.run
    while run is not None:
        records = context.instance.get_records_for_run(
            run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        loaded.update(record.partition_key for record in records if record.asset_key == asset)
        parent = context.instance.get_run_by_id(run.parent_run_id) if run.parent_run_id else None
        run = None if parent is None or parent.is_success else parent
    return frozenset(key for key in loaded if key is not None)


def _load_all(
    context: dg.AssetExecutionContext,
    load: BatchLoad[Any, Loaded],
    pieces: ItemPlan[Any],
    keys: Sequence[str],
    outcomes: list[ItemResult[Loaded]],
) -> None:
    """Append to ``outcomes`` how each piece ended, so that a later defect does not hide it."""
    started = time.monotonic()
    attempt = context.retry_number + 1
    batches = load.batches(keys)
    with ThreadPoolExecutor(1, thread_name_prefix="take") as pool:
        ahead = pool.submit(_take_next, batches)
        while (next_batch := ahead.result()) is not None:
            ahead = pool.submit(_take_next, batches)
            with open_span("batch") as opened_span:
                ended = _write_batch(load, next_batch, ATTEMPTS_AGAINST_OTHERS)
                _describe_batch(opened_span, pieces.name, ended)
            del next_batch  # before the next one is waited for
            for key, value in ended.items():
                where = {pieces.name: key, "run": context.run.run_id, **load.where}
                outcomes.append(_build_outcome(key, value, where))
                passed = time.monotonic() - started
                _log_progress(outcomes[-1], attempt, len(outcomes), len(keys), passed)


def _take_next(batches: Iterator[Taken]) -> Taken | None:
    with open_span("extract"):
        return next(batches, None)


def _describe_batch(made: Span | None, name: str, ended: Mapping[str, object]) -> None:
    if made is None:
        return
    made.set(**{f"{name}.first": min(ended, default=None), f"{name}.count": len(ended)})
    errors = [value for value in ended.values() if isinstance(value, OrchestrationError)]
    if errors:
        made.fail(errors[0])


def read_requested_keys(context: dg.AssetExecutionContext) -> list[str]:
    """Return the partitions that the run was asked for; from here on Dagster's context agrees.

    With dimensions of another run's partition in the tags, it would name that partition.

    Raises:
        Failure: The tags disagree or name no partition.
    """
    tags = cast(dict[str, str], context.run.tags)  # this process's copy
    try:
        keys = read_partition_keys(tags, context.assets_def.partitions_def)
    except ConfigurationError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    for name in tags.keys() - select_own_tags(tags).keys():
        del tags[name]
    return keys


def _build_outcome(
    key: str, ended: Loaded | OrchestrationError, where: Mapping[str, str]
) -> ItemResult[Loaded]:
    if not isinstance(ended, OrchestrationError):
        return ItemResult(key, ended)
    _let_go(ended)
    return ItemResult(key, error=ended.within(**where))


def _let_go(error: BaseException | None) -> None:
    """Drop how an error and its causes came about: those frames hold a partition's data."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def _write_batch(
    load: BatchLoad[Taken, Loaded], taken: Taken, attempts: int
) -> Mapping[str, Loaded | OrchestrationError]:
    """Load a batch; pieces that another run delivered first are extracted again."""
    ended = dict(load.write_batch(taken))
    overtaken = [key for key, item in ended.items() if isinstance(item, SupersededError)]
    if overtaken and attempts > 1:
        for again in load.batches(overtaken):
            ended |= _write_batch(load, again, attempts - 1)
    return ended


def _log_progress(
    outcome: ItemResult[Any], attempt: int, done: int, of: int, seconds: float
) -> None:
    """Log a line; its arguments are a mapping, for who shows another one."""
    PROGRESS.log(
        logging.ERROR if outcome.error else logging.INFO,
        "%(key)s: %(outcome)s (%(attempt)s%(done)d of %(of)d, about %(left).0f s left)",
        {
            "key": outcome.partition_key,
            "outcome": outcome.error or outcome.loaded,
            "attempt": f"attempt {attempt}, " if attempt > 1 else "",
            "done": done,
            "of": of,
            "left": seconds / done * (of - done),
        },
        extra={"event": "partition_quarantined" if outcome.error else "partition_loaded"},
    )


def _finish_partitions(
    context: dg.AssetExecutionContext,
    keys: Sequence[str],
    outcomes: Sequence[ItemResult[Loaded]],
    report: Report[Loaded],
    check_results: Sequence[Checked],
    balances: Sequence[Balance],
) -> Iterator[AssetEvent]:
    failed = {
        item_result.partition_key: item_result.error
        for item_result in outcomes
        if item_result.error is not None
    }
    lost = [str(balance) for balance in balances if balance.difference]
    if lost:
        differing = {outcome.partition_key for outcome in outcomes} ^ set(keys)
        lost += [f"without an end: {', '.join(sorted(differing))}"] if differing else []
    is_whole = all(
        item_result.loaded is not None and report.has_data(item_result.loaded)
        for item_result in outcomes
    )
    is_explicit = bool(failed or lost) or not is_whole
    if is_explicit:
        yield from _yield_explicit(context, outcomes, report)
    else:
        yield from _yield_events(context, outcomes, report, is_explicit=False)
    yield from check_results
    if lost:
        raise RuntimeError(f"what was asked of the run is not what ended: {'; '.join(lost)}")
    if failed:
        raise _build_failure(context, failed, len(keys))
    if not is_explicit:
        yield from (
            dg.MaterializeResult(asset_key=asset_key) for asset_key in _select_assets(context)
        )
        _settle(context, outcomes, report)


def _record(
    context: dg.AssetExecutionContext, report: Report[Any], balances: Sequence[Balance]
) -> None:
    """Log and store the equations of a run; a database that does not answer fails no load."""
    for balance in balances:
        context.log.info(str(balance), extra={"event": "partitions_summarized"})
    try:
        report.record_balances(context.run.run_id, balances)
    except OrchestrationError as error:
        context.log.warning(
            f"The balance of the run could not be recorded: {error}",
            extra={"event": "balance_unrecorded"},
        )


def _yield_explicit(
    context: dg.AssetExecutionContext,
    outcomes: Sequence[ItemResult[Loaded]],
    report: Report[Loaded],
) -> Iterator[AssetEvent]:
    """Yield the events of each partition, materializations included, and settle them."""
    yield from _yield_events(context, outcomes, report, is_explicit=True)
    _settle(context, outcomes, report)


def _settle(
    context: dg.AssetExecutionContext,
    outcomes: Sequence[ItemResult[Loaded]],
    report: Report[Loaded],
) -> None:
    """Settle the reported partitions: Dagster stores one event before it requests the next.

    What fails here fails no load: the next run that reads a partition settles it.
    """
    loaded = {
        outcome.partition_key: outcome.loaded for outcome in outcomes if outcome.loaded is not None
    }
    try:
        report.settle(loaded)
    except OrchestrationError as error:
        context.log.warning(
            f"Reported loads could not be marked as reported: {error}",
            extra={"event": "announcements_unsettled"},
        )


def _yield_events(
    context: dg.AssetExecutionContext,
    outcomes: Sequence[ItemResult[Loaded]],
    report: Report[Loaded],
    *,
    is_explicit: bool,
) -> Iterator[AssetEvent]:
    """Yield the events of each partition.

    When a step succeeds, Dagster materializes each partition of the run; when it fails, none.
    So materializations are yielded if ``is_explicit``: some partitions failed or have no data.
    """
    for outcome in outcomes:
        key, loaded, error = outcome.partition_key, outcome.loaded, outcome.error
        if error is not None and not outcome.is_reported:
            yield from _explain_quarantine(context, key, error, report.evidence(error))
        if loaded is None:
            continue
        for asset_key, asset_metadata in report.metadata(loaded).items():
            metadata = normalise_metadata(asset_metadata)
            if not report.has_data(loaded):
                if error is None:
                    yield _observe_no_data(context, asset_key, key, metadata)
            elif is_explicit:
                yield dg.AssetMaterialization(asset_key, partition=key, metadata=metadata)
            else:
                context.add_asset_metadata(metadata, asset_key=asset_key, partition_key=key)
        yield from report.side_effects(key, loaded)


def _select_assets(context: dg.AssetExecutionContext) -> list[dg.AssetKey]:
    """Return the assets to report on, upstream first, as Dagster wants them."""
    chosen = context.selected_asset_keys
    return [spec.key for spec in context.assets_def.specs if spec.key in chosen]


def _observe_no_data(
    context: dg.AssetExecutionContext,
    asset_key: dg.AssetKey,
    partition_key: str,
    metadata: Mapping[str, Any],
) -> dg.AssetObservation:
    run = {"run": dg.MetadataValue.dagster_run(context.run.run_id)}
    return dg.AssetObservation(
        asset_key, partition=partition_key, metadata={"outcome": NO_DATA, **metadata, **run}
    )


def _explain_quarantine(
    context: dg.AssetExecutionContext,
    partition_key: str,
    error: OrchestrationError,
    evidence: Mapping[dg.AssetKey, Mapping[str, Any]],
) -> Iterator[dg.AssetObservation]:
    """Explain a quarantined partition on its page, of each asset."""
    run = {"run": dg.MetadataValue.dagster_run(context.run.run_id)}
    lines = format_quarantine(error)
    for asset_key in _select_assets(context):
        metadata = {**lines, **run, **evidence.get(asset_key, {})}
        yield dg.AssetObservation(asset_key, partition=partition_key, metadata=metadata)


def _find_refused(context: dg.AssetExecutionContext) -> dict[str, OrchestrationError]:
    """Return the permanent refusals of an earlier attempt of this step, by partition."""
    if context.retry_number == 0:
        return {}
    records = context.instance.get_records_for_run(
        context.run.run_id, of_type=dg.DagsterEventType.ASSET_OBSERVATION
    ).records
    selected = set(_select_assets(context))  # other steps of the run speak of the same partitions
    refused: dict[str, OrchestrationError] = {}
    for record in records:
        observation = record.asset_observation
        if observation is None or observation.asset_key not in selected:
            continue
        metadata = {name: value.value for name, value in observation.metadata.items()}
        quarantine = read_quarantine(metadata)
        if observation.partition and quarantine is not None and not quarantine.is_retryable:
            refused[observation.partition] = KINDS[quarantine.category](quarantine.reason)
    return refused


def _build_failure(
    context: dg.AssetExecutionContext, failed: Mapping[str, OrchestrationError], of: int
) -> Exception:
    """Return the failure that ends a step with quarantined partitions."""
    reasons = "\n".join(str(error) for error in failed.values())
    failure = dg.Failure(
        f"{len(failed)} of {of} {DID_NOT_LOAD}: {', '.join(failed)}\n{reasons}",
        metadata={QUARANTINED: list(failed)},
        allow_retries=False,
    )
    return _retry_or_fail(failure, context, list(failed.values()))


def _build_failure_of_all(
    context: dg.AssetExecutionContext, keys: Sequence[str], error: OrchestrationError
) -> Exception:
    """Return the failure that ends a step whose error concerns all partitions."""
    error.within(
        assets=", ".join(key.to_user_string() for key in _select_assets(context)),
        partitions=keys[0] if len(keys) == 1 else f"{keys[0]} to {keys[-1]} ({len(keys)})",
        run=context.run.run_id,
    )
    return _retry_or_fail(dg.Failure(str(error), allow_retries=False), context, [error])


def _retry_or_fail(
    failure: dg.Failure, context: dg.AssetExecutionContext, errors: Sequence[OrchestrationError]
) -> Exception:
    """Return another attempt, if that may help soon and was not made, or the failure.

    What a source asks to be waited for is waited for here: between two attempts Dagster
    lets no user end a run.
    """
    waits = [error.retry_in_seconds for error in errors if isinstance(error, TransientError)]
    wait = max(waits, default=0)
    is_vain = not any(error.is_retryable for error in errors) or wait > MAX_WAIT_SECONDS
    if context.retry_number or is_vain:
        return failure
    if wait:
        context.log.warning(
            f"Retry in {wait:.0f} s, as the source requests.\n{failure}",
            extra={"event": "retry_delayed"},
        )
        time.sleep(wait)
    again = dg.RetryRequested(max_retries=1, seconds_to_wait=SECONDS_TO_NEXT_ATTEMPT)
    again.__cause__ = failure
    return again
