"""Specs and days of assets as the catalogue and the lineage show them: alike in every domain."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import date
from typing import Any

import dagster as dg

from orchestration_project.connections.clock import Clock
from orchestration_project.settings import Settings, load_shared_settings

SETTINGS = load_shared_settings()
DATA = {"data": "made_up" if SETTINGS.is_demo else "real"}
"""Tag of what holds data of a source."""


def _database(settings: Settings) -> str:
    url = settings.database_url
    return "sqlite" if url is None else url.get_secret_value().partition(":")[0].partition("+")[0]


DATABASE = _database(SETTINGS)
"""Kind of the database: sqlite or postgresql."""

SOURCE = frozenset({"api", "source"})
"""Kinds of what a source has: nothing makes it here."""

TABLES = frozenset({"table", "view", "ledger", "state", "findings"})
"""Kinds of what lies in the database, so that its kind is shown as well."""


def system_spec(
    key: dg.AssetKey,
    description: str,
    columns: dg.TableSchema | None,
    kinds: AbstractSet[str],
    *deps: dg.AssetKey,
    owners: Sequence[str],
    **metadata: Any,
) -> dg.AssetSpec:
    """Return an asset that holds no data of a source, in the group of the domain of its key.

    Args:
        key: Domain and noun.
        description: Its first sentence names a row.
        columns: None of a picture.
        kinds: Of a table, the kind of the database is added.
        deps: Assets that it is made of.
        owners: Teams or e-mail addresses.
        metadata: What else is shown.
    """
    domain = key.path[0]
    shown = {} if columns is None else {"dagster/column_schema": columns}
    return dg.AssetSpec(
        key,
        deps=deps,
        description=description,
        group_name=domain,
        owners=owners,
        kinds={*kinds, *([DATABASE] if TABLES & kinds else [])},
        tags={"domain": domain},
        metadata={**shown, **metadata},
    )


def asset_spec(
    key: dg.AssetKey,
    description: str,
    columns: dg.TableSchema | None,
    kinds: AbstractSet[str],
    *deps: dg.AssetKey,
    owners: Sequence[str],
    **metadata: Any,
) -> dg.AssetSpec:
    """Return the same of what holds data of a source: a tag marks it as synthetic or real."""
    spec = system_spec(key, description, columns, kinds, *deps, owners=owners, **metadata)
    return spec.merge_attributes(tags=DATA)


def utc_days(first: date) -> dg.TimeWindowPartitionsDefinition:
    """Return the UTC days from the first one to today, by the project's clock, as partitions."""
    ahead = Clock(SETTINGS.demo_clock_now).today("UTC") - Clock().today("UTC")
    return dg.TimeWindowPartitionsDefinition(
        start=first.isoformat(),
        fmt="%Y-%m-%d",
        timezone="UTC",
        cron_schedule="0 0 * * *",
        end_offset=ahead.days + 1,
    )
