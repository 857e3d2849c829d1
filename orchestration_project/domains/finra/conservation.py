"""Sums that FINRA's derived tables keep: shares and trades of the week, symbols and venues."""

from dataclasses import replace

from sqlalchemy import Table

from orchestration_project.domains.finra.tables.market import (
    finra_symbol_anomalies_week,
    finra_symbol_movers_week,
    finra_venue_movers_week,
    finra_venue_week_all_tiers,
)
from orchestration_project.domains.finra.tables.short import finra_symbol_week_short
from orchestration_project.domains.finra.tables.symbols import finra_symbols
from orchestration_project.domains.finra.tables.weekly import (
    finra_concentration_week,
    finra_otc_weekly,
    finra_symbol_rolling_6w,
    finra_symbol_week,
    finra_symbol_week_value,
    finra_tier_week,
    finra_venue_week,
)
from orchestration_project.engine.contracts.balance import Conservation, Measure

TIER_WEEK = ("week_start", "tier")


def _build_measures(prefix: str = "") -> list[Measure]:
    return [
        Measure("shares", ["share_quantity"], [f"{prefix}share_quantity"]),
        Measure("trades", ["trade_count"], [f"{prefix}trade_count"]),
    ]


SYMBOLS = Conservation(
    source=finra_otc_weekly,
    derived=finra_symbol_week,
    partition=TIER_WEEK,
    measures=_build_measures("total_"),
    keys=["symbol"],
)
VENUES = Conservation(
    source=finra_otc_weekly,
    derived=finra_venue_week,
    partition=TIER_WEEK,
    measures=_build_measures(),
    keys=["market", "venue_id"],
)
TIERS = Conservation(
    source=finra_otc_weekly,
    derived=finra_tier_week,
    partition=TIER_WEEK,
    together=["week_start"],
    measures=_build_measures(),
)
ALL_TIERS = Conservation(
    source=finra_otc_weekly,
    derived=finra_venue_week_all_tiers,
    partition=["week_start"],
    together=["week_start"],
    measures=_build_measures(),
    keys=["market", "venue_id"],
)


def _build_conservation(derived: Table) -> Conservation:
    return Conservation(
        source=finra_symbol_week,
        derived=derived,
        partition=TIER_WEEK,
        together=TIER_WEEK,
        keys=["symbol"],
    )


ROLLING = _build_conservation(finra_symbol_rolling_6w)
CONCENTRATION = _build_conservation(finra_concentration_week)

LEFT = ("movement", "left")
"""Rows of movers that the week before has, and the week has not."""

SYMBOL_MOVERS = replace(
    _build_conservation(finra_symbol_movers_week), other_rows=LEFT, has_exclusions=True, together=()
)
VENUE_MOVERS = replace(
    SYMBOL_MOVERS,
    source=finra_venue_week,
    derived=finra_venue_movers_week,
    keys=["market", "venue_id"],
)
ANOMALIES = replace(
    _build_conservation(finra_symbol_anomalies_week), has_exclusions=True, together=()
)
VALUES = Conservation(
    source=finra_symbol_week,
    derived=finra_symbol_week_value,
    partition=["week_start"],
    keys=["tier", "symbol"],
    has_exclusions=True,
)
SHORT = Conservation(
    source=finra_symbol_week,
    derived=finra_symbol_week_short,
    partition=["week_start"],
    together=["week_start"],
    measures=[Measure("shares", ["total_share_quantity"], ["otc_share_quantity"])],
    keys=["symbol"],
    other_rows=("otc_share_quantity", None),
)
MASTER = Conservation(
    source=finra_symbol_week, derived=finra_symbols, partition=[], keys=["symbol"]
)

CONSERVATIONS = (
    *(SYMBOLS, VENUES, TIERS, ALL_TIERS, ROLLING, CONCENTRATION),
    *(SYMBOL_MOVERS, VENUE_MOVERS, ANOMALIES, VALUES, SHORT, MASTER),
)
"""All of them."""
