"""The load of one week and tier, from its source to the landed tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from orchestration_project.domains.finra.contract import RULE_VERSION
from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.engine.captures import Capture
from orchestration_project.engine.environment import open_all
from orchestration_project.engine.warehouse import Delivery, ScopeState
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.finra.landing import LoadedWeek, TakenWeek, WeekLanding
from orchestration_project.resources.finra.source import FinraSource, SourceVersion
from orchestration_project.tables.finra import finra_otc_weekly


@dataclass(frozen=True)
class WeeklyLoad:
    """Loads partitions of `finra_otc_weekly` and what is derived of each.

    ``full`` reads a partition again although the source says that it did not change, unless it is
    one of ``done``; ``force`` replaces what came from another source, and lands a file that holds
    what another week or market has.
    """

    finra: FinraSource
    landing: WeekLanding
    full: bool = False
    force: bool = False
    done: frozenset[str] = frozenset()

    @property
    def where(self) -> Mapping[str, str]:
        """What an error names besides partition and run."""
        return {"asset": "finra/otc_weekly", "source": self.finra.name}

    def ready(self) -> None:
        """Open the database, the artifact store and the source.

        Raises:
            OrchestrationError: One of them cannot be opened.
        """
        self.landing.ready()
        open_all(self.finra)

    def take(self, key: str) -> TakenWeek:
        """Fetch a partition and check it, unless the source holds what is landed.

        Raises:
            OrchestrationError: As the source, the contract and the key's rules do.
        """
        partition = self.landing.partition(key)
        state = self.landing.warehouse.state(finra_otc_weekly, key)
        self._refuse_other_source(key, state)
        version = self._version(partition)
        order = self.landing.order(partition, state)
        if self._is_landed(key, state, version):
            return TakenWeek(order, partition, self.finra.name, version.text)
        versions = chain([version], iter(lambda: self._version(partition), None))
        intake = self.landing.take(
            partition,
            order,
            self._delivery(version, ()),
            lambda kept: self._read(partition, next(versions), kept),
        )
        return self.landing.staged(partition, order, intake)

    def land(self, taken: TakenWeek) -> LoadedWeek:
        """Land a taken partition, as `WeekLanding.land`."""
        return self.landing.land(taken, force=self.force)

    def _is_landed(self, key: str, state: ScopeState, version: SourceVersion) -> bool:
        is_enough = not self.full or key in self.done
        return is_enough and (state.source, state.source_version, state.rule_version) == (
            self.finra.name,
            version.text,
            RULE_VERSION,
        )

    def _refuse_other_source(self, key: str, state: ScopeState) -> None:
        if state.source not in (None, self.finra.name) and not self.force:
            raise ConfigurationError(
                f"{key} was landed from another source",
                expected=f"more from {state.source}",
                found=f"FINRA_SOURCE={self.finra.name}",
                remedy="set FINRA_SOURCE back, use another DATABASE_URL, or replace the partition "
                "by force: true in the run's config",
            )

    def _delivery(self, version: SourceVersion, captures: Sequence[Capture]) -> Delivery:
        return Delivery(
            source=self.finra.name,
            dataset=version.dataset,
            source_version=version.text,
            record_total=version.record_total,
            scope=version.scope,
            captures=captures,
        )

    def _version(self, partition: TierWeek) -> SourceVersion:
        return self.finra.version(partition.week_start, partition.tier)

    def _read(self, partition: TierWeek, version: SourceVersion, kept: list[Capture]) -> Delivery:
        captures = self.finra.fetch(partition.week_start, partition.tier, version, kept)
        return self._delivery(version, captures)
