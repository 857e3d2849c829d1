"""FINRA's assets: what is loaded week by week, and what is derived across weeks and tiers."""

from orchestration_project.assets.finra.activity import trade_activity
from orchestration_project.assets.finra.backfill import (
    BACKFILL_JOB,
    BACKFILLING,
    launch_backfill,
)
from orchestration_project.assets.finra.catalogue import (
    OTC_WEEKLY,
    WEEKS,
    WEEKS_OF_ALL_TIERS,
    weekly_summary,
)
from orchestration_project.assets.finra.datasets import DATASET_ASSETS, DatasetAssets
from orchestration_project.assets.finra.freshness import as_new_as_the_calendar
from orchestration_project.assets.finra.gold import (
    across_weeks,
    tier_week,
)
from orchestration_project.assets.finra.loading import LOADING, REPLAY_JOB
from orchestration_project.assets.finra.source_checks import (
    has_the_fields_that_we_know,
    lists_only_known_tiers,
)
from orchestration_project.assets.finra.value import symbol_week_value
from orchestration_project.assets.finra.value_picture import value_picture
from orchestration_project.assets.finra.weekly import SPECS, otc_weekly

SOURCE_CHECKS = [lists_only_known_tiers, has_the_fields_that_we_know]

__all__ = [
    "BACKFILLING",
    "BACKFILL_JOB",
    "DATASET_ASSETS",
    "LOADING",
    "OTC_WEEKLY",
    "REPLAY_JOB",
    "SOURCE_CHECKS",
    "SPECS",
    "WEEKS",
    "WEEKS_OF_ALL_TIERS",
    "DatasetAssets",
    "across_weeks",
    "as_new_as_the_calendar",
    "launch_backfill",
    "otc_weekly",
    "symbol_week_value",
    "tier_week",
    "trade_activity",
    "value_picture",
    "weekly_summary",
]
