"""How FINRA's assets look in the catalogue, which weeks there are, and its declared datasets."""

from collections.abc import Sequence
from datetime import date
from functools import partial

import dagster as dg
from sqlalchemy import Table

from orchestration_project.assets import specs
from orchestration_project.assets.factory import build_dataset_assets
from orchestration_project.domains.finra.calendar import (
    TIERS,
    WEEK,
    monday_of,
)
from orchestration_project.domains.finra.contract import KNOWN_FIELDS
from orchestration_project.domains.finra.tables.lineage import MADE_OF
from orchestration_project.engine.connections.clock import NEW_YORK, Clock
from orchestration_project.engine.runner import SECONDS_TO_NEXT_ATTEMPT
from orchestration_project.engine.warehouse.target import BOOKKEEPING
from orchestration_project.resources.finra.datasets import ENGINE_DATASETS
from orchestration_project.resources.finra.weeks import offered_weeks, offers_what_run_loads
from orchestration_project.services.metadata import build_schema
from orchestration_project.settings import load_shared_settings


def build_weeks(
    start: date, last: date, *, machine_now: date, goes_on: bool = True
) -> dg.WeeklyPartitionsDefinition:
    """Return the weeks from ``start`` to ``last``, both Mondays.

    Dagster ends weekly partitions by ``machine_now``, a day in New York, with the week before; the
    offset makes that ``last``. At each of the machine's Mondays there is one more, where it
    ``goes_on`` or ``last`` lies ahead of the machine.
    """
    ended, machine_monday = last + WEEK, monday_of(machine_now)
    is_fixed = not goes_on and ended <= machine_monday
    return dg.WeeklyPartitionsDefinition(
        start_date=start.isoformat(),
        end_date=ended.isoformat() if is_fixed else None,
        timezone=NEW_YORK.key,
        day_offset=1,  # FINRA's weeks start on Mondays, Dagster's on Sundays
        end_offset=0 if is_fixed else (ended - machine_monday) // WEEK,
    )


def build_tier_weeks(weeks: dg.WeeklyPartitionsDefinition) -> dg.MultiPartitionsDefinition:
    """Return tier x week."""
    return dg.MultiPartitionsDefinition(
        {"tier": dg.StaticPartitionsDefinition(list(TIERS)), "week": weeks}
    )


GROUP = "finra"
OWNERS = ["team:market-data"]
(
    WEEKLY_SUMMARY,
    CAPTURE,
    STAGED,
    OTC_WEEKLY,
    SYMBOL_WEEK,
    VENUE_WEEK,
    SYMBOL_ROLLING_6W,
    CONCENTRATION_WEEK,
    TIER_WEEK,
    VENUE_WEEK_ALL_TIERS,
    SYMBOL_MOVERS_WEEK,
    VENUE_MOVERS_WEEK,
    SYMBOL_ANOMALIES_WEEK,
    TRADE_ACTIVITY,
) = (
    dg.AssetKey([GROUP, noun])
    for noun in (
        "weekly_summary",
        "otc_weekly_capture",
        "otc_weekly_staged",
        "otc_weekly",
        "symbol_week",
        "venue_week",
        "symbol_rolling_6w",
        "concentration_week",
        "tier_week",
        "venue_week_all_tiers",
        "symbol_movers_week",
        "venue_movers_week",
        "symbol_anomalies_week",
        "trade_activity",
    )
)
SETTINGS = load_shared_settings()
RETRY_ONCE = dg.RetryPolicy(max_retries=1, delay=SECONDS_TO_NEXT_ATTEMPT)
"""For checks that ask the source: what passes by itself must not fail a run."""

TODAY = Clock(SETTINGS.demo_clock_now).today_in_new_york()
WEEKS_OF_ALL_TIERS = build_weeks(
    *offered_weeks(SETTINGS, TODAY),
    machine_now=Clock().today_in_new_york(),
    goes_on=not offers_what_run_loads(SETTINGS),
)
WEEKS = build_tier_weeks(WEEKS_OF_ALL_TIERS)


def list_week_keys() -> frozenset[str]:
    """Return the keys of WEEKS, for many questions: Dagster makes all of them for each one."""
    return frozenset(WEEKS.get_partition_keys())


asset_spec = partial(specs.build_asset_spec, owners=OWNERS)

weekly_summary = asset_spec(
    WEEKLY_SUMMARY,
    "One record per week, tier, summary type, symbol and firm: the source itself, FINRA's dataset "
    "weeklySummary or what stands in for it.",
    dg.TableSchema(
        columns=[
            dg.TableColumn(name, type=kind, description="A field in FINRA's words")
            for name, kind in KNOWN_FIELDS.items()
        ]
    ),
    specs.SOURCE,
)
"""Nothing makes it here; what is checked of the source by itself is shown on it."""


def build_table_spec(key: dg.AssetKey, table: Table, kind: str, *deps: dg.AssetKey) -> dg.AssetSpec:
    """Return the asset that is ``table``."""
    metadata = {
        "dagster/table_name": table.name,
        "dagster/column_lineage": _build_lineage(table, deps),
    }
    columns = build_schema(table.columns)
    return asset_spec(key, str(table.comment), columns, kind, *deps, **metadata)


def _build_lineage(table: Table, deps: Sequence[dg.AssetKey]) -> dg.TableColumnLineage:
    """Return the lineage of each column; one that is not derived is a copy from its one dep."""
    derived = {
        name: [(dg.AssetKey(source.table.name.split("_", 1)), source.key) for source in sources]
        for name, sources in MADE_OF.get(table.name, {}).items()
    } or {
        str(column.key): [(dep, str(column.key)) for dep in deps]
        for column in table.columns
        if column.name not in BOOKKEEPING
    }
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(*source) for source in sources]
            for name, sources in derived.items()
        }
    )


DATASET_ASSETS = [build_dataset_assets(dataset) for dataset in ENGINE_DATASETS]
