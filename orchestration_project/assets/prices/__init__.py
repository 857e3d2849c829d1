"""The assets of prices: what is loaded by symbol and month, and what is derived of it."""

from orchestration_project.assets.prices.backfill import PRICES_BACKFILL_JOB, backfill_job
from orchestration_project.assets.prices.catalogue import MONTHS, quotes
from orchestration_project.assets.prices.charts import charts, charts_job
from orchestration_project.assets.prices.daily import SPECS, daily, daily_job
from orchestration_project.assets.prices.freshness import (
    as_new_as_the_calendar,
    prices_freshness_job,
)
from orchestration_project.assets.prices.gold import derived, gold_job, spellings
from orchestration_project.assets.prices.loading import DAILY_REPLAY, LOAD_OP, PRICES_LOADING

__all__ = [
    "DAILY_REPLAY",
    "LOAD_OP",
    "MONTHS",
    "PRICES_BACKFILL_JOB",
    "PRICES_LOADING",
    "SPECS",
    "as_new_as_the_calendar",
    "backfill_job",
    "charts",
    "charts_job",
    "daily",
    "daily_job",
    "derived",
    "gold_job",
    "prices_freshness_job",
    "quotes",
    "spellings",
]
