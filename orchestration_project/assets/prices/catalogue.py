"""Shared parts of the price assets: keys, partitions, columns and tags."""

from collections.abc import Iterable, Mapping
from datetime import date
from functools import partial
from typing import Any

import dagster as dg
from sqlalchemy import Column, Table

from orchestration_project.assets import specs
from orchestration_project.domains.prices.calendar import NEW_YORK
from orchestration_project.domains.prices.days import VALUES
from orchestration_project.domains.prices.tables import MADE_OF
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.resources.prices.universe import first_price_month
from orchestration_project.services.metadata import build_schema
from orchestration_project.settings import load_shared_settings


def build_months(start: date, *, now: date, machine_now: date) -> dg.MonthlyPartitionsDefinition:
    """Return the months from ``start``, a first of a month, to that of ``now``, which still runs.

    Dagster ends monthly partitions by ``machine_now``; the offset makes that the project's ``now``.
    All three are days in New York.
    """
    ahead = _count_months(now) - _count_months(machine_now)
    return dg.MonthlyPartitionsDefinition(
        start_date=start.isoformat(), timezone=NEW_YORK.key, end_offset=ahead + 1
    )


def _count_months(day: date) -> int:
    return 12 * day.year + day.month - 1


GROUP = "prices"
OWNERS = ["team:market-data"]
QUOTES, CAPTURE, DAILY, SYMBOL_MONTHS, CORPORATE_ACTIONS, RETURNS, CHARTS, SPELLINGS = (
    dg.AssetKey([GROUP, noun])
    for noun in (
        "quotes",
        "daily_capture",
        "daily",
        "symbol_months",
        "corporate_actions",
        "returns",
        "charts",
        "symbol_spellings",
    )
)
SETTINGS = load_shared_settings()
TODAY = Clock(SETTINGS.demo_clock_now).today_in_new_york()
MONTHS = build_months(
    first_price_month(SETTINGS, TODAY), now=TODAY, machine_now=Clock().today_in_new_york()
)


asset_spec = partial(specs.build_asset_spec, owners=OWNERS)

quotes = asset_spec(
    QUOTES,
    "One answer per symbol: the source itself, a vendor, a folder, or what stands in for them.",
    dg.TableSchema(columns=[dg.TableColumn(name, description="Exact text") for name in VALUES]),
    specs.SOURCE,
)
"""Nothing makes it here."""


def build_table_spec(
    key: dg.AssetKey,
    table: Table,
    kind: str,
    *deps: dg.AssetKey,
    made_of: Mapping[str, Iterable[tuple[dg.AssetKey, str]]] | None = None,
) -> dg.AssetSpec:
    """Return the asset that is ``table``, its columns made of those of tables or ``made_of``."""
    lineage = made_of or {
        name: [(_find_asset(source), str(source.key)) for source in sources]
        for name, sources in MADE_OF[table.name].items()
    }
    return asset_spec(
        key,
        str(table.comment),
        build_schema(table.columns),
        kind,
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


def _find_asset(column: Column[Any]) -> dg.AssetKey:
    return dg.AssetKey(column.table.name.split("_", 1))
