"""The assets of prices: what is loaded by symbol and month, and what is derived of it."""

from orchestration_project.assets.prices.backfill import (
    PRICES_BACKFILL_JOB,
    launch_prices_backfill,
)
from orchestration_project.assets.prices.catalogue import (
    CORPORATE_ACTIONS,
    DAILY,
    MONTHS,
    RETURNS,
    quotes,
)
from orchestration_project.assets.prices.charts import charts
from orchestration_project.assets.prices.daily import PRICES_LOADING, SPECS, daily
from orchestration_project.assets.prices.gold import derived

__all__ = [
    "CORPORATE_ACTIONS",
    "DAILY",
    "MONTHS",
    "PRICES_BACKFILL_JOB",
    "PRICES_LOADING",
    "RETURNS",
    "SPECS",
    "charts",
    "daily",
    "derived",
    "launch_prices_backfill",
    "quotes",
]
