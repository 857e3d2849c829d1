"""Short sales and short interest of a week beside its shares, once all tiers are loaded."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from orchestration_project.assets.factory import derive_partitions
from orchestration_project.assets.finra.catalogue import (
    SYMBOL_WEEK,
    WEEKS_OF_ALL_TIERS,
    build_table_spec,
)
from orchestration_project.domains.finra.tables.short import finra_symbol_week_short
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.derived import DerivedResult
from orchestration_project.engine.runner import AssetEvent
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra import listed
from orchestration_project.resources.finra.short import figures_of, short_load

SYMBOL_WEEK_SHORT = dg.AssetKey(["finra", "symbol_week_short"])
SHORT_SALES = dg.AssetKey(["finra", "reg_sho_daily"])
SHORT_INTEREST = dg.AssetKey(["finra", "short_interest"])


@dg.multi_asset(
    name="derive_finra_symbol_week_short",
    specs=[
        build_table_spec(
            SYMBOL_WEEK_SHORT,
            finra_symbol_week_short,
            "gold",
            SYMBOL_WEEK,
            SHORT_SALES,
            SHORT_INTEREST,
        )
    ],
    partitions_def=WEEKS_OF_ALL_TIERS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def symbol_week_short(
    context: dg.AssetExecutionContext,
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[AssetEvent]:
    """Derive each week of the run; a week whose rows are the same stays as it is."""
    load = short_load(warehouse)
    yield from derive_partitions(context, clock, load, SYMBOL_WEEK_SHORT, _count_symbols)


def _count_symbols(derived: DerivedResult) -> dict[str, Any]:
    figures = figures_of(derived)
    return {
        "dagster/row_count": figures.row_count,
        "symbols_with_short_sales": figures.sold_count,
        "symbols_with_short_interest": figures.held_count,
    }


symbol_week_short_job = dg.define_asset_job(
    listed.SHORT.job,
    selection=dg.AssetSelection.assets(symbol_week_short),
    description=listed.SHORT.description,
    tags={"domain": "finra"},
)
