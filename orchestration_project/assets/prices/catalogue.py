"""How the assets of prices look in the catalogue, and which months there are."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
from sqlalchemy import Column, Table

from orchestration_project.assets.prices.partitions import first_price_month, price_months
from orchestration_project.connections.clock import Clock
from orchestration_project.domains.prices.days import VALUES
from orchestration_project.services.shown import column_schema
from orchestration_project.settings import load_shared_settings
from orchestration_project.tables.prices import MADE_OF

GROUP = "prices"
OWNERS = ["team:market-data"]
QUOTES, CAPTURE, DAILY, SYMBOL_MONTHS, CORPORATE_ACTIONS, RETURNS, CHARTS = (
    dg.AssetKey([GROUP, noun])
    for noun in (
        "quotes",
        "daily_capture",
        "daily",
        "symbol_months",
        "corporate_actions",
        "returns",
        "charts",
    )
)
SETTINGS = load_shared_settings()
TODAY = Clock(SETTINGS.clock_now).today_in_new_york()
MONTHS = price_months(
    first_price_month(SETTINGS, TODAY), now=TODAY, machine_now=Clock().today_in_new_york()
)


def asset_spec(
    key: dg.AssetKey,
    description: str,
    columns: dg.TableSchema | None,
    kinds: set[str],
    *deps: dg.AssetKey,
    **metadata: Any,
) -> dg.AssetSpec:
    """Return an asset of this domain, with these columns; a picture has none."""
    shown = {} if columns is None else {"dagster/column_schema": columns}
    return dg.AssetSpec(
        key,
        deps=deps,
        description=description,
        group_name=GROUP,
        owners=OWNERS,
        kinds=kinds,
        tags={"domain": GROUP, "data": "made_up" if SETTINGS.is_demo else "real"},
        metadata={**shown, **metadata},
    )


quotes = asset_spec(
    QUOTES,
    "One answer per symbol: the source itself, a vendor, a folder, or what stands in for them.",
    dg.TableSchema(columns=[dg.TableColumn(name, description="Exact text") for name in VALUES]),
    {"http", "source"},
)
"""Nothing makes it here."""


def table_spec(
    key: dg.AssetKey,
    table: Table,
    kind: str,
    *deps: dg.AssetKey,
    made_of: Mapping[str, Iterable[tuple[dg.AssetKey, str]]] | None = None,
) -> dg.AssetSpec:
    """Return the asset that is ``table``, its columns made of those of tables or ``made_of``."""
    lineage = made_of or {
        name: [(_asset_of(source), source.name) for source in sources]
        for name, sources in MADE_OF[table.name].items()
    }
    return asset_spec(
        key,
        str(table.comment),
        column_schema(table.columns),
        {"table", kind},
        *deps,
        **{
            "dagster/table_name": table.name,
            "dagster/column_lineage": dg.TableColumnLineage(
                {
                    name: [dg.TableColumnDep(*source) for source in sources]
                    for name, sources in lineage.items()
                }
            ),
        },
    )


def _asset_of(column: Column[Any]) -> dg.AssetKey:
    return dg.AssetKey(column.table.name.split("_", 1))
