"""When FINRA's weeks are loaded, derived from, and looked at."""

from orchestration_project.assets.finra import DATASET_ASSETS
from orchestration_project.sensors.factory import dataset_sensor
from orchestration_project.sensors.finra.arrivals import finra_on_publication, finra_on_restatement
from orchestration_project.sensors.finra.derived import (
    finra_on_gold,
    finra_on_landing,
)
from orchestration_project.sensors.finra.schedules import (
    MONDAYS,
    backfill_outdated_weeks,
    finra_daily,
    finra_otc_weekly_mondays,
    finra_symbol_week_short_daily,
    finra_symbol_week_value_daily,
)

DATASET_SENSORS = [
    dataset_sensor(asset, profile="finra-datasets")
    for asset in DATASET_ASSETS
    if asset.dataset.partitioning.calendar.last_day is None
]
"""A sensor for each dataset that FINRA still publishes; only backfills load a discontinued one."""

__all__ = [
    "DATASET_SENSORS",
    "MONDAYS",
    "backfill_outdated_weeks",
    "finra_daily",
    "finra_on_gold",
    "finra_on_landing",
    "finra_on_publication",
    "finra_on_restatement",
    "finra_otc_weekly_mondays",
    "finra_symbol_week_short_daily",
    "finra_symbol_week_value_daily",
]
