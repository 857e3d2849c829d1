"""The assets of prices: what is loaded by symbol and month, and what is derived of it."""

from orchestration_project.assets.prices.backfill import (
    PRICES_BACKFILL_JOB,
    launch_prices_backfill,
)
from orchestration_project.assets.prices.catalogue import MONTHS, quotes
from orchestration_project.assets.prices.charts import charts
from orchestration_project.assets.prices.daily import SPECS, daily
from orchestration_project.assets.prices.gold import derived
from orchestration_project.assets.prices.loading import LOAD_OP, PRICES_LOADING, REPLAY_JOB

__all__ = [
    "LOAD_OP",
    "MONTHS",
    "PRICES_BACKFILL_JOB",
    "PRICES_LOADING",
    "REPLAY_JOB",
    "SPECS",
    "charts",
    "daily",
    "derived",
    "launch_prices_backfill",
    "quotes",
]
