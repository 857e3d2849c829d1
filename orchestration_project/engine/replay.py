"""Replay of recorded deliveries: validated and loaded again, without a request to the source."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import polars as pl
from sqlalchemy import Table

from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.balance import sum_balances
from orchestration_project.engine.contracts.key_ranges import Days
from orchestration_project.engine.contracts.values import BATCH_INDEX, combine_batches
from orchestration_project.engine.warehouse import (
    Delivery,
    RecordedDelivery,
    RecordedPart,
    ScopeState,
    Warehouse,
)
from orchestration_project.engine.warehouse.frames import (
    Scope,
    find_part,
    find_range,
    match_frame_scope,
    share_rows,
)
from orchestration_project.engine.warehouse.recorded import (
    EffectivePart,
    build_layers,
    build_part_layers,
    has_loaded,
    is_of_one,
    read_parts,
    select_effective,
)
from orchestration_project.engine.warehouse.target import WriteDisposition
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.schema import key_names

PART_NUMBER = "part_number"
"""The column of rows and rejects that says which capture of a delivery they are read from."""


ValidateEach = Callable[[Sequence[tuple[RecordedDelivery, Sequence[Capture]]]], Sequence[Validated]]
"""Validates recorded deliveries, each with its captures and by itself."""


@dataclass(frozen=True)
class ReplayPlan:
    """Parts of a partition that are replayed as one delivery.

    Attributes:
        state: What is loaded of the partition.
        delivery: The one delivery, without captures.
        write_disposition: How it is written.
        layers: The recorded deliveries, oldest first, with the values that are taken of each.
        are_separate: Whether each of them is validated by itself.
    """

    state: ScopeState
    delivery: Delivery
    write_disposition: WriteDisposition
    layers: Sequence[EffectivePart]
    are_separate: bool

    @property
    def made_of(self) -> Sequence[RecordedDelivery]:
        """The recorded deliveries, oldest first."""
        return [layer.recorded for layer in self.layers]

    def captures(self, warehouse: Warehouse, artifacts: ArtifactStore) -> Iterator[Capture]:
        """Yield the captures of the deliveries, one delivery after the other, their bytes verified.

        Raises:
            BlobError: The store does not hold what was captured.
        """
        for layer in self.layers:
            for capture in iterate_captures(warehouse, artifacts, layer.recorded):
                if layer.values is None or capture.market in layer.values:
                    yield capture


def replay_plan(
    warehouse: Warehouse, table: Table, key: str, *, group_id: str | None, allow_older: bool
) -> ReplayPlan:
    """Return the deliveries that make up a partition; with ``group_id`` that one alone.

    Parts of a partition, such as one market, are validated together. Merges, appends and ranges
    are validated one by one.

    Raises:
        ConfigurationError: As `select_deliveries`.
    """
    state, recorded = warehouse.recorded(table, key)
    if any(
        find_range(recorded_delivery.scope) or not recorded_delivery.replaces_scope
        for recorded_delivery in recorded
    ):
        delivery, made_of = select_deliveries(
            recorded, key, group_id=group_id, allow_older=allow_older
        )
        disposition = made_of[0].write_disposition
        if group_id is None:
            disposition, delivery = replay_of_all(delivery, made_of)
        layers = [EffectivePart(recorded_delivery, None) for recorded_delivery in made_of]
        return ReplayPlan(state, delivery, disposition, layers, are_separate=True)
    chosen = _choose_delivery(key, recorded, group_id)
    loaded = _find_loaded(chosen, recorded)
    layers = build_part_layers(recorded) if group_id is None else [EffectivePart(chosen, None)]
    delivery = _build_delivery(
        chosen,
        turns_back=_is_turning_back(chosen, loaded, allow_older),
        loads_again=loaded is not None and loaded.fetched_group == chosen.fetched_group,
    )
    return ReplayPlan(
        state, _complete_delivery(delivery, layers), "replace_scope", layers, are_separate=False
    )


def _complete_delivery(delivery: Delivery, layers: Sequence[EffectivePart]) -> Delivery:
    """Return a recorded delivery as complete for all the parts that come with it."""
    part = find_part(layers[-1].recorded.scope)
    if len(layers) == 1 or part is None:
        return delivery
    values = sorted(value for layer in layers for value in layer.values or ())
    return replace(delivery, scope={part[0]: tuple(values)})


def select_deliveries(
    recorded: Sequence[RecordedDelivery],
    key: str,
    *,
    group_id: str | None = None,
    allow_older: bool = False,
) -> tuple[Delivery, list[RecordedDelivery]]:
    """Return the ``recorded`` deliveries that make up a partition, oldest first.

    Before it comes the latest of them, without captures. With ``group_id`` it is that one alone.

    Raises:
        ConfigurationError: There is none, or it is older than what is loaded and may not be, or it
            is itself a replay of several deliveries.
    """
    chosen = _choose_delivery(key, recorded, group_id)
    if group_id is None:
        effective = select_effective(recorded)
        latest = effective[-1]
        return _build_delivery(latest, loads_again=has_loaded(latest, recorded)), effective
    _refuse_several(chosen, recorded)
    turns_back = _is_turning_back(chosen, _find_loaded(chosen, recorded), allow_older)
    loads_again = has_loaded(chosen, recorded)
    return _build_delivery(chosen, turns_back=turns_back, loads_again=loads_again), [chosen]


def _build_delivery(
    recorded: RecordedDelivery, *, turns_back: bool = False, loads_again: bool = False
) -> Delivery:
    """Return a recorded delivery as one of its own, without captures."""
    return Delivery(
        source=recorded.source,
        dataset=recorded.dataset,
        source_version=recorded.source_version,
        record_total=recorded.record_total,
        scope=recorded.scope,
        captures=(),
        replay_of=recorded.fetched_group,
        turns_back=turns_back,
        loads_again=loads_again,
    )


def replay_of_all(
    latest: Delivery, made_of: Sequence[RecordedDelivery]
) -> tuple[WriteDisposition, Delivery]:
    """Return all deliveries that make up a partition as one, and how it is written.

    Together they are complete for the partition, or from the first to the last day of their ranges:
    what merged rows lack by newer rules is removed. Appends stay one.
    """
    ranges = [
        days for recorded_delivery in made_of if (days := find_range(recorded_delivery.scope))
    ]
    scope: Scope = {}
    if len(ranges) == len(made_of):
        days = Days(min(span.first for span in ranges), max(span.last for span in ranges))
        scope = dict.fromkeys(latest.scope, days)
    are_appends = all(
        recorded_delivery.write_disposition == "append" for recorded_delivery in made_of
    )
    disposition: WriteDisposition = "append" if are_appends else "replace_scope"
    return disposition, replace(latest, scope=scope)


def validate_together(
    table: Table,
    made_of: Sequence[RecordedDelivery],
    captures: Sequence[Capture],
    validate: ValidateEach,
) -> Validated:
    """Validate recorded deliveries, one at least, as they came, and put their rows together.

    Args:
        table: Where they are loaded.
        made_of: The deliveries, oldest first.
        captures: What makes them up, one delivery after the other.
        validate: Validates each of them.

    Returns:
        The rows of the partition after all of them, by key; the rejects of all; of each audit the
        first that failed, so that one delivery which is quarantined quarantines all.
    """
    ends = list(accumulate(recorded_delivery.part_count for recorded_delivery in made_of))
    starts = [0, *ends[:-1]]
    entries = [captures[start:end] for start, end in zip(starts, ends, strict=True)]
    validated_parts = validate(list(zip(made_of, entries, strict=True)))
    if len(made_of) == 1:
        return validated_parts[0]
    rows = combine_batches([pl.concat(validated.pieces()) for validated in validated_parts])
    rejects = combine_batches([validated.rejects for validated in validated_parts])
    folded = fold_rows(table, made_of, _advance_numbers(starts, rows))
    return Validated(
        folded.sort(*key_names(table), PART_NUMBER),
        _advance_numbers(starts, rejects).drop(BATCH_INDEX),
        [
            next((audit for audit in named if audit.outcome == "failed"), named[0])
            for named in zip(*(validated.audits for validated in validated_parts), strict=True)
        ],
        balances=sum_balances(
            balance for validated in validated_parts for balance in validated.balances
        ),
    )


def _advance_numbers(starts: Sequence[int], rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of several deliveries whose captures follow each other: where each starts."""
    start = pl.Series(starts, dtype=pl.Int64).gather(rows[BATCH_INDEX])
    return rows.with_columns(pl.col(PART_NUMBER) + start)


