"""Sums that FINRA's derived tables keep: shares and trades of the week, symbols and venues."""

from sqlalchemy import Table

from orchestration_project.contracts.balance import Conservation, Measure
from orchestration_project.tables.finra import (
    finra_concentration_week,
    finra_otc_weekly,
    finra_symbol_rolling_6w,
    finra_symbol_week,
    finra_tier_week,
    finra_venue_week,
)
from orchestration_project.tables.finra_market import finra_venue_week_all_tiers

TIER_WEEK = ("week_start", "tier")


def _measures(prefix: str = "") -> list[Measure]:
    return [
        Measure("shares", ["share_quantity"], [f"{prefix}share_quantity"]),
        Measure("trades", ["trade_count"], [f"{prefix}trade_count"]),
    ]


SYMBOLS = Conservation(
    source=finra_otc_weekly,
    derived=finra_symbol_week,
    partition=TIER_WEEK,
    measures=_measures("total_"),
    keys=["symbol"],
)
VENUES = Conservation(
    source=finra_otc_weekly,
    derived=finra_venue_week,
    partition=TIER_WEEK,
    measures=_measures(),
    keys=["market", "venue_id"],
)
TIERS = Conservation(
    source=finra_otc_weekly,
    derived=finra_tier_week,
    partition=TIER_WEEK,
    together=["week_start"],
    measures=_measures(),
)
ALL_TIERS = Conservation(
    source=finra_otc_weekly,
    derived=finra_venue_week_all_tiers,
    partition=["week_start"],
    together=["week_start"],
    measures=_measures(),
    keys=["market", "venue_id"],
)


def _windows(derived: Table) -> Conservation:
    return Conservation(
        source=finra_symbol_week,
        derived=derived,
        partition=TIER_WEEK,
        together=TIER_WEEK,
        keys=["symbol"],
    )


ROLLING = _windows(finra_symbol_rolling_6w)
CONCENTRATION = _windows(finra_concentration_week)

CONSERVATIONS = (SYMBOLS, VENUES, TIERS, ALL_TIERS, ROLLING, CONCENTRATION)
"""All of them."""
