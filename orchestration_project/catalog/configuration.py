"""An asset per domain that shows its settings, with the check that they and its files are valid."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from orchestration_project.assets.specs import describe_asset
from orchestration_project.errors import ConfigurationError
from orchestration_project.registry import Domain
from orchestration_project.services.metadata import build_table, check_spec
from orchestration_project.settings import Settings, load_shared_settings, origins, shown_values

CONFIGURATION = "configuration"
CHECK = "settings_are_valid"
COLUMNS = {
    "name": "The setting",
    "value": "Without secrets; empty where it is not set",
    "origin": "default, file or environment",
}


def configuration_asset(domain: Domain) -> dg.AssetsDefinition:
    """Return the asset `<domain>/configuration`; of an invalid setting it shows the default."""
    key = dg.AssetKey([domain.name, CONFIGURATION])

    @dg.multi_asset(
        name=f"{domain.name}_{CONFIGURATION}",
        specs=[_build_spec(domain, key)],
        check_specs=[
            check_spec(
                CHECK,
                asset=key,
                description="The settings and files of the domain are valid.",
                remedy="correct the settings that the check lists",
            )
        ],
    )
    def configuration() -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        settings = load_shared_settings()
        rows = _list_settings(domain.name, settings)
        yield dg.MaterializeResult(asset_key=key, metadata={"settings": build_table(rows)})
        try:
            domain.require_valid(settings)
        except ConfigurationError as error:
            yield dg.AssetCheckResult(
                asset_key=key, check_name=CHECK, passed=False, metadata={"problem": str(error)}
            )
        else:
            yield dg.AssetCheckResult(asset_key=key, check_name=CHECK, passed=True)

    return configuration


def _build_spec(domain: Domain, key: dg.AssetKey) -> dg.AssetSpec:
    columns = [dg.TableColumn(name, description=text) for name, text in COLUMNS.items()]
    return dg.AssetSpec(
        key,
        description=describe_asset(
            f"One row per setting of {domain.name}: what is in effect, and where it comes from.",
            "operations",
        ),
        group_name="operations",
        owners=["team:operations"],
        kinds={"settings"},
        tags={"domain": domain.name, **_build_data_tag(domain)},
        metadata={"dagster/column_schema": dg.TableSchema(columns)},
    )


def _build_data_tag(domain: Domain) -> dict[str, str]:
    """Return the tag of a domain with a source, as its other assets have it."""
    if domain.source_setting is None:
        return {}
    return {"data": "made_up" if load_shared_settings().is_demo else "real"}


def _list_settings(domain: str, settings: Settings) -> pl.DataFrame:
    values, origin = shown_values(settings), origins()
    names = [name for name in values if settings.domain_of(name) == domain]
    rows = [(name.upper(), values[name], origin[name]) for name in names]
    return pl.DataFrame(rows, list(COLUMNS), orient="row")
