"""The tables that a project derives of others: their inputs, and the order of both."""

import re
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Date, Table

from orchestration_project.engine.own.derived import Derived, declare_derived_table
from orchestration_project.engine.own.reading import build_config_error
from orchestration_project.engine.own.sql import read_inputs
from orchestration_project.engine.own_sources import load_declarations, load_declared_values
from orchestration_project.engine.warehouse.connecting import find_database_url, parse_url
from orchestration_project.engine.warehouse.frames import Scope
from orchestration_project.engine.warehouse.target import KNOWN_FROM
from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.settings import domains_on, load_shared_settings, project_folder
from orchestration_project.settings.project import own_domain
from orchestration_project.tables.catalogue import METADATA, asset_of
from orchestration_project.tables.schema import HISTORY, INTERNAL

WHOLE = "all"
"""Key of a table that is recomputed as a whole."""

LINE = re.compile(r"line (\d+)")
"""Begins what was found in a query, where that has a place."""


class DerivedDeclaration(NamedTuple):
    """A declared derived table.

    Attributes:
        derived: What it is.
        file: The file that declares it, below the project folder.
        table: Its table.
        inputs: The tables that it is made of.
        rule_version: Hash of all that could make other rows of the same inputs.
    """

    derived: Derived
    file: str
    table: Table
    inputs: Sequence[Table]
    rule_version: str

    @property
    def description(self) -> str:
        """Description of its job, a sentence."""
        return f"Derives {self.derived.name} of {', '.join(table.name for table in self.inputs)}."

    @property
    def job_name(self) -> str:
        """The job that derives it."""
        return f"{own_domain()}_{self.derived.name}"

    @property
    def partition_columns(self) -> Mapping[str, str]:
        """The column of each input that partitions it, by the input's name; "": read whole."""
        declared = self.derived
        return {
            table.name: declared.input_columns.get(table.name, declared.partition_by)
            for table in self.inputs
        }

    def value_of(self, key: str) -> Any:
        """Return the value of the partition's column.

        Raises:
            ConfigurationError: The table has no such partition.
        """
        kind = self.table.c[self.derived.partition_by].type
        try:
            if isinstance(kind, Date):
                return date.fromisoformat(key)
            return int(key) if isinstance(kind, BigInteger) else key
        except ValueError:
            name = f"partition of {self.derived.name}"
            raise build_config_error(name, f"a value of {self.derived.partition_by}", key) from None

    def scope_of(self, key: str) -> Scope:
        """Return the rows of a partition.

        Raises:
            ConfigurationError: The table has no such partition.
        """
        if self.derived.partition_by:
            return {self.derived.partition_by: self.value_of(key)}
        if key != WHOLE:
            raise build_config_error(
                f"partition of {self.derived.name}", f"{WHOLE}, the only one", key
            )
        return {}


@cache
def load_derivations() -> Sequence[DerivedDeclaration]:
    """Return the tables that the project derives, each after those that it is made of.

    Raises:
        ConfigurationError: A declaration is wrong.
    """
    load_declarations()  # their tables may be inputs
    declared = {
        value.name: (value, file)
        for value, file in load_declared_values()
        if isinstance(value, Derived)
    }
    tables = {
        name: declare_derived_table(item, own_domain()) for name, (item, _) in declared.items()
    }
    derived_declarations: dict[str, DerivedDeclaration] = {}
    for name, (derived, file) in declared.items():
        try:
            inputs = _resolve_inputs(derived)
        except ConfigurationError as error:
            line = LINE.match(error.found)
            text = locate_query(derived, file, int(line[1]) if line else 1)
            raise error.within(file=text, derived_table=name) from None
        code = (project_folder() / file).read_bytes()
        derived_declarations[name] = DerivedDeclaration(
            derived, file, tables[name], inputs, derived.rule_version(code)
        )
    return [derived_declarations[name] for name in _sort_names(derived_declarations)]


