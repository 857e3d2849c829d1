"""One week and tier once more, from the bytes that were kept of it: the source is not asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from orchestration_project.resources.captures import bounded
from orchestration_project.resources.finra.landing import LoadedWeek, TakenWeek, WeekLanding
from orchestration_project.resources.replay import captures_of, kept_of
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
        order = self.landing.order(partition, kept.state)
        taken_up = partial(captures_of, self.landing.warehouse, self.landing.artifacts, kept.chosen)
        intake = self.landing.take(
            partition, order, kept.delivery(()), lambda _: kept.delivery(bounded(taken_up()))
        )
        is_held_back = intake.checked.is_held_back
        if not is_held_back and is_landed(kept.state, order, intake.delivery, intake.prepared):
            source, version = kept.chosen.source, kept.chosen.source_version
            return TakenWeek(order, partition, source, version)
        return self.landing.staged(partition, order, intake)

    def land(self, taken: TakenWeek) -> LoadedWeek:
        """Land a taken delivery, as `WeekLanding.land`."""
        return self.landing.land(taken)
