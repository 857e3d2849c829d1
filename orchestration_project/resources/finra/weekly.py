"""FINRA's weekly data as a dataset: rules, warnings, dependents, and the report of a load.

`DatasetLoader` (engine/loader.py) loads it from its source or from captures.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any, cast

from sqlalchemy import ColumnElement, Connection, Table, func, select

from orchestration_project.domains.cboe.tables import off_exchange_share_weekly
from orchestration_project.domains.finra import conservation
from orchestration_project.domains.finra.anomaly_bands import (
    BandLimits,
    EarlierWeeks,
    Size,
    VenueWeek,
    size_of_derived,
    size_of_rows,
    warnings_about,
)
from orchestration_project.domains.finra.audits import (
    MAX_RANGE_ROWS,
    checked_week,
    plausibility_audits,
)
from orchestration_project.domains.finra.calendar import WEEK
from orchestration_project.domains.finra.contract import RULE_VERSION
from orchestration_project.domains.finra.copies import copies_audit, not_a_file
from orchestration_project.domains.finra.gold import (
    symbol_sums,
    symbols_of_tier,
    venue_sums,
    venue_week,
)
from orchestration_project.domains.finra.recomputation import CONCENTRATION, ROLLING
from orchestration_project.domains.finra.restatement import (
    WeekChange,
    merged,
    sentence,
    week_change,
)
from orchestration_project.domains.finra.selection import PARTITIONING, TierWeek, week_of
from orchestration_project.domains.finra.tables.market import (
    finra_symbol_anomalies_week,
    finra_symbol_movers_week,
    finra_venue_movers_week,
    finra_venue_week_all_tiers,
)
from orchestration_project.domains.finra.tables.short import finra_symbol_week_short
from orchestration_project.domains.finra.tables.symbols import (
    finra_symbol_changes,
    finra_symbol_renames,
    finra_symbols,
)
from orchestration_project.domains.finra.tables.weekly import (
    MARKETS,
    METADATA_COLUMNS,
    finra_concentration_week,
    finra_otc_weekly,
    finra_symbol_rolling_6w,
    finra_symbol_week,
    finra_symbol_week_value,
    finra_tier_week,
    finra_venue_week,
)
from orchestration_project.engine.connections.clock import NEW_YORK
from orchestration_project.engine.contracts.audits import Audit, Validated
from orchestration_project.engine.contracts.balance import CountRecords, count_lines
from orchestration_project.engine.contracts.key_ranges import KeyRange, SpillStore
from orchestration_project.engine.contracts.partitioning import Partition, Partitioning
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.dataset import LoadedPartition, LoadSpec
from orchestration_project.engine.warehouse import (
    Delivery,
    Transform,
    ValidatedBatch,
    Warehouse,
    WriteResult,
)
from orchestration_project.engine.warehouse.frames import Scope, format_scope, match_scope
from orchestration_project.engine.warehouse.target import (
    Dependents,
    Derive,
    MergeSummaries,
    Summarise,
)
from orchestration_project.resources.finra.copies import find_copies
from orchestration_project.resources.finra.preview import WrittenPreview, read_preview


def _extend_weeks(partition: Scope, *, weeks: int) -> Scope:
    """Return the week of a tier and so many that follow it."""
    first = cast("Any", partition["week_start"])
    following = tuple(first + number * WEEK for number in range(weeks + 1))
    return {"week_start": following, "tier": partition["tier"]}


def _select_all_symbols(_: Scope) -> Scope:
    return {"symbol": KeyRange()}


def _select_all_tiers(partition: Scope) -> Scope:
    return {"week_start": partition["week_start"]}


DEPENDENTS: dict[Table, Callable[[Scope], Scope]] = {
    finra_symbol_rolling_6w: partial(_extend_weeks, weeks=ROLLING.weeks_back),
    finra_concentration_week: partial(_extend_weeks, weeks=CONCENTRATION.weeks_back),
    finra_symbol_movers_week: partial(_extend_weeks, weeks=CONCENTRATION.weeks_back),
    finra_venue_movers_week: partial(_extend_weeks, weeks=CONCENTRATION.weeks_back),
    finra_symbol_anomalies_week: partial(_extend_weeks, weeks=ROLLING.weeks_back),
    finra_tier_week: _select_all_tiers,
    finra_venue_week_all_tiers: _select_all_tiers,
    finra_symbol_week_value: _select_all_tiers,
    finra_symbol_week_short: _select_all_tiers,
    off_exchange_share_weekly: _select_all_tiers,
    **dict.fromkeys(
        (finra_symbols, finra_symbol_changes, finra_symbol_renames), _select_all_symbols
    ),
}
"""Derived tables with is_stale, and the condition on the rows that a loaded week is part of.

