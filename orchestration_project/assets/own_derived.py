"""Assets of the tables that a project derives: each brings all of its partitions up to date."""

from dataclasses import dataclass
from typing import Any

import dagster as dg

from orchestration_project.assets.specs import build_asset_spec
from orchestration_project.engine.announcements import normalise_metadata
from orchestration_project.engine.own_derived import DerivedDeclaration
from orchestration_project.registry import AnyJob
from orchestration_project.resources.own_derived import derive_outdated
from orchestration_project.services.metadata import build_schema
from orchestration_project.settings.project import own_domain
from orchestration_project.tables.catalogue import asset_of


@dataclass(frozen=True)
class DerivedAssets:
    """Dagster definitions of a derived table."""

    declaration: DerivedDeclaration
    table: dg.AssetsDefinition
    job: AnyJob


def build_derived_assets(declaration: DerivedDeclaration) -> DerivedAssets:
    """Return the asset and the job of a derived table."""
    derived, key = declaration.derived, build_asset_key(declaration.table.name)

    @dg.multi_asset(
        name=f"derive_{derived.name}",
        specs=[
            build_asset_spec(
                key,
                str(declaration.table.comment),
                build_schema(declaration.table.columns),
                "gold",
                *(build_asset_key(table.name) for table in declaration.inputs),
                owners=derived.owners,
                **{"dagster/table_name": derived.name},
            )
        ],
        required_resource_keys={"warehouse"},
    )
    def derive(context: dg.AssetExecutionContext) -> dg.MaterializeResult[Any]:
        """Derive each partition whose inputs, or whose declaration, changed."""
        warehouse = context.resources.warehouse
        figures = derive_outdated(warehouse, declaration, context.run.run_id)
        metadata = {
            "outcome": "derived" if figures.partition_count else "unchanged",
            "partitions_derived": figures.partition_count,
            "rows_written": figures.rows_written,
            "dagster/row_count": figures.row_count,
            "seconds": figures.seconds,
        }
        return dg.MaterializeResult(asset_key=key, metadata=normalise_metadata(metadata))

    job = dg.define_asset_job(
        declaration.job_name,
        selection=dg.AssetSelection.assets(derive),
        description=declaration.description,
        tags={"domain": own_domain()},
    )
    return DerivedAssets(declaration, derive, job)


def build_asset_key(table: str) -> dg.AssetKey:
    """Return the key of the asset that a table is."""
    return dg.AssetKey(asset_of(table).split("/"))
