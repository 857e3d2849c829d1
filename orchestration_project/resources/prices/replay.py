"""Replay of symbols from captured bytes, without a request to a source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy import Connection

from orchestration_project.domains.prices.audits import PriceLimits, checked_prices
from orchestration_project.domains.prices.contract import RequestedRange, check_prices, read_counted
from orchestration_project.domains.prices.states import LOADED
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.captures import Capture, build_parts
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.key_ranges import Days
from orchestration_project.engine.environment import open_all
from orchestration_project.engine.loader import take
from orchestration_project.engine.replay import replay_plan, validate_together
from orchestration_project.engine.warehouse import (
    Delivery,
    RecordedDelivery,
    ValidatedBatch,
    Warehouse,
    WriteOutcome,
    WriteResult,
)
from orchestration_project.engine.warehouse.recorded import parse_group_id, read_delivered_days
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.resources.prices.load import month_named
from orchestration_project.resources.prices.source import is_until_now
from orchestration_project.resources.prices.states import (
    SymbolObservation,
    read_known,
    record_observations,
    symbols_of,
)
from orchestration_project.resources.prices.writing import (
    LoadedPrices,
    PriceChange,
    PriceWriter,
    loaded,
)


@dataclass(frozen=True)
class ReplayedPrices:
    """Recorded deliveries of a symbol, validated; without ``batch`` they are loaded unchanged.

    ``arrives`` is the range of a delivery that was not loaded before.
    """

    symbol: str
    source: str
    days: Days
    batch: ValidatedBatch[PriceChange] | None
    arrives: Days | None


@dataclass(frozen=True)
class PriceReplay:
    """Checks and loads what was kept of symbols of `prices_daily` again, by the present rules.

    Without ``group_id`` these are all deliveries that make up what is loaded of a symbol, and the
    latest one that was read whole: in one load, each for the days for which no later one holds.
    ``symbols`` are those; without any, all that were ever requested in the months of the run.
    ``allow_older`` lets what was fetched earlier replace what is loaded.
    """

    warehouse: Warehouse
    artifacts: ArtifactStore
    clock: Clock
    run_id: str
    limits: PriceLimits
    symbols: Sequence[str] = ()
    group_id: str | None = None
    allow_older: bool = False

    @property
    def where(self) -> Mapping[str, str]:
        """Context of errors besides symbol and run."""
        return {"asset": "prices/daily", "source": "captures"}

    def ready(self) -> None:
        """Open the database and the artifact store; a replay asks no source.

        Raises:
            OrchestrationError: One of them cannot be opened.
        """
        open_all(self.warehouse, self.artifacts)

    def pieces(self, partitions: Sequence[str]) -> Sequence[str]:
        """Return the symbols to be replayed, each with all that is loaded of it.

        Raises:
            ConfigurationError: There is none, or a key names no month, or the group no delivery.
        """
        if self.group_id is not None:
            return [parse_group_id(self.group_id)[1]]
        symbols = symbols_of(self.warehouse, list(map(month_named, partitions)))
        kept_names = set(self.warehouse.replayable(prices_daily))
        fromkeys = list(dict.fromkeys(self.symbols)) or [
            symbol for symbol in symbols if symbol in kept_names
        ]
        if not fromkeys:
            raise ConfigurationError(
                "there is nothing to replay",
                expected="a symbol with a delivery in the months of the run",
                found="none",
                remedy="choose other months, or load them first",
            )
        return fromkeys

    def take(self, key: str) -> ReplayedPrices:
        """Read a symbol's captures from the artifact store and check them.

        What would change nothing needs no load: then nothing is written.

        Raises:
            ConfigurationError: The delivery does not exist, or is older than the loaded one.
            BlobError: The store does not hold what was captured.
            SourceError: The bytes are not prices.
        """
        plan = replay_plan(
            self.warehouse,
            prices_daily,
            key,
            group_id=self.group_id,
            allow_older=self.allow_older,
        )
        made_of, delivery = plan.made_of, plan.delivery
        ranges = [read_delivered_days(recorded_delivery) for recorded_delivery in made_of]
        days = Days(min(span.first for span in ranges), max(span.last for span in ranges))

        def read(_: list[Capture]) -> Delivery:
            captures = list(plan.captures(self.warehouse, self.artifacts))
            return replace(delivery, captures=captures)

        def check(found: Delivery) -> Validated:
            validate = partial(self._validated, key)
            return validate_together(prices_daily, made_of, found.captures, validate)

        target = self._writer.target(key, plan.state)
        batch = take(self.warehouse, target, delivery, read, check)
        is_needed = batch.validated.is_quarantined or self.warehouse.are_there([batch]) == [False]
        arrives = None if delivery.loads_again else ranges[-1]
        return ReplayedPrices(key, delivery.source, days, batch if is_needed else None, arrives)

    def write_batch(self, taken: ReplayedPrices) -> LoadedPrices:
        """Load a taken symbol, and note of its months what that changes.

        Raises:
            QuarantinedError: An audit failed.
            SupersededError: Another run delivered the symbol meanwhile.
        """
        write_result = figures = None
        if taken.batch is not None:
            figures = taken.batch.figures
            note = partial(self._note, taken, taken.batch.delivery)
            write_result = self._writer.write_batch([taken.batch], {}, note)[taken.symbol]
            if isinstance(write_result, OrchestrationError):
                raise write_result
        with self.warehouse.reading() as connection:
            entries = read_known(connection, [(taken.symbol, taken.days)])
        rows = entries[taken.symbol].values()
        return loaded(taken.symbol, taken.source, LOADED, rows, figures, write_result)

    @property
    def _writer(self) -> PriceWriter:
        return PriceWriter(self.warehouse, self.clock, self.run_id, self.limits)

    def _note(
        self,
        taken: ReplayedPrices,
        delivery: Delivery,
        connection: Connection,
        ended: Sequence[WriteOutcome[PriceChange]],
    ) -> None:
        """Record the changes of a load; a quarantined delivery changes nothing."""
        if not isinstance(ended[0], WriteResult):
            return
        now, arrives = self.clock.now(), taken.arrives
        if arrives is not None:
            observation = SymbolObservation(
                taken.symbol, arrives, LOADED, arrives.last, delivery.source
            )
            record_observations(connection, [observation], now=now, run_id=self.run_id)
        record_observations(
            connection, [SymbolObservation(taken.symbol, taken.days)], now=now, run_id=self.run_id
        )

    def _validated(
        self, symbol: str, found: Sequence[tuple[RecordedDelivery, Sequence[Capture]]]
    ) -> Sequence[Validated]:
        entries = []
        for recorded_delivery, captures in found:
            spelled = str(captures[0].request["symbol"])
            received = sum(capture.byte_count for capture in captures)
            answer, count = read_counted(recorded_delivery.source, build_parts(captures), received)
            days = read_delivered_days(recorded_delivery)
            ranged = RequestedRange(
                answer, symbol, spelled, recorded_delivery.source, days.first, days.last
            )
            entries.append(replace(ranged, is_until_now=is_until_now(captures), count=count))
        return checked_prices(check_prices(entries), self.limits)
