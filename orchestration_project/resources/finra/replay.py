"""One week and tier once more, from the bytes that were kept of it: the source is not asked."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.captures import Capture, Captures, Fetched
from orchestration_project.resources.finra.landing import LoadedWeek, TakenWeek, WeekLanding
from orchestration_project.resources.warehouse import Delivery, Recorded, RecordedPart
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
        state, recorded = self.landing.warehouse.recorded(finra_otc_weekly, key)
        chosen = self._chosen(key, recorded)
        turns_back = self._turns_back(chosen, recorded)
        order = self.landing.order(partition, state.token)
        intake = self.landing.take(
            partition,
            order,
            _delivery(chosen, (), turns_back=turns_back),
            lambda _: _delivery(chosen, self._captures(chosen), turns_back=turns_back),
        )
        is_held_back = intake.checked.is_held_back
        if not is_held_back and is_landed(state, order, intake.delivery, intake.prepared):
            return TakenWeek(
                order, partition, chosen.source, chosen.source_version, landed_by=state.run_id
            )
        return self.landing.staged(partition, order, intake)

    def land(self, taken: TakenWeek) -> LoadedWeek:
        """Land a taken delivery, as `WeekLanding.land`."""
        return self.landing.land(taken)

    def _chosen(self, key: str, recorded: Sequence[Recorded]) -> Recorded:
        found = [
            each for each in recorded if each.part_count and self.group_id in (None, each.group_id)
        ]
        if found:
            return found[-1]
        there_are = [each.group_id for each in recorded if each.part_count]
        raise ConfigurationError(
            f"{key} has no delivery to replay",
            expected=self.group_id or "a delivery that was read whole",
            found=", ".join(there_are) or "none since this version records them",
            remedy="name another group, or load the partition with full: true",
        )

    def _turns_back(self, chosen: Recorded, recorded: Sequence[Recorded]) -> bool:
        """Whether what is landed was fetched later.

        Raises:
            ConfigurationError: So it is, and nobody asked for that.
        """
        landed = [each for each in recorded if each.outcome == "landed"]
        if not landed or chosen.fetched_number >= landed[-1].fetched_number:
            return False
        if self.allow_older:
            return True
        raise ConfigurationError(
            f"{chosen.group_id} is older than what is landed",
            expected=f"{landed[-1].fetched_group} or a later delivery",
            found=f"a delivery fetched as {chosen.fetched_group}",
            remedy="name a later group; or allow_older: true (--older), to publish the older state",
        )

    def _captures(self, recorded: Recorded) -> list[Capture]:
        store = Captures(self.landing.artifacts)
        return [_capture(store, part) for part in self.landing.warehouse.recorded_parts(recorded)]


def _delivery(recorded: Recorded, captures: Sequence[Capture], *, turns_back: bool) -> Delivery:
    return Delivery(
        source=recorded.source,
        dataset=recorded.dataset,
        source_version=recorded.source_version,
        record_total=recorded.record_total,
        scope=recorded.scope,
        captures=captures,
        replay_of=recorded.fetched_group,
        turns_back=turns_back,
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
