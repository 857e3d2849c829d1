"""What is derived of prices, of just the symbols that changed."""

from typing import Any

import dagster as dg

from orchestration_project.assets.prices.catalogue import (
    CORPORATE_ACTIONS,
    DAILY,
    RETURNS,
    table_spec,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.prices.gold import derive_outdated
from orchestration_project.tables.prices import prices_corporate_actions, prices_returns


@dg.multi_asset(
    name="derive_prices",
    specs=[
        table_spec(CORPORATE_ACTIONS, prices_corporate_actions, "gold", DAILY),
        table_spec(RETURNS, prices_returns, "gold", DAILY),
    ],
)
def derived(
    warehouse: dg.ResourceParam[Warehouse],
) -> tuple[dg.MaterializeResult[Any], dg.MaterializeResult[Any]]:
    """Derive every symbol whose prices changed, from its first changed day on."""
    figures = derive_outdated(warehouse)
    actions, returns = (
        dg.MaterializeResult(
            asset_key=key,
            metadata={
                "symbols_derived": figures.symbol_count,
                "rows_written": figures.rows[table.name],
                "seconds": figures.seconds,
            },
        )
        for key, table in (
            (CORPORATE_ACTIONS, prices_corporate_actions),
            (RETURNS, prices_returns),
        )
    )
    return actions, returns


gold_job = dg.define_asset_job(
    "prices_gold",
    selection=dg.AssetSelection.assets(derived),
    description="Derives corporate actions and returns of symbols whose prices changed.",
    tags={"domain": "prices"},
)