def fold_rows(
    table: Table, made_of: Sequence[RecordedDelivery], rows: pl.DataFrame
) -> pl.DataFrame:
    """Return the rows of a partition after its deliveries, one at least, oldest first.

    ``rows`` are of all of them, with `BATCH_INDEX`. Of a row's key, the latest delivery counts; one
    that replaced its scope does so where it lacks the key, too.
    """
    is_replaced = [
        (pl.col(BATCH_INDEX) < index) & match_frame_scope(recorded_delivery.scope)
        for index, recorded_delivery in enumerate(made_of)
        if index and recorded_delivery.replaces_scope
    ]
    left = rows.filter(~pl.any_horizontal(is_replaced)) if is_replaced else rows
    if not all(recorded_delivery.replaces_scope for recorded_delivery in made_of[1:]):
        left = left.unique(key_names(table), keep="last", maintain_order=True)
    return left.drop(BATCH_INDEX)


def iterate_captures(
    warehouse: Warehouse, artifacts: ArtifactStore, recorded: RecordedDelivery
) -> Iterator[Capture]:
    """Yield the captures of a recorded delivery, their bytes verified.

    Raises:
        BlobError: The store does not hold what was captured.
    """
    store = Captures(artifacts)
    with warehouse.reading() as connection:
        parts = read_parts(connection, recorded)
    for part in parts:
        yield _capture(store, part)


