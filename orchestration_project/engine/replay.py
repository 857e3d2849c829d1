"""What was kept of deliveries, to be checked and landed again: the source is not asked."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import polars as pl
from sqlalchemy import Table

from orchestration_project.connections.artifacts import ArtifactStore
from orchestration_project.engine.captures import Capture, Captures, Fetched
from orchestration_project.engine.warehouse import (
    Delivery,
    Recorded,
    RecordedPart,
    ScopeState,
    Warehouse,
    WriteTarget,
)
from orchestration_project.engine.warehouse.delivery import SummaryT, WriteDisposition
from orchestration_project.engine.warehouse.frames import (
    Scope,
    frame_within,
    range_of,
    share_rows,
)
from orchestration_project.engine.warehouse.recorded import (
    EffectivePart,
    effective_deliveries,
    has_landed,
    is_of_one,
    layers_of,
    part_layers_of,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.schema import key_names


@dataclass(frozen=True)
class RecordedDelivery:
    """A recorded delivery that is to be landed again, and what is landed of its partition.

    ``turns_back`` says whether what is landed in its place was fetched later, ``lands_again``
    whether that was read from the same bytes.
    """

    state: ScopeState
    chosen: Recorded
    turns_back: bool = False
    lands_again: bool = False

    def delivery(self, captures: Sequence[Capture]) -> Delivery:
        """Return it as a delivery of its own, made of these captures."""
        return Delivery(
            source=self.chosen.source,
            dataset=self.chosen.dataset,
            source_version=self.chosen.source_version,
            record_total=self.chosen.record_total,
            scope=self.chosen.scope,
            captures=captures,
            replay_of=self.chosen.fetched_group,
            turns_back=self.turns_back,
            lands_again=self.lands_again,
        )


def kept_parts(
    warehouse: Warehouse, table: Table, key: str, group_id: str | None, allow_older: bool
) -> tuple[RecordedDelivery, list[EffectivePart]]:
    """Return the deliveries that make up a partition whose parts may come one by one, oldest first.

    The kept one is the latest of them. With ``group_id`` it is that one alone.

    Raises:
        ConfigurationError: There is none, or it is older than what is landed and may not be.
    """
    state, recorded = warehouse.recorded(table, key)
    chosen = _chosen(key, recorded, group_id)
    landed = _landed_in_place_of(chosen, recorded)
    turns_back = _turns_back(chosen, landed, allow_older)
    lands_again = landed is not None and landed.fetched_group == chosen.fetched_group
    layers = part_layers_of(recorded) if group_id is None else [EffectivePart(chosen, None)]
    return RecordedDelivery(state, chosen, turns_back, lands_again), layers


def kept_deliveries(
    warehouse: Warehouse,
    table: Table,
    key: str,
    write_disposition: WriteDisposition,
    *,
    group_id: str | None = None,
    allow_older: bool = False,
) -> tuple[RecordedDelivery, list[Recorded]]:
    """Return the deliveries that make up a partition, of the whole or parts of it, oldest first.

    The kept one is the latest of them. With ``group_id`` it is that one alone.

    Raises:
        ConfigurationError: As `kept_parts`; or the group is itself a replay of several deliveries.
    """
    state, recorded = warehouse.recorded(table, key)
    chosen = _chosen(key, recorded, group_id)
    if group_id is None:
        effective = effective_deliveries(recorded, write_disposition)
        lands_again = has_landed(effective[-1], recorded)
        return RecordedDelivery(state, effective[-1], lands_again=lands_again), effective
    _refuse_several(chosen, recorded)
    turns_back = _turns_back(chosen, _landed_in_place_of(chosen, recorded), allow_older)
    return RecordedDelivery(state, chosen, turns_back, has_landed(chosen, recorded)), [chosen]


def fold_target(
    order: WriteTarget[SummaryT], kept: RecordedDelivery, captures: Sequence[Capture]
) -> tuple[WriteTarget[SummaryT], Delivery]:
    """Return how all deliveries that make up a partition are written as one, made of ``captures``.

    Together they are complete for the partition: what merged rows lack by newer rules is removed.
    An append stays one.
    """
    delivery = replace(kept.delivery(captures), scope={})
    if order.write_disposition == "append":
        return order, delivery
    return replace(order, write_disposition="replace_scope"), delivery


def fold_rows(
    table: Table,
    write_disposition: WriteDisposition,
    loads: Sequence[tuple[Scope, pl.DataFrame]],
) -> pl.DataFrame:
    """Return the rows of a partition after its deliveries, one at least, oldest first.

    Each comes as its scope and its rows. Of a row's key, the latest delivery counts; where
    deliveries replace their scope, so does a later one that lacks the key.
    """
    if write_disposition != "replace_scope":
        rows = pl.concat(rows for _, rows in loads)
        return rows.unique(key_names(table), keep="last", maintain_order=True)
    folded = loads[0][1]
    for scope, rows in loads[1:]:
        folded = pl.concat([folded.filter(~frame_within(scope)), rows])
    return folded


def captures_of(
    warehouse: Warehouse, artifacts: ArtifactStore, recorded: Recorded
) -> Iterator[Capture]:
    """Yield what makes a recorded delivery up, its bytes verified.

    Raises:
        BlobError: The store does not hold what was captured.
    """
    store = Captures(artifacts)
    for part in warehouse.recorded_parts(recorded):
        yield _capture(store, part)


def _chosen(key: str, recorded: Sequence[Recorded], group_id: str | None) -> Recorded:
    whole = [each for each in recorded if each.part_count]
    found = [
        each
        for each in whole
        if (not each.is_vain_replay if group_id is None else each.group_id == group_id)
    ]
    if found:
        return found[-1]
    there_are = [each.group_id for each in whole]
    raise ConfigurationError(
        f"{key} has no delivery to replay",
        expected=group_id or "a delivery that was read whole",
        found=", ".join(there_are) or "none since this version records them",
        remedy="name another group, or load the partition with full: true",
    )


def _refuse_several(chosen: Recorded, recorded: Sequence[Recorded]) -> None:
    if not is_of_one(chosen, recorded):
        raise ConfigurationError(
            f"{chosen.group_id} replayed several deliveries at once",
            expected="a delivery that was fetched",
            found=f"{chosen.part_count} captures of several",
            remedy="name one of those, or name the symbol to have all of them replayed",
        )


def _landed_in_place_of(chosen: Recorded, recorded: Sequence[Recorded]) -> Recorded | None:
    """Return the latest delivery that is landed where ``chosen`` would be.

    A replay of several deliveries is none of them: each stays in its own place.
    """
    days = range_of(chosen.scope)
    if days is None or any(range_of(each.scope) is None for each in recorded if each.part_count):
        landed = (
            each
            for each in reversed(recorded)
            if is_of_one(each, recorded) and has_landed(each, recorded) and not each.is_vain_replay
        )
        return next((each for each in landed if share_rows(each.scope, chosen.scope)), None)
    layers = layers_of(recorded, only_landed=True)
    found = [each.recorded for each in layers if each.holds_within(days)]
    return max(found, key=lambda each: each.fetched_number, default=None)


def _turns_back(chosen: Recorded, landed: Recorded | None, allow_older: bool) -> bool:
    """Whether what is landed was fetched later.

    Raises:
        ConfigurationError: So it is, and nobody asked for that.
    """
    if landed is None or chosen.fetched_number >= landed.fetched_number:
        return False
    if allow_older:
        return True
    raise ConfigurationError(
        f"{chosen.group_id} is older than what is landed",
        expected=f"{landed.fetched_group} or a later delivery",
        found=f"a delivery fetched as {chosen.fetched_group}",
        remedy="name a later group; or allow_older: true (--older), to publish the older state",
    )


def _capture(store: Captures, part: RecordedPart) -> Capture:
    """Return a capture as it was when it was fetched; a file's request names its market."""
    request = json.loads(part.request)
    body = store.taken_up(
        sha256=part.sha256, byte_count=part.byte_count, storage_uri=part.storage_uri
    )
    fetched = Fetched(
        body=body,
        url=part.url,
        request=request,
        response_headers=json.loads(part.response_headers),
        http_status=part.http_status,
        row_count=part.row_count,
        fetched_at=part.fetched_at,
        market=request.get("market"),
    )
    return Capture(
        fetched,
        part.byte_count,
        part.sha256,
        part.stored_byte_count,
        part.storage_uri,
        run_id=part.run_id,
    )
