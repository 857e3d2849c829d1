"""FINRA's assets: what is loaded week by week, and what is derived across weeks and tiers."""

from orchestration_project.assets.finra.activity import trade_activity
from orchestration_project.assets.finra.backfill import BACKFILL_JOB, BACKFILLING, backfill_job
from orchestration_project.assets.finra.catalogue import (
    DATASET_ASSETS,
    OTC_WEEKLY,
    WEEKS,
    WEEKS_OF_ALL_TIERS,
    list_week_keys,
    weekly_summary,
)
from orchestration_project.assets.finra.charts import finra_charts
from orchestration_project.assets.finra.daily import FRESHNESS_CHECKS, daily_job
from orchestration_project.assets.finra.freshness import as_new_as_the_calendar
from orchestration_project.assets.finra.gold import across_weeks, gold_job, tier_week, tier_week_job
from orchestration_project.assets.finra.replay import REPLAYS, WEEKLY_RUN_SUMMARY
from orchestration_project.assets.finra.short import symbol_week_short, symbol_week_short_job
from orchestration_project.assets.finra.source_checks import SOURCE_CHECKS
from orchestration_project.assets.finra.symbols import symbols
from orchestration_project.assets.finra.value import symbol_week_value
from orchestration_project.assets.finra.value_picture import symbol_week_value_job, value_picture
from orchestration_project.assets.finra.weekly import (
    LOADING,
    SPECS,
    otc_weekly,
    otc_weekly_job,
)

__all__ = [
    "BACKFILLING",
    "BACKFILL_JOB",
    "DATASET_ASSETS",
    "FRESHNESS_CHECKS",
    "LOADING",
    "OTC_WEEKLY",
    "REPLAYS",
    "SOURCE_CHECKS",
    "SPECS",
    "WEEKLY_RUN_SUMMARY",
    "WEEKS",
    "WEEKS_OF_ALL_TIERS",
    "across_weeks",
    "as_new_as_the_calendar",
    "backfill_job",
    "daily_job",
    "finra_charts",
    "gold_job",
    "list_week_keys",
    "otc_weekly",
    "otc_weekly_job",
    "symbol_week_short",
    "symbol_week_short_job",
    "symbol_week_value",
    "symbol_week_value_job",
    "symbols",
    "tier_week",
    "tier_week_job",
    "trade_activity",
    "value_picture",
    "weekly_summary",
]
