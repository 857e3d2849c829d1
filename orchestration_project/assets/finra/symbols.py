"""The symbol master: symbols over time, their changes, and candidates of renames."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from orchestration_project.assets.finra.catalogue import OTC_WEEKLY, SYMBOL_WEEK, build_table_spec
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.domains.finra.tables.symbols import (
    finra_symbol_changes,
    finra_symbol_renames,
    finra_symbols,
)
from orchestration_project.engine.announcements import normalise_metadata
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.symbols import ALL, derive_symbols, newest_week_changes
from orchestration_project.services.metadata import build_table, check_spec, label_data

SYMBOLS, CHANGES, RENAMES = (
    dg.AssetKey(["finra", noun]) for noun in ("symbols", "symbol_changes", "symbol_renames")
)
TABLES = {
    SYMBOLS: finra_symbols,
    CHANGES: finra_symbol_changes,
    RENAMES: finra_symbol_renames,
}

RECENT_WEEKS = 8
"""Weeks, back from the newest, whose changes a check reports: older ones were seen."""

SHOWN = 50
"""Rows of a check: an event stays below 100 KB."""

CHECKS = {
    "has_one_tier_per_week": ("two_tiers", "No symbol has rows in two tiers of one week."),
    "has_no_reused_symbol": (
        "reuse_candidate",
        "No symbol came back after a gap with a name that shares no word with the earlier one.",
    ),
}
"""Each check: the kind of change that it reports, and what it claims."""

REMEDIES = {
    "has_one_tier_per_week": "load both tiers of the week again: FINRA moved a symbol between them",
    "has_no_reused_symbol": "end studies of the earlier company before the week of the change",
}


@dg.multi_asset(
    name="derive_finra_symbols",
    specs=[
        build_table_spec(key, table, "gold", OTC_WEEKLY, SYMBOL_WEEK)
        for key, table in TABLES.items()
    ],
    check_specs=[
        check_spec(
            name,
            asset=SYMBOLS,
            description=f"{claim} Of the newest {RECENT_WEEKS} weeks.",
            severity=dg.AssetCheckSeverity.WARN,
            remedy=REMEDIES[name],
        )
        for name, (_, claim) in CHECKS.items()
    ],
)
def symbols(
    settings: dg.ResourceParam[FinraSettings], warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Derive the symbol master of all loaded weeks, if one changed since."""
    derived = derive_symbols(warehouse)
    for key, table in TABLES.items():
        made_derived_rows = derived.tables[table.name]
        metadata = {
            "outcome": "derived" if made_derived_rows.recomputed else "unchanged",
            "dagster/row_count": made_derived_rows.row_count,
            "made_of": made_derived_rows.versions[ALL],
            "seconds": derived.seconds,
            **label_data(is_synthetic=settings.is_demo),
        }
        yield dg.MaterializeResult(asset_key=key, metadata=normalise_metadata(metadata))
    for name, (kind, _) in CHECKS.items():
        yield _check_result(name, newest_week_changes(warehouse, kind, weeks=RECENT_WEEKS))


def _check_result(name: str, found: pl.DataFrame) -> dg.AssetCheckResult:
    head = found.sort("week_start", "symbol", descending=[True, False]).head(SHOWN)
    return dg.AssetCheckResult(
        asset_key=SYMBOLS,
        check_name=name,
        passed=found.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "symbol_count": found["symbol"].n_unique(),
            **({"symbols": build_table(head.drop("known_from"))} if len(head) else {}),
        },
    )
