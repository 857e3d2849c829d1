"""Tables derived from prices, for changed symbols only."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from orchestration_project.assets.prices.catalogue import (
    CORPORATE_ACTIONS,
    DAILY,
    RETURNS,
    table_spec,
)
from orchestration_project.engine.announcements import event_metadata
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.prices.gold import derive_outdated
from orchestration_project.tables.prices import prices_corporate_actions, prices_returns

TABLES = {CORPORATE_ACTIONS: prices_corporate_actions, RETURNS: prices_returns}


@dg.multi_asset(
    name="derive_prices",
    specs=[table_spec(key, table, "gold", DAILY) for key, table in TABLES.items()],
)
def derived(warehouse: dg.ResourceParam[Warehouse]) -> Iterator[dg.MaterializeResult[Any]]:
    """Derive every symbol whose prices changed, from its first changed day on."""
    figures = derive_outdated(warehouse)
    for key, table in TABLES.items():
        metadata = {
            "symbols_derived": figures.symbol_count,
            "rows_written": figures.rows[table.name],
            "seconds": figures.seconds,
        }
        yield dg.MaterializeResult(asset_key=key, metadata=event_metadata(metadata))


gold_job = dg.define_asset_job(
    "prices_gold",
    selection=dg.AssetSelection.assets(derived),
    description="Derives corporate actions and returns of symbols whose prices changed.",
    tags={"domain": "prices"},
)