def find_derived(name: str) -> DerivedDeclaration | None:
    """Return the derived table of a name; None: the project derives no such table."""
    return next(
        (derivation for derivation in load_derivations() if derivation.derived.name == name), None
    )


def locate_query(derived: Derived, file: str, line: int = 1) -> str:
    """Return the file, and in it a line of the query."""
    lines = (project_folder() / file).read_text(encoding="utf-8").splitlines()
    first = next(iter(derived.sql.strip().splitlines()), "")
    number = next((index for index, line in enumerate(lines, 1) if first and first in line), 0)
    return f"{file}:{number + line - 1}" if number else file


def read_database_name() -> str:
    """Return the name of the database in use, such as sqlite."""
    return parse_url(find_database_url(load_shared_settings())).get_backend_name()


def _resolve_inputs(derived: Derived) -> Sequence[Table]:
    """Return the inputs of a derived table.

    Raises:
        ConfigurationError: Its SQL cannot be read, or an input cannot be one.
    """
    names = (
        read_inputs(derived.sql.lstrip("\n"), read_database_name())
        if derived.sql
        else derived.inputs
    )
    if derived.sql and derived.inputs and sorted(derived.inputs) != sorted(names):
        raise build_config_error(
            "inputs", f"those that the SQL reads: {', '.join(names)}", derived.inputs
        )
    if not names:
        raise build_config_error("SQL", "a query that reads a table", "none")
    if other_names := sorted(set(derived.input_columns) - set(names)):
        raise build_config_error(
            "input_columns", f"names of inputs: {', '.join(names)}", other_names[0]
        )
    inputs = [_find_input(name) for name in names]
    for table in inputs:
        _require_column(derived, table)
    return inputs


def list_possible_inputs() -> Mapping[str, Table]:
    """Return the tables that a derived table may be made of, by name."""
    on = {*domains_on(load_shared_settings()), own_domain()}
    histories = {table.info.get(HISTORY) for table in METADATA.tables.values()}
    return {
        name: table
        for name, table in sorted(METADATA.tables.items())
        if not table.info.get(INTERNAL)
        and table not in histories
        and KNOWN_FROM in table.c
        and asset_of(name).partition("/")[0] in on
    }


def _find_input(name: str) -> Table:
    possible = list_possible_inputs()
    if name in possible:
        return possible[name]
    domain = asset_of(name).partition("/")[0]
    if name in METADATA.tables and domain not in domains_on(load_shared_settings()):
        text = f"{name}, of the domain {domain}, which is off"
        raise build_config_error(
            "input", "a table of a domain that is on", text, f"add {domain} to DOMAINS"
        )
    if name in METADATA.tables:
        expected = "a table whose rows say since when they are known"
        raise build_config_error("input", expected, name, did_you_mean(name, possible))
    remedy = did_you_mean(name, possible) or "`orchestrate tables` lists them"
    raise build_config_error(
        "input", "a table of this project or of a domain that is on", name, remedy
    )


def _require_column(derived: Derived, table: Table) -> None:
    """Make sure that an input has the column that partitions it, in each row."""
    name = derived.input_columns.get(table.name, derived.partition_by)
    if not name:
        return
    column = table.c.get(name)
    if column is None or column.nullable:
        raise build_config_error(
            f"partition_by of {derived.name!r}",
            f"a required column of {table.name}",
            name,
            did_you_mean(name, [text.key for text in table.columns])
            or f"name it by input_columns={{{table.name!r}: …}}, or '' to read the table whole",
        )


def _sort_names(found: Mapping[str, DerivedDeclaration]) -> Sequence[str]:
    """Return the names of derived tables, each after its inputs.

    Raises:
        ConfigurationError: A table is made of itself.
    """
    graph = {
        name: [table.name for table in declaration.inputs if table.name in found]
        for name, declaration in found.items()
    }
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        cycle = error.args[1]
        raise build_config_error(
            f"derived table {cycle[0]!r}",
            "inputs that are not made of it",
            " of ".join(cycle[::-1]),
        ).within(file=found[cycle[0]].file) from None
