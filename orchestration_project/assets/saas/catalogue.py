"""How the assets of saas look in the catalogue."""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
from sqlalchemy import Table

from orchestration_project.services.metadata import column_schema, report_schema
from orchestration_project.settings import load_shared_settings

GROUP = "saas"
OWNERS = ["team:operations"]
DATA = "made_up" if load_shared_settings().is_demo else "real"
RULES, TRIAL, STATES, OUTBOX, AUDIT_LOG, DEAD_LETTERS, DRIFT = (
    dg.AssetKey([GROUP, noun])
    for noun in (
        *("routing_rules", "rule_trial", "source_states", "outbox"),
        *("audit_log", "dead_letters", "drift"),
    )
)


def table_spec(key: dg.AssetKey, rows: Table, *deps: dg.AssetKey) -> dg.AssetSpec:
    """Return the asset that is this table; only a table of the domain is named as one."""
    is_own = rows.name == "_".join(key.path)
    metadata: dict[str, Any] = {"dagster/column_schema": column_schema(rows.columns)}
    if is_own:
        metadata["dagster/table_name"] = rows.name
    return _spec(key, str(rows.comment), {"ledger"}, metadata, deps)


def report_spec(
    key: dg.AssetKey, description: str, columns: Mapping[str, str], *deps: dg.AssetKey
) -> dg.AssetSpec:
    """Return an asset without a table: its job reports results as metadata."""
    metadata = {"dagster/column_schema": report_schema(columns)}
    return _spec(key, description, {"report"}, metadata, deps)


def _spec(
    key: dg.AssetKey,
    description: str,
    kinds: set[str],
    metadata: Mapping[str, Any],
    deps: Iterable[dg.AssetKey],
) -> dg.AssetSpec:
    return dg.AssetSpec(
        key,
        deps=deps,
        description=description,
        group_name=GROUP,
        owners=OWNERS,
        kinds=kinds,
        tags={"domain": GROUP, "data": DATA},
        metadata=metadata,
    )
