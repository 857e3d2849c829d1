"""Shares off exchange by week, and their chart by day."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from orchestration_project.assets.factory import derive_partitions
from orchestration_project.assets.specs import build_asset_spec
from orchestration_project.domains.cboe.charts import TITLE, off_exchange_share
from orchestration_project.domains.cboe.tables import MADE_OF, off_exchange_share_weekly
from orchestration_project.domains.cboe.volume import WEEKS
from orchestration_project.engine.announcements import normalise_metadata
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.dataset import build_partitions
from orchestration_project.engine.derived import DerivedResult
from orchestration_project.engine.runner import AssetEvent
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.plots.sparkline import svg_uri
from orchestration_project.resources.cboe import LISTED_WEEKS, read_shares, weekly_load
from orchestration_project.services.metadata import (
    build_schema,
    build_table,
    embed_image,
    store_file,
)
from orchestration_project.settings import Settings, load_shared_settings
from orchestration_project.settings.sources import source_values
from orchestration_project.tables.schema import asset_of_table

SETTINGS = load_shared_settings()
ZONE = WEEKS.calendar.zone
TODAY = Clock(SETTINGS.demo_clock_now).today(ZONE)
OWNERS = ("team:market-data",)
FOLDER = "plots/cboe"
ROWS_SHOWN = 20
"""The newest rows of the data, beside the picture."""

OFF_EXCHANGE_DAILY = dg.AssetKey(["cboe", "off_exchange_share_daily"])
OFF_EXCHANGE_WEEKLY = dg.AssetKey(["cboe", "off_exchange_share_weekly"])
OFF_EXCHANGE_CHART = dg.AssetKey(["cboe", "off_exchange_share_chart"])
FINRA_WEEKS = dg.AssetKey(["finra", "symbol_week"])

PARTITIONS = build_partitions(
    WEEKS,
    source_values(SETTINGS, "cboe").first_from(TODAY),
    now=TODAY,
    machine_now=Clock().today(ZONE),
)


_WEEKLY_LINEAGE = {
    name: [
        dg.TableColumnDep(dg.AssetKey(asset_of_table(source.table).split("/")), source.key)
        for source in sources
    ]
    for name, sources in MADE_OF[off_exchange_share_weekly.name].items()
}


@dg.multi_asset(
    name="derive_off_exchange_share_weekly",
    specs=[
        build_asset_spec(
            OFF_EXCHANGE_WEEKLY,
            str(off_exchange_share_weekly.comment),
            build_schema(off_exchange_share_weekly.columns),
            "gold",
            OFF_EXCHANGE_DAILY,
            FINRA_WEEKS,
            owners=OWNERS,
            **{
                "dagster/table_name": off_exchange_share_weekly.name,
                "dagster/column_lineage": dg.TableColumnLineage(_WEEKLY_LINEAGE),
            },
        )
    ],
    partitions_def=PARTITIONS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def off_exchange_weeks(
    context: dg.AssetExecutionContext,
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[AssetEvent]:
    """Derive each week of the run; a week whose inputs are the same stays as it is."""
    load = weekly_load(warehouse)
    yield from derive_partitions(context, clock, load, OFF_EXCHANGE_WEEKLY, _count_rows)


def _count_rows(derived: DerivedResult) -> dict[str, Any]:
    return {"dagster/row_count": derived.tables[off_exchange_share_weekly.name].row_count}


@dg.multi_asset(
    name="draw_off_exchange_share",
    specs=[
        build_asset_spec(
            OFF_EXCHANGE_CHART,
            "One picture: the share of trading off exchange by day and tape.",
            None,
            "plot",
            OFF_EXCHANGE_DAILY,
            owners=OWNERS,
        )
    ],
)
def off_exchange_chart(
    artifacts: dg.ResourceParam[ArtifactStore],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[Any]:
    """Draw the last year of what is loaded, keep the files, and show them."""
    rows = read_shares(warehouse)
    if rows.is_empty():
        nothing = {"outcome": "nothing to draw: no market volume is loaded"}
        return dg.MaterializeResult(asset_key=OFF_EXCHANGE_CHART, metadata=nothing)
    picture = off_exchange_share(rows, is_synthetic=settings.is_demo)
    metadata = {
        "picture": embed_image(TITLE, svg_uri(picture.svg)),
        "dagster/row_count": len(rows),
        "newest": build_table(rows.tail(ROWS_SHOWN)),
        "svg_file": store_file(artifacts, FOLDER, picture.svg, suffix="svg"),
        "png_file": store_file(artifacts, FOLDER, picture.png, suffix="png"),
    }
    return dg.MaterializeResult(asset_key=OFF_EXCHANGE_CHART, metadata=normalise_metadata(metadata))


off_exchange_weeks_job = dg.define_asset_job(
    LISTED_WEEKS.job,
    selection=dg.AssetSelection.assets(off_exchange_weeks),
    description=LISTED_WEEKS.description,
    tags={"domain": "cboe"},
)
