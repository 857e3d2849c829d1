"""One week and tier once more, from the bytes that were kept of it: the source is not asked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Table

from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.artifacts import ArtifactStore
from orchestration_project.resources.captures import Capture, Captures, Fetched
from orchestration_project.resources.finra.landing import LoadedWeek, TakenWeek, WeekLanding
from orchestration_project.resources.warehouse import (
    Delivery,
    Recorded,
    RecordedPart,
    ScopeState,
    Warehouse,
)
from orchestration_project.resources.warehouse.landing import is_landed
from orchestration_project.tables.finra import finra_otc_weekly


@dataclass(frozen=True)
class WeeklyReplay:
    """Checks and lands recorded deliveries of `finra_otc_weekly` again, by the present rules.

    Without ``group_id`` it is each partition's latest delivery that was read whole, landed or
    not. ``allow_older`` lets what was fetched earlier replace what is landed.
    """

    landing: WeekLanding
    group_id: str | None = None
    allow_older: bool = False

    @property
    def where(self) -> Mapping[str, str]:
        """What an error names besides partition and run."""
        return {"asset": "finra/otc_weekly", "source": "captures"}

    def ready(self) -> None:
        """Open the database and the artifact store; a replay asks no source.

        Raises:
            OrchestrationError: One of them cannot be opened.
        """
        self.landing.ready()

    def take(self, key: str) -> TakenWeek:
        """Read a delivery's captures from the artifact store and check them.

        What would change nothing needs no landing: then nothing is written.

        Raises:
            ConfigurationError: There is no such delivery, or it is older than what is landed.
            BlobError: The store does not hold what was captured.
            ContractError: The bytes are no weekly data.
        """
        partition = self.landing.partition(key)
        kept = kept_of(
            self.landing.warehouse, finra_otc_weekly, key, self.group_id, self.allow_older
        )
        order = self.landing.order(partition, kept.state.token)
        captures = partial(captures_of, self.landing.warehouse, self.landing.artifacts, kept)
        intake = self.landing.take(
            partition, order, kept.delivery(()), lambda _: kept.delivery(captures())
        )
        is_held_back = intake.checked.is_held_back
        if not is_held_back and is_landed(kept.state, order, intake.delivery, intake.prepared):
            source, version = kept.chosen.source, kept.chosen.source_version
            return TakenWeek(order, partition, source, version, landed_by=kept.state.run_id)
        return self.landing.staged(partition, order, intake)

    def land(self, taken: TakenWeek) -> LoadedWeek:
        """Land a taken delivery, as `WeekLanding.land`."""
        return self.landing.land(taken)


@dataclass(frozen=True)
class Kept:
    """A recorded delivery that is to be landed again, and what is landed of its partition.

    ``turns_back`` says whether what is landed was fetched later.
    """

    state: ScopeState
    chosen: Recorded
    turns_back: bool

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
        )


def kept_of(
    warehouse: Warehouse, table: Table, key: str, group_id: str | None, allow_older: bool
) -> Kept:
    """Return the delivery ``group_id`` of a partition; without it, the latest that was read whole.

    Raises:
        ConfigurationError: There is none, or it is older than what is landed and may not be.
    """
    state, recorded = warehouse.recorded(table, key)
    chosen = _chosen(key, recorded, group_id)
    return Kept(state, chosen, _turns_back(chosen, recorded, allow_older))


def captures_of(warehouse: Warehouse, artifacts: ArtifactStore, kept: Kept) -> list[Capture]:
    """Return what makes a kept delivery up, its bytes verified.

    Raises:
        BlobError: The store does not hold what was captured.
    """
    store = Captures(artifacts)
    return [_capture(store, part) for part in warehouse.recorded_parts(kept.chosen)]


def _chosen(key: str, recorded: Sequence[Recorded], group_id: str | None) -> Recorded:
    found = [each for each in recorded if each.part_count and group_id in (None, each.group_id)]
    if found:
        return found[-1]
    there_are = [each.group_id for each in recorded if each.part_count]
    raise ConfigurationError(
        f"{key} has no delivery to replay",
        expected=group_id or "a delivery that was read whole",
        found=", ".join(there_are) or "none since this version records them",
        remedy="name another group, or load the partition with full: true",
    )


def _turns_back(chosen: Recorded, recorded: Sequence[Recorded], allow_older: bool) -> bool:
    """Whether what is landed was fetched later.

    Raises:
        ConfigurationError: So it is, and nobody asked for that.
    """
    landed = [each for each in recorded if each.outcome == "landed"]
    if not landed or chosen.fetched_number >= landed[-1].fetched_number:
        return False
    if allow_older:
        return True
    raise ConfigurationError(
        f"{chosen.group_id} is older than what is landed",
        expected=f"{landed[-1].fetched_group} or a later delivery",
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
