"""FINRA's assets: what is loaded week by week, and what is derived across weeks and tiers."""

from orchestration_project.assets.finra.catalogue import OTC_WEEKLY, WEEKS, WEEKS_OF_ALL_TIERS
from orchestration_project.assets.finra.freshness import as_new_as_the_calendar
from orchestration_project.assets.finra.gold import (
    concentration_week,
    symbol_rolling_6w,
    tier_week,
)
from orchestration_project.assets.finra.weekly import SPECS, otc_weekly

__all__ = [
    "OTC_WEEKLY",
    "SPECS",
    "WEEKS",
    "WEEKS_OF_ALL_TIERS",
    "as_new_as_the_calendar",
    "concentration_week",
    "otc_weekly",
    "symbol_rolling_6w",
    "tier_week",
]
