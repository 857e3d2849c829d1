"""Declared datasets in a Dagster project of another team: components, and all definitions.

A `defs.yaml` is read as all programs read it, so that a table is the same with and without Dagster.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel, create_model

from orchestration_project import catalog
from orchestration_project.assets.factory import build_dataset_assets
from orchestration_project.assets.own_derived import build_derived_assets
from orchestration_project.catalog.factory import dataset_of
from orchestration_project.catalog.resources import resource_definitions
from orchestration_project.engine.own.attributes import (
    DatasetAttributes,
    DerivedAttributes,
    DltAttributes,
    FileAttributes,
    HttpAttributes,
)
from orchestration_project.engine.own_derived import DerivedDeclaration, load_derivations
from orchestration_project.engine.own_sources import Declaration, load_declarations
from orchestration_project.errors import ConfigurationError, UnknownNameError, did_you_mean
from orchestration_project.sensors.factory import dataset_sensor, derived_sensor
from orchestration_project.settings import project_folder
from orchestration_project.settings.project import own_domain


@cache
def _build_resources() -> Mapping[str, dg.ResourceDefinition]:
    """Return the resources of all our components: Dagster merges those that are the same."""
    return resource_definitions(catalog.REGISTRY.select(own_domain()))


def load_declared(names: Sequence[str]) -> dg.Definitions:
    """Return definitions as `orchestration_project.load_definitions`."""
    declared: dict[str, Declaration | DerivedDeclaration] = {
        **{declaration.dataset.name: declaration for declaration in load_declarations()},
        **{derivation.derived.name: derivation for derivation in load_derivations()},
    }
    for name in names:
        if name not in declared:
            raise UnknownNameError(
                f"the project declares no dataset or derived table {name!r}",
                expected=f"one of {', '.join(declared)}" if declared else "a file in defs/",
                found=name,
                remedy=did_you_mean(name, declared) or "declare it below the project folder",
            )
    chosen = [declared[name] for name in names or declared]
    return dg.Definitions.merge(*map(_build_definitions, chosen))


def _build_definitions(declared: Declaration | DerivedDeclaration) -> dg.Definitions:
    """Return assets, check, job and sensor of a dataset or derived table."""
    if isinstance(declared, DerivedDeclaration):
        derived = build_derived_assets(declared)
        return dg.Definitions(
            assets=[derived.table],
            jobs=[derived.job],
            sensors=[derived_sensor(derived)],
            resources=_build_resources(),
        )
    made_dataset_assets = build_dataset_assets(dataset_of(declared))
    return dg.Definitions(
        assets=[made_dataset_assets.source, made_dataset_assets.table],
        asset_checks=[made_dataset_assets.freshness],
        jobs=[made_dataset_assets.job],
        sensors=[dataset_sensor(made_dataset_assets)],
        resources=_build_resources(),
    )


def definitions_of(file: Path) -> dg.Definitions:
    """Return the definitions of the dataset or derived table that a file declares.

    Raises:
        ConfigurationError: The file is not below the project folder, or is wrong.
    """
    for declared in (*load_declarations(), *load_derivations()):
        if file.resolve() == project_folder() / declared.file:
            return _build_definitions(declared)
    raise ConfigurationError(
        "the component is not in the project folder",
        expected=f"a file such as defs/rates/defs.yaml below {project_folder()}",
        found=str(file),
        remedy="add [tool.orchestrate] to the pyproject.toml of the project",
    )


class _OwnDataset(dg.Component, dg.Resolvable):
    """Base of the components."""

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """Return the model of the attributes, and of the schema for `dg check yaml` and editors.

        Dagster's own one has a text beside each other type, as a template may give any value.
        Templates are refused here, and an error would then name no place within a value.
        """
        return cls  # pyright: ignore[reportReturnType] - each component is a model, too

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
