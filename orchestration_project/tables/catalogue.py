"""Every table and view by name, and their rows as they are or as they were known to be."""

import pkgutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import import_module
from types import ModuleType

from sqlalchemy import Table

import orchestration_project.tables
from orchestration_project.errors import ConfigurationError, UnknownNameError, did_you_mean
from orchestration_project.settings.domain_modules import import_domain_modules
from orchestration_project.tables.queries.relations import Part, Relation
from orchestration_project.tables.schema import (
    ASSET,
    HISTORY,
    INTERNAL,
    METADATA,
    asset_of_table,
    usual_asset,
)
from orchestration_project.tables.views import VIEWS


def tables() -> Sequence[Table]:
    """Return every table, by name."""
    return [METADATA.tables[name] for name in sorted(METADATA.tables)]


def known_tables() -> Mapping[str, Table]:
    """Return every table and view by name, a view as the table that it looks like."""
    views = {name: view.table for name, view in VIEWS.items()}
    return dict(sorted((dict(METADATA.tables) | views).items()))


def internal_tables() -> Mapping[str, Table]:
    """Return the tables that are for this project's own work alone, by name."""
    return {table.name: table for table in tables() if table.info.get(INTERNAL)}


def asset_of(table_name: str) -> str:
    """Return the asset that a table is, by the table's name."""
    declared = METADATA.tables.get(table_name)
    return usual_asset(table_name) if declared is None else asset_of_table(declared)


def table_of(asset: str) -> str:
    """Return the table that an asset is, by its name."""
    usual = asset.replace("/", "_")
    named = {value.info.get(ASSET): name for name, value in METADATA.tables.items()}
    return named.get(asset, usual)


def relation(name: str) -> Relation:
    """Return the table or view called ``name``.

    Raises:
        ConfigurationError: There is none.
    """
    table = known_tables().get(name)
    if table is None:
        public = [key for key in known_tables() if key not in internal_tables()]
        raise UnknownNameError(
            f"table or view not found: {name!r}",
            expected="a name that `orchestrate tables` lists",
            remedy=did_you_mean(name, public),
        )
    return Relation(table, [Part(table)])


def table_with_history(name: str) -> Table:
    """Return the table called ``name``, whose earlier rows are kept.

    Raises:
        ConfigurationError: The table is unknown, or keeps no history.
    """
    table = relation(name).table
    if table.info.get(HISTORY) is None:
        with_history = sorted(
            table.name for table in METADATA.tables.values() if table.info.get(HISTORY) is not None
        )
        raise ConfigurationError(
            f"{name} keeps no history: what it held at a time is not known",
            expected=f"one of {', '.join(with_history)}",
            remedy=did_you_mean(name, with_history),
        )
    return table


def relation_as_of(name: str, at: datetime) -> Relation:
    """Return the table called ``name`` in the state that was known ``at`` a moment.

    Raises:
        ConfigurationError: The table is unknown or has no history.
    """
    current = table_with_history(name)
    history = current.info[HISTORY]
    earlier = Part(history, [history.c.known_from <= at, history.c.known_to > at])
    return Relation(current, [Part(current, [current.c.known_from <= at]), earlier])


def _get_subject(module: ModuleType) -> str:
    """Return the subject of a module: `finra_short` of domains.finra.tables.short."""
    folders = ("orchestration_project", "domains", "tables")
    return "_".join(part for part in module.__name__.split(".") if part not in folders)


_SHARED = (
    import_module(f"{orchestration_project.tables.__name__}.{module.name}")
    for module in pkgutil.iter_modules(orchestration_project.tables.__path__)
)
_MODULES = {_get_subject(module): module for module in (*import_domain_modules("tables"), *_SHARED)}

TABLE_MODULES: Mapping[str, ModuleType] = dict(sorted(_MODULES.items()))
"""Modules that declare tables, by subject: those of domains and those that all share."""
