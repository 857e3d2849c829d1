"""The load of one week and tier, from its source to the landed tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import chain

from sqlalchemy import Connection

from orchestration_project.contracts import Audit, Checked
from orchestration_project.domains.finra.audits import checked_week
from orchestration_project.domains.finra.contract import RULE_VERSION
from orchestration_project.domains.finra.gold import symbol_week, venue_week
from orchestration_project.domains.finra.restatement import WeekChange, sentence, week_change
from orchestration_project.domains.finra.selection import TierWeek, tier_week
from orchestration_project.domains.finra.usual import Limits, warnings_about
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.artifacts import ArtifactStore, put_frame
from orchestration_project.resources.captures import Capture, parts_of
from orchestration_project.resources.finra.earlier import read_earlier
from orchestration_project.resources.finra.glimpse import Glimpse, glimpse
from orchestration_project.resources.finra.source import FinraSource, SourceVersion
from orchestration_project.resources.intake import Intake, IntakeFigures, take
from orchestration_project.resources.opening import open_now
from orchestration_project.resources.warehouse import (
    Delivery,
    Landed,
    Order,
    ScopeState,
    Warehouse,
)
from orchestration_project.resources.warehouse.frames import Scope, shown_scope
from orchestration_project.tables.finra import (
    METADATA_COLUMNS,
    finra_otc_weekly,
    finra_otc_weekly_history,
    finra_symbol_week,
    finra_venue_week,
)

DERIVED = {finra_symbol_week: symbol_week, finra_venue_week: venue_week}


@dataclass(frozen=True)
class TakenWeek:
    """A partition that was fetched and checked; without intake, what is landed is current."""

    order: Order[WeekChange]
    partition: TierWeek
    source_version: str
    intake: Intake | None = None
    staged_name: str = ""


@dataclass(frozen=True)
class LoadedWeek:
    """How a partition was loaded, in figures: a run over many keeps one of these for each.

    Without ``landed``, the source had nothing new; ``change`` is a sentence, empty where no row
    was written.
    """

    source: str
    source_version: str
    row_counts: Mapping[str, int]
    figures: IntakeFigures | None = None
    landed: Landed[WeekChange] | None = None
    staged_name: str = ""
    change: str = ""
    glimpse: Glimpse | None = None

    def __str__(self) -> str:
        if self.landed is None or self.figures is None:
            return f"unchanged; source {self.source}"
        return (
            f"{self.landed.rows_added} rows added, {self.landed.rows_changed} changed, "
            f"{self.landed.rows_removed} removed, {self.landed.rows_unchanged} unchanged, "
            f"{self.figures.rejects} rejected; source {self.source}{self._warned}"
        )

    @property
    def _warned(self) -> str:
        warnings = self.landed.warnings if self.landed else ()
        return f"; unusual: {', '.join(warnings)}" if warnings else ""


@dataclass(frozen=True)
class WeeklyLoad:
    """Loads partitions of `finra_otc_weekly` and what is derived of each.

    ``full`` reads a partition again although the source says that it did not change; ``force``
    replaces what came from another source.
    """

    finra: FinraSource
    warehouse: Warehouse
    artifacts: ArtifactStore
    today: date
    run_id: str
    max_reject_ratio: float
    limits: Limits
    full: bool = False
    force: bool = False

    @property
    def where(self) -> Mapping[str, str]:
        """What an error names besides partition and run."""
        return {"asset": "finra/otc_weekly", "source": self.finra.name}

    def ready(self) -> None:
        """Open the database, the source and the artifact store.

        Raises:
            OrchestrationError: One of them cannot be opened.
        """
        open_now(self.warehouse, self.finra, self.artifacts)

    def take(self, key: str) -> TakenWeek:
        """Fetch a partition and check it, unless the source holds what is landed.

        Raises:
            OrchestrationError: As the source, the contract and the key's rules do.
        """
        partition = tier_week(key, today=self.today)
        state = self.warehouse.state(finra_otc_weekly, key)
        self._refuse_other_source(key, state)
        version = self._version(partition)
        order = self._order(partition, state)
        if self._is_landed(state, version):
            return TakenWeek(order, partition, version.text)
        versions = chain([version], iter(lambda: self._version(partition), None))
        intake = take(
            self.warehouse,
            order,
            self._delivery(version, ()),
            lambda kept: self._read(partition, next(versions), kept),
            lambda delivery: self._check(partition, delivery),
        )
        source_version = intake.delivery.source_version
        staged_name = self._stage(partition, intake)
        return TakenWeek(order, partition, source_version, intake, staged_name)

    def land(self, taken: TakenWeek) -> LoadedWeek:
        """Land a taken partition and derive from it, in one transaction.

        Raises:
            HeldBackError: An audit failed.
            SupersededError: Another run delivered the partition meanwhile.
        """
        landed = figures = seen = None
        change = ""
        if taken.intake is not None:
            delivery = taken.intake.delivery
            landed = self.warehouse.land(taken.order, delivery, taken.intake.checked)
            figures = taken.intake.figures
            change = _sentence(landed, taken.partition, delivery.scope)
            with self.warehouse.reading() as connection:
                seen = glimpse(connection, taken.partition, taken.intake)
        counts = self.warehouse.row_counts((finra_otc_weekly, *DERIVED), taken.order.partition)
        return LoadedWeek(
            self.finra.name,
            taken.source_version,
            counts,
            figures,
            landed,
            taken.staged_name,
            change,
            seen,
        )

    def _stage(self, partition: TierWeek, intake: Intake) -> str:
        """Store the checked rows as Parquet and return the artifact's name."""
        folder = f"staged/{finra_otc_weekly.name}/{partition.tier}/{partition.week_start}"
        return put_frame(self.artifacts, folder, intake.checked.rows)

    def _order(self, partition: TierWeek, state: ScopeState) -> Order[WeekChange]:
        return Order(
            table=finra_otc_weekly,
            history=finra_otc_weekly_history,
            partition_key=partition.key,
            partition={"tier": partition.tier, "week_start": partition.week_start},
            token=state.token,
            metadata_columns=METADATA_COLUMNS,
            rule_version=RULE_VERSION,
            run_id=self.run_id,
            derive=DERIVED,
            summarise=week_change,
            warn=partial(self._warnings, partition),
        )

    def _warnings(
        self, partition: TierWeek, connection: Connection, delivery: Delivery, checked: Checked
    ) -> Sequence[Audit]:
        """Compare a delivery with the weeks before its own, as they are landed."""
        earlier = read_earlier(connection, partition, delivery.scope, weeks=self.limits.weeks)
        return warnings_about(
            checked.rows, earlier, week_start=partition.week_start, limits=self.limits
        )

    def _is_landed(self, state: ScopeState, version: SourceVersion) -> bool:
        return not self.full and (state.source, state.source_version, state.rule_version) == (
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

    def _check(self, partition: TierWeek, delivery: Delivery) -> Checked:
        return checked_week(
            parts_of(delivery.captures),
            week_start=partition.week_start,
            tier=partition.tier,
            record_total=delivery.record_total,
            max_reject_ratio=self.max_reject_ratio,
        )


def _sentence(landed: Landed[WeekChange], partition: TierWeek, scope: Scope) -> str:
    if landed.change is None:
        return ""
    return sentence(landed.change_cause, landed.change, partition, part=shown_scope(scope))
