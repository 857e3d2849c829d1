"""Components of Dagster that declare datasets: a `defs.yaml` in place of a `source.py`.

The file is read as all programs read it, so that a table is the same with and without Dagster.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import create_model

from orchestration_project import catalog
from orchestration_project.assets.factory import dataset_assets
from orchestration_project.assets.own_derived import derived_assets
from orchestration_project.catalog.own import dataset_of
from orchestration_project.catalog.resources import resource_definitions
from orchestration_project.engine.own_derived import own_derivations
from orchestration_project.engine.own_sources import own_declarations
from orchestration_project.errors import ConfigurationError
from orchestration_project.own.attributes import (
    DatasetAttributes,
    DerivedAttributes,
    DltAttributes,
    FileAttributes,
    HttpAttributes,
)
from orchestration_project.sensors.factory import dataset_sensor
from orchestration_project.sensors.own_derived import derived_sensor
from orchestration_project.settings import project_folder
from orchestration_project.settings.project import own_domain


@cache
def _resources() -> Mapping[str, dg.ResourceDefinition]:
    """Return the resources of all our components: Dagster merges those that are the same."""
    return resource_definitions(catalog.REGISTRY.select(own_domain()))


def definitions_of(file: Path) -> dg.Definitions:
    """Return assets, check, job and sensor of the dataset or derived table that a file declares.

    Raises:
        ConfigurationError: The file is not below the project folder, or is wrong.
    """
    for derived in own_derivations():
        if file.resolve() == project_folder() / derived.file:
            made = derived_assets(derived)
            return dg.Definitions(
                assets=[made.table],
                jobs=[made.job],
                sensors=[derived_sensor(made)],
                resources=_resources(),
            )
    declared = {project_folder() / each.file: each for each in own_declarations()}
    if file.resolve() not in declared:
        raise ConfigurationError(
            "the component is not in the project folder",
            expected=f"a file such as defs/rates/defs.yaml below {project_folder()}",
            found=str(file),
            remedy="add [tool.orchestrate] to the pyproject.toml of the project",
        )
    made = dataset_assets(dataset_of(declared[file.resolve()]))
    return dg.Definitions(
        assets=[made.source, made.table],
        asset_checks=[made.freshness],
        jobs=[made.job],
        sensors=[dataset_sensor(made)],
        resources=_resources(),
    )


class _OwnDataset(dg.Component, dg.Resolvable):
    """Base of the components."""

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the definitions of the dataset that the file declares."""
        return definitions_of(context.path / "defs.yaml")


_BASES: Any = (DerivedAttributes, _OwnDataset)

SqlTable = create_model(
    "SqlTable",
    __base__=_BASES,
    __module__=__name__,
    __doc__="A table that SQL derives of others, with a contract and history.",
)


class HttpDataset(DatasetAttributes, _OwnDataset):
    """A dataset of documents over HTTP, with captures, checks and history."""

    source: HttpAttributes


class FileDataset(DatasetAttributes, _OwnDataset):
    """A dataset of files, with captures, checks and history."""

    source: FileAttributes


class DltDataset(DatasetAttributes, _OwnDataset):
    """A dataset of a dlt resource, with captures, checks and history."""

    source: DltAttributes