A load that changes a week marks these rows stale; symbol_week and venue_week it derives itself.
"""


DERIVED = {
    finra_symbol_week: Transform(symbol_sums, symbols_of_tier, conservation=conservation.SYMBOLS),
    finra_venue_week: Transform(venue_sums, venue_week, conservation=conservation.VENUES),
}


LoadedWeek = LoadedPartition[WeekChange, WrittenPreview]
"""How a week was loaded."""


@dataclass(frozen=True, kw_only=True)
class WeeklyDataset(LoadSpec[WeekChange, WrittenPreview]):
    """FINRA's OTC data by week and tier, for the loads of one run.

    Attributes:
        limits: When to warn about a week.
        force: Whether a file that holds what another week, tier or market has is loaded.
        rows_at_once: Rows and sums of a week that are held in memory; more are spilled.
    """

    limits: BandLimits
    force: bool = False
    rows_at_once: int = MAX_RANGE_ROWS

    domain: str = "finra"
    table: Table = finra_otc_weekly
    partitioning: Partitioning = PARTITIONING
    source_dataset: str = ""  # each version names it: weeklySummary or weeklySummaryHistoric
    count_records: CountRecords | None = count_lines
    source_setting: str = "FINRA_SOURCE"
    transforms: Derive = field(default_factory=lambda: DERIVED)
    dependents: Dependents = field(default_factory=lambda: DEPENDENTS)
    metadata_columns: Sequence[str] = METADATA_COLUMNS
    summarise: Summarise[WeekChange] = week_change
    merge: MergeSummaries | None = merged
    figures_type: Any = WeekChange
    is_staged: bool = True

    @property
    def rule_version(self) -> str:
        """The version of FINRA's weekly contract."""
        return RULE_VERSION

    def validate(
        self,
        partition: Partition,
        pieces: Iterable[Sequence[Part]],
        *,
        record_total: int | None,
        max_reject_ratio: float,
        spill: Callable[[], SpillStore],
    ) -> Validated:
        """Validate a delivery piece by piece; rows that are too many for memory are spilled."""
        week = week_of(partition)
        return checked_week(
            pieces,
            spill(),
            week_start=week.week_start,
            tier=week.tier,
            record_total=record_total,
            max_reject_ratio=max_reject_ratio,
            rows_at_once=self.rows_at_once,
        )

    def warn(
        self, partition: Partition, connection: Connection, batches: Sequence[ValidatedBatch[Any]]
    ) -> Sequence[Sequence[Audit]]:
        """Compare a delivery with the weeks before its own, and its files with all others.

        Its rows are looked at one by one as well.
        """
        week, limits = week_of(partition), self.limits
        return [
            [
                *warnings_about(
                    _measure_size(batch),
                    read_earlier(connection, week, batch.delivery.scope, weeks=limits.weeks),
                    week_start=week.week_start,
                    limits=limits,
                ),
                *plausibility_audits(
                    batch.validated.pieces(),
                    max_row_shares=limits.max_row_shares,
                    fetched_on=_find_fetch_day(batch),
                ),
                _check_copies(connection, week, batch, is_forced=self.force),
            ]
            for batch in batches
        ]

    def neighbour_rows(
        self, partition: Partition, connection: Connection, batch: ValidatedBatch[Any]
    ) -> Sequence[int]:
        """Return the rows of the weeks before, in the delivery's markets, the latest first."""
        scope, weeks = batch.delivery.scope, self.completeness.neighbour_count
        earlier = read_earlier(connection, week_of(partition), scope, weeks=weeks).figures()
        return [earlier[week]["rows"] for week in sorted(earlier, reverse=True)]

    def describe(
        self, partition: Partition, delivery: Delivery, write_result: WriteResult[WeekChange]
    ) -> str:
        """Describe the changes that the load of a delivery made in a week."""
        if write_result.change is None:
            return ""
        return sentence(
            write_result.change_cause,
            write_result.change,
            week_of(partition),
            part=format_scope(delivery.scope),
            turns_back=delivery.turns_back,
        )

    def preview(self, batch: ValidatedBatch[WeekChange], warehouse: Warehouse) -> WrittenPreview:
        """Return the largest rows, the captures and the shares of recent weeks."""
        with warehouse.reading() as connection:
            return read_preview(connection, batch)


