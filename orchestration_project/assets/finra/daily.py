"""The daily job of FINRA's domain: symbols, charts, and its checks."""

from orchestration_project.assets.finra.activity import trade_activity
from orchestration_project.assets.finra.catalogue import DATASET_ASSETS
from orchestration_project.assets.finra.charts import finra_charts
from orchestration_project.assets.finra.freshness import as_new_as_the_calendar
from orchestration_project.assets.finra.source_checks import SOURCE_CHECKS
from orchestration_project.assets.finra.symbols import symbols
from orchestration_project.assets.specs import build_daily_job
from orchestration_project.resources.finra import listed

FRESHNESS_CHECKS = [as_new_as_the_calendar, *(made.freshness for made in DATASET_ASSETS)]

ASSETS = [symbols, finra_charts, trade_activity]

DERIVED = {key for made in ASSETS for key in made.keys}
"""Keys of the assets that the job makes."""

daily_job = build_daily_job(
    "finra",
    listed.DAILY.description,
    assets=ASSETS,
    checks=[*SOURCE_CHECKS, *FRESHNESS_CHECKS],
)
