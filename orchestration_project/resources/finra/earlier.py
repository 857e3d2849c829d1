"""What is landed of the weeks before a week, to compare it with."""

from collections.abc import Mapping
from datetime import date

from sqlalchemy import ColumnElement, Connection, func, select

from orchestration_project.domains.finra.anomaly_bands import Earlier, VenueWeek
from orchestration_project.domains.finra.calendar import WEEK
from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.engine.warehouse.frames import Scope, within
from orchestration_project.tables.finra import MARKETS, finra_symbol_week, finra_venue_week

_venue, _symbol = finra_venue_week.c, finra_symbol_week.c

TRADED_IN = {"ATS": _symbol.ats_trade_count > 0, "NON_ATS": _symbol.non_ats_trade_count > 0}


def read_earlier(
    connection: Connection, partition: TierWeek, scope: Scope, *, weeks: int
) -> Earlier:
    """Return the ``weeks`` before a partition's, by date, as far as they are landed.

    Of a delivery whose ``scope`` names markets, only these are compared.
    """
    found = scope.get("market", MARKETS)
    markets = found if isinstance(found, tuple) else (found,)
    before = tuple(partition.week_start - number * WEEK for number in range(1, weeks + 1))
    in_tier = {"week_start": before, "tier": partition.tier}
    venues = select(*(_venue[name] for name in VenueWeek._fields)).where(
        within(finra_venue_week, {**in_tier, "market": markets})
    )
    return Earlier(
        [VenueWeek(*row) for row in connection.execute(venues)],
        _symbols(connection, in_tier, [TRADED_IN[str(market)] for market in markets]),
        [str(market) for market in markets],
    )


def _symbols(
    connection: Connection, in_tier: Scope, traded: list[ColumnElement[bool]]
) -> Mapping[date, int]:
    """Return how many symbols traded in each week; one market is told apart, both are all."""
    only = traded if len(traded) == 1 else []
    counted = (
        select(_symbol.week_start, func.count().label("symbol_count"))
        .where(within(finra_symbol_week, in_tier), *only)
        .group_by(_symbol.week_start)
    )
    return {row.week_start: row.symbol_count for row in connection.execute(counted)}