def _find_fetch_day(batch: ValidatedBatch) -> date:
    """Return the day in New York on which the last part of a delivery was downloaded."""
    fetched = max(capture.fetched_at for capture in batch.delivery.captures)
    return fetched.astimezone(NEW_YORK).date()


def _check_copies(
    connection: Connection, partition: TierWeek, batch: ValidatedBatch, *, is_forced: bool
) -> Audit:
    """Return the verdict on a delivery's files; rows of another source name their week."""
    if any(capture.market is None for capture in batch.delivery.captures):
        return not_a_file()
    return copies_audit(find_copies(connection, partition, batch), is_forced=is_forced)


def _measure_size(batch: ValidatedBatch) -> Size:
    """Return how large a delivery is: of a whole one by what was derived, which is far less."""
    derived = batch.derived
    if derived is None:
        return size_of_rows(batch.validated.pieces())
    return size_of_derived(derived[finra_symbol_week], derived[finra_venue_week])


_venue, _symbol = finra_venue_week.c, finra_symbol_week.c

TRADED_IN = {"ATS": _symbol.ats_trade_count > 0, "NON_ATS": _symbol.non_ats_trade_count > 0}


def read_earlier(
    connection: Connection, partition: TierWeek, scope: Scope, *, weeks: int
) -> EarlierWeeks:
    """Return the ``weeks`` before a partition's, by date, as far as they are loaded.

    Of a delivery whose ``scope`` names markets, only these are compared.
    """
    found = scope.get("market", MARKETS)
    markets = found if isinstance(found, tuple) else (found,)
    before = tuple(partition.week_start - number * WEEK for number in range(1, weeks + 1))
    in_tier = {"week_start": before, "tier": partition.tier}
    venues = select(*(_venue[name] for name in VenueWeek._fields)).where(
        match_scope(finra_venue_week, {**in_tier, "market": markets})
    )
    return EarlierWeeks(
        [VenueWeek(*row) for row in connection.execute(venues)],
        _count_symbols(connection, in_tier, [TRADED_IN[str(market)] for market in markets]),
        [str(market) for market in markets],
    )


def _count_symbols(
    connection: Connection, in_tier: Scope, traded: list[ColumnElement[bool]]
) -> Mapping[date, int]:
    """Return how many symbols traded in each week, in one market or in both."""
    only = traded if len(traded) == 1 else []
    counted = (
        select(_symbol.week_start, func.count().label("symbol_count"))
        .where(match_scope(finra_symbol_week, in_tier), *only)
        .group_by(_symbol.week_start)
    )
    return {row.week_start: row.symbol_count for row in connection.execute(counted)}
