"""The derived tables of a project in `check` and `preview`; nothing is written."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import inspect

from orchestration_project.cli.console import OUTPUT, echo, emit, show_rows
from orchestration_project.engine.environment import open_unprepared_warehouse
from orchestration_project.engine.own.contracts import compare_frames
from orchestration_project.engine.own_derived import WHOLE, DerivedDeclaration, load_derivations
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.fencing import read_derived_versions
from orchestration_project.engine.warehouse.frames import read_scope
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.own_derived import (
    conform,
    derived_table_of,
    expected_columns,
    plan_query,
    read_result,
)
from orchestration_project.settings import load_settings
from orchestration_project.tables.schema import key_names

SHOWN = 10


def check_derived() -> Sequence[Mapping[str, Any]]:
    """Return a row for each derived table; where its inputs exist, its query is planned.

    Raises:
        ConfigurationError: A declaration is wrong, or the database refuses a query.
    """
    declarations = load_derivations()
    if declarations:
        with open_unprepared_warehouse(load_settings()) as warehouse:
            for declaration in declarations:
                _require_planned(warehouse, declaration)
    return [
        {
            "source": declaration.derived.name,
            "file": declaration.file,
            "partitions": declaration.derived.partition_by or "whole",
            "key": ", ".join(key_names(declaration.table)),
            "hint": f"derived of {', '.join(table.name for table in declaration.inputs)}",
        }
        for declaration in declarations
    ]


def _require_planned(warehouse: Warehouse, declaration: DerivedDeclaration) -> None:
    """Make sure that the database takes a query, and names the result as declared."""
    if not declaration.derived.sql:
        return
    with warehouse.reading() as connection:
        stored = set(inspect(connection).get_table_names())
        if not all(table.name in stored for table in declaration.inputs):
            return
        query = plan_query(declaration, connection)
    expected = expected_columns(declaration)
    if sorted(query.names) != sorted(expected):
        raise ConfigurationError(
            f"invalid SQL of {declaration.derived.name!r}",
            expected=f"the columns {', '.join(expected)}",
            found=", ".join(query.names),
            remedy="name the columns as the fields; a decimal is NAME_micros, whole millionths",
            file=declaration.file,
        )


def preview_derived(declaration: DerivedDeclaration, partition: str | None) -> None:
    """Show the rows of a partition, and the difference from those that are written.

    Raises:
        ConfigurationError: The tables of the inputs are not made yet, or have no such rows.
        ContractError: The result is not as declared.
    """
    name, table = declaration.derived.name, declaration.table
    with open_unprepared_warehouse(load_settings()) as warehouse, warehouse.reading() as connection:
        stored = set(inspect(connection).get_table_names())
        if missing := [
            input_table.name for input_table in declaration.inputs if input_table.name not in stored
        ]:
            raise ConfigurationError(
                f"{name} cannot be derived",
                expected="the tables of its inputs",
                found=f"not made yet: {', '.join(missing)}",
                remedy="make them by `orchestrate schema apply`, and load them",
            )
        key = partition or _find_newest(declaration, connection)
        rows = conform(declaration, key, read_result(declaration, connection, key))
        loaded = None
        if table.name in stored:
            loaded = read_scope(connection, table, declaration.scope_of(key))
    difference = None if loaded is None else compare_frames(rows, loaded, key_names(table))
    entries = rows.head(SHOWN).to_dicts()
    if OUTPUT.is_json:
        compared = None if difference is None else vars(difference)
        emit(
            {
                "source": name,
                "partition": key,
                "row_count": len(rows),
                "rows": entries,
                "difference": compared,
            }
        )
        return
    echo(f"{name}, {key}: {len(rows)} rows\n")
    if entries:
        show_rows(entries, {column: column for column in entries[0]})
        echo("")
    echo(f"a run would have: {difference}" if difference else "the table is not made yet")


def _find_newest(declaration: DerivedDeclaration, connection: Any) -> str:
    """Return the newest partition that is out of date, else the newest one."""
    derived = derived_table_of(declaration)
    loaded = derived.inputs.read_loaded(connection, None)
    made_names = read_derived_versions(connection, declaration.table)
    due = [key for key in loaded if made_names.get(key) != derived.reach.version(key, loaded)]
    if not loaded and declaration.derived.partition_by:
        raise ConfigurationError(
            f"{declaration.derived.name} cannot be derived",
            expected="rows of its inputs",
            found="none",
            remedy="load them, or name a partition",
        )
    return max(due or loaded, default=WHOLE)