def _choose_delivery(
    key: str, recorded: Sequence[RecordedDelivery], group_id: str | None
) -> RecordedDelivery:
    whole = [recorded_delivery for recorded_delivery in recorded if recorded_delivery.part_count]
    recorded_deliveries = [
        recorded_delivery
        for recorded_delivery in whole
        if (
            not recorded_delivery.is_vain_replay
            if group_id is None
            else recorded_delivery.group_id == group_id
        )
    ]
    if recorded_deliveries:
        return recorded_deliveries[-1]
    there_are = [recorded_delivery.group_id for recorded_delivery in whole]
    raise ConfigurationError(
        f"{key} has no delivery to replay",
        expected=group_id or "a delivery that was read whole",
        found=", ".join(there_are) or "none since this version records them",
        remedy="name another group, or load the partition with full: true",
    )


def _refuse_several(chosen: RecordedDelivery, recorded: Sequence[RecordedDelivery]) -> None:
    if not is_of_one(chosen, recorded):
        raise ConfigurationError(
            f"{chosen.group_id} replayed several deliveries at once",
            expected="a delivery that was fetched",
            found=f"{chosen.part_count} captures of several",
            remedy="name one of those, or leave out group_id to have all of them replayed",
        )


def _find_loaded(
    chosen: RecordedDelivery, recorded: Sequence[RecordedDelivery]
) -> RecordedDelivery | None:
    """Return the latest delivery that is loaded where ``chosen`` would be.

    A replay of several deliveries is none of them: each stays in its own place.
    """
    days = find_range(chosen.scope)
    if days is None or any(
        find_range(recorded_delivery.scope) is None
        for recorded_delivery in recorded
        if recorded_delivery.part_count
    ):
        loaded = (
            recorded_delivery
            for recorded_delivery in reversed(recorded)
            if is_of_one(recorded_delivery, recorded)
            and has_loaded(recorded_delivery, recorded)
            and not recorded_delivery.is_vain_replay
        )
        return next(
            (
                recorded_delivery
                for recorded_delivery in loaded
                if share_rows(recorded_delivery.scope, chosen.scope)
            ),
            None,
        )
    layers = build_layers(recorded, only_loaded=True)
    recorded_parts = [layer.recorded for layer in layers if layer.holds_within(days)]
    return max(recorded_parts, key=lambda each: each.fetched_number, default=None)


def _is_turning_back(
    chosen: RecordedDelivery, loaded: RecordedDelivery | None, allow_older: bool
) -> bool:
    """Whether the loaded delivery was fetched later.

    Raises:
        ConfigurationError: It was, and ``allow_older`` is not set.
    """
    if loaded is None or chosen.fetched_number >= loaded.fetched_number:
        return False
    if allow_older:
        return True
    raise ConfigurationError(
        f"{chosen.group_id} is older than what is loaded",
        expected=f"{loaded.fetched_group} or a later delivery",
        found=f"a delivery fetched as {chosen.fetched_group}",
        remedy="name a later group; or allow_older: true (--older), to publish the older state",
    )


def _capture(store: Captures, part: RecordedPart) -> Capture:
    """Return a capture as it was when it was fetched; a file's request names its market."""
    if part.erased_at is not None and not part.byte_count:
        raise ConfigurationError(
            "the bytes of a capture were erased, so its delivery cannot be replayed",
            expected=f"the bytes that were fetched at {part.fetched_at}",
            found=f"an erasure removed them at {part.erased_at}, see operations_erasures",
            remedy="replay another delivery, or load the partition with full: true",
        )
    request = json.loads(part.request)
    body = store.restore(part.blob)
    return Capture(
        body=body,
        url=part.url,
        request=request,
        response_headers=json.loads(part.response_headers),
        http_status=part.http_status,
        row_count=part.row_count,
        fetched_at=part.fetched_at,
        market=request.get("market"),
        byte_count=part.byte_count,
        sha256=part.sha256,
        stored_byte_count=part.stored_byte_count,
        storage_uri=part.storage_uri,
        byte_offset=part.byte_offset,
        run_id=part.run_id,
        erased_at=part.erased_at,
    )
