"""Assets of a dbt project over the tables of a warehouse, with lineage to the assets of those."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliResource, DbtProject, dbt_assets

FOLDER = Path(__file__).parent
PROJECT = DbtProject(project_dir=FOLDER, profiles_dir=FOLDER)
PROJECT.prepare_if_dev()


@dbt_assets(manifest=PROJECT.manifest_path)
def reports(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    """Build the models, and run the tests of models and sources."""
    yield from dbt.cli(["build"], context=context).stream()


defs = dg.Definitions(assets=[reports], resources={"dbt": DbtCliResource(PROJECT)})
