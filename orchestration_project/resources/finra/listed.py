"""FINRA's datasets as they are listed without Dagster, and what their jobs do."""

from collections.abc import Sequence
from itertools import product

from orchestration_project.domains.finra.calendar import TIERS, WEEK
from orchestration_project.engine.environment import open_clock
from orchestration_project.engine.listed_datasets import ListedDataset, list_declared
from orchestration_project.resources.finra.datasets import DATASETS_ON, ENGINE_DATASETS
from orchestration_project.resources.finra.weeks import offered_weeks
from orchestration_project.settings import domains_on, load_shared_settings

HAS_VALUES = "prices" in domains_on(load_shared_settings())
"""Whether there are prices, of which values of weeks are derived."""

HAS_SHORT = {"reg_sho_daily", "short_interest"} <= {dataset.noun for dataset in DATASETS_ON}
"""Whether there are the datasets of which short sales of weeks are derived."""


def list_weeks() -> Sequence[str]:
    """Return the keys of the weeks that this installation offers."""
    settings = load_shared_settings()
    first, last = offered_weeks(settings, open_clock(settings).today_in_new_york())
    count = (last - first) // WEEK + 1
    return [(first + number * WEEK).isoformat() for number in range(count)]


def list_tier_weeks() -> Sequence[str]:
    """Return the keys of the same weeks of each tier."""
    return list(map("|".join, product(TIERS, list_weeks())))


WEEKLY = ListedDataset(
    "finra_otc_weekly",
    "Loads weeks of FINRA's OTC data: fetch, check, load, derive.",
    ("finra_otc_weekly", "finra_symbol_week", "finra_venue_week"),
    list_tier_weeks,
)
GOLD = ListedDataset(
    "finra_gold",
    "Derives the tables that span the weeks of a tier, for loaded weeks.",
    (
        "finra_concentration_week",
        "finra_symbol_anomalies_week",
        "finra_symbol_movers_week",
        "finra_symbol_rolling_6w",
        "finra_venue_movers_week",
    ),
    list_tier_weeks,
)
TIER_WEEK = ListedDataset(
    "finra_tier_week",
    "Derives the tables that span all tiers, for weeks with all tiers loaded.",
    ("finra_tier_week", "finra_venue_week_all_tiers"),
    list_weeks,
)
VALUE = ListedDataset(
    "finra_symbol_week_value",
    "Estimates the dollar value of complete weeks from loaded prices, and draws it.",
    ("finra_symbol_week_value",),
    list_weeks,
)
SHORT = ListedDataset(
    "finra_symbol_week_short",
    "Joins short sales and short interest with the shares of complete weeks.",
    ("finra_symbol_week_short",),
    list_weeks,
)
DAILY = ListedDataset(
    "finra_daily",
    "Derives the symbol master, draws the charts of what is loaded, compares FINRA's tiers and "
    "fields with the declared ones by two requests, and checks freshness.",
    ("finra_symbol_changes", "finra_symbol_renames", "finra_symbols"),
)


def list_datasets() -> Sequence[ListedDataset]:
    """Return the datasets of FINRA that this installation has."""
    return [
        WEEKLY,
        GOLD,
        TIER_WEEK,
        *([VALUE] if HAS_VALUES else []),
        *([SHORT] if HAS_SHORT else []),
        DAILY,
        *map(list_declared, ENGINE_DATASETS),
    ]
