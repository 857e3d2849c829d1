"""Tables that are derived later than a week is loaded, and which of their rows it is part of.

A load that changes a week marks these rows stale; symbol_week and venue_week it derives itself. So
does one that changes another input.
"""

from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from typing import Any, cast

from sqlalchemy import Table

from orchestration_project.domains.cboe.tables import off_exchange_share_weekly
from orchestration_project.domains.finra.calendar import WEEK, monday_of
from orchestration_project.domains.finra.recomputation import CONCENTRATION, ROLLING
from orchestration_project.domains.finra.tables.datasets import finra_short_interest
from orchestration_project.domains.finra.tables.equity_datasets import finra_reg_sho_daily
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
    finra_concentration_week,
    finra_symbol_rolling_6w,
    finra_symbol_week_value,
    finra_tier_week,
)
from orchestration_project.engine.contracts.key_ranges import KeyRange
from orchestration_project.engine.warehouse.frames import Scope
from orchestration_project.resources.finra.short import FRIDAY, LATEST_SETTLEMENT


def _extend_weeks(partition: Scope, *, weeks: int) -> Scope:
    """Return the week of a tier and so many that follow it."""
    first = cast("Any", partition["week_start"])
    following = tuple(first + number * WEEK for number in range(weeks + 1))
    return {"week_start": following, "tier": partition["tier"]}


def _find_week_of_day(partition: Scope) -> Scope:
    return {"week_start": monday_of(cast("date", partition["trade_date"]))}


def _find_settlement_weeks(partition: Scope) -> Scope:
    """Return the weeks in which short interest of a date may be the latest."""
    settled = cast("date", partition["settlement_date"])
    fridays = [monday_of(settled) + FRIDAY + number * WEEK for number in range(6)]
    return {
        "week_start": tuple(
            friday - FRIDAY
            for friday in fridays
            if settled <= friday <= settled + LATEST_SETTLEMENT
        )
    }


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
"""Derived tables with is_stale, and the condition on the rows that a loaded week is part of."""

OF_DATASETS: Mapping[Table, Mapping[Table, Callable[[Scope], Scope]]] = {
    finra_reg_sho_daily: {finra_symbol_week_short: _find_week_of_day},
    finra_short_interest: {finra_symbol_week_short: _find_settlement_weeks},
}
"""By declared dataset: derived tables, and which of their rows a loaded partition is part of."""
