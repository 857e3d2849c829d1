"""One week and tier once more, from the bytes that were kept of it: the source is not asked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from orchestration_project.domains.finra.restatement import WeekChange
from orchestration_project.engine.captures import Capture, bounded
from orchestration_project.engine.loads import Intake
from orchestration_project.engine.replay import RecordedDelivery, captures_of, kept_parts
from orchestration_project.engine.warehouse import Delivery, ScopeState, WriteRequest, WriteTarget
from orchestration_project.engine.warehouse.landing import is_landed
from orchestration_project.engine.warehouse.recorded import EffectivePart
from orchestration_project.resources.finra.landing import LoadedWeek, TakenWeek, WeekLanding
from orchestration_project.tables.finra import finra_otc_weekly


@dataclass(frozen=True)
class WeeklyReplay:
    """Checks and lands recorded deliveries of `finra_otc_weekly` again, by the present rules.

    Without ``group_id`` it is each partition's latest delivery that was read whole, landed or
    not; where that is of one market, what is landed of the other lands with it. ``allow_older``
    lets what was fetched earlier replace what is landed.
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
        kept, layers = kept_parts(
            self.landing.warehouse, finra_otc_weekly, key, self.group_id, self.allow_older
        )
        order = self.landing.order(partition, kept.state)
        intake = self.landing.take(
            partition,
            order,
            _delivery(kept, layers, ()),
            lambda _: _delivery(kept, layers, bounded(self._captures(layers))),
        )
        if self._is_there(kept.state, order, intake):
            source, version = kept.chosen.source, kept.chosen.source_version
            return TakenWeek(order, partition, source, version)
        return self.landing.staged(partition, order, intake)

    def land(self, taken: TakenWeek) -> LoadedWeek:
        """Land a taken delivery, as `WeekLanding.land`."""
        return self.landing.land(taken)

    def _captures(self, layers: Sequence[EffectivePart]) -> Iterator[Capture]:
        for layer in layers:
            for each in captures_of(self.landing.warehouse, self.landing.artifacts, layer.recorded):
                if layer.values is None or each.fetched.market in layer.values:
                    yield each

    def _is_there(self, before: ScopeState, order: WriteTarget[WeekChange], intake: Intake) -> bool:
        """Whether landing would change nothing, whichever deliveries landed what is there."""
        if intake.checked.is_held_back:
            return False
        if is_landed(before, order, intake.delivery, intake.prepared):
            return True
        is_same_rule = before.rule_version == order.rule_version
        if not is_same_rule or not intake.delivery.lands_again or intake.checked.ranges:
            return False
        ready = WriteRequest(order, intake.delivery, intake.prepared)
        return self.landing.warehouse.are_there([ready]) == [True]


def _delivery(
    kept: RecordedDelivery, layers: Sequence[EffectivePart], captures: Sequence[Capture]
) -> Delivery:
    """Return the kept delivery, with what else makes its partition up."""
    delivery = kept.delivery(captures)
    if len(layers) == 1:
        return delivery
    markets = sorted(value for layer in layers for value in layer.values or ())
    return replace(delivery, scope={"market": tuple(markets)})
