"""Tables derived from prices, for changed symbols only."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from orchestration_project.assets.prices.catalogue import (
    CORPORATE_ACTIONS,
    DAILY,
    RETURNS,
    SPELLINGS,
    build_table_spec,
)
from orchestration_project.domains.prices.settings import PricesSettings
from orchestration_project.domains.prices.tables import (
    prices_corporate_actions,
    prices_returns,
    prices_symbol_spellings,
)
from orchestration_project.engine.announcements import normalise_metadata
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.prices.gold import derive_outdated
from orchestration_project.resources.prices.spellings import derive_spellings
from orchestration_project.resources.prices.spellings_file import read_spellings
from orchestration_project.resources.prices.universe import LISTED_GOLD

TABLES = {CORPORATE_ACTIONS: prices_corporate_actions, RETURNS: prices_returns}

FINRA_SYMBOLS = dg.AssetKey(["finra", "symbols"])


@dg.multi_asset(
    name="derive_prices",
    specs=[build_table_spec(key, table, "gold", DAILY) for key, table in TABLES.items()],
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
        yield dg.MaterializeResult(asset_key=key, metadata=normalise_metadata(metadata))


@dg.multi_asset(
    name="spell_prices_symbols",
    specs=[build_table_spec(SPELLINGS, prices_symbol_spellings, "gold", FINRA_SYMBOLS)],
)
def spellings(
    settings: dg.ResourceParam[PricesSettings], warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult[Any]:
    """Spell the symbols of FINRA's symbol master as each vendor does."""
    derived = derive_spellings(warehouse, read_spellings(settings))
    derived_rows_list = [
        derived_result.tables[prices_symbol_spellings.name] for derived_result in derived.values()
    ]
    metadata = {
        "outcome": "derived"
        if any(rows_of_table.recomputed for rows_of_table in derived_rows_list)
        else "unchanged",
        "dagster/row_count": sum(rows_of_table.row_count for rows_of_table in derived_rows_list),
        "seconds": sum(derived_result.seconds for derived_result in derived.values()),
    }
    return dg.MaterializeResult(asset_key=SPELLINGS, metadata=normalise_metadata(metadata))


gold_job = dg.define_asset_job(
    LISTED_GOLD.job,
    selection=dg.AssetSelection.assets(derived, spellings),
    description=LISTED_GOLD.description,
    tags={"domain": "prices"},
)
