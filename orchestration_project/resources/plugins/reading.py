"""Named queries of plugins: granted columns of a table, by equality of granted filters."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import select

from orchestration_project.domains.plugins.manifest import ReadPermission
from orchestration_project.domains.plugins.protocol import Read
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.catalogue import internal_tables, relation
from orchestration_project.tables.conditions import condition, public_column_of, write_condition
from orchestration_project.tables.schema import key_names

QUERY_SECONDS = 30
"""Limit of a query."""


def read_rows(warehouse: Warehouse, query: ReadPermission, message: Read) -> list[dict[str, Any]]:
    """Return the rows of a named query, by key, as values of JSON.

    Raises:
        ConfigurationError: The table or a column is unknown or not public, or a parameter is not
            of its column's type.
        TimeoutError: The query takes too long.
    """
    if query.table in internal_tables():
        raise ConfigurationError(
            f"invalid table of the query {query.name}: {query.table} is internal",
            expected="a table that `orchestrate tables` lists",
            remedy="read another table",
        )
    table = relation(query.table).table
    columns = [public_column_of(table, name) for name in query.columns]
    wheres = [
        condition(table, write_condition(name, _format_value(name, value)))
        for name, value in message.parameters.items()
    ]
    statement = (
        select(*columns)
        .where(*wheres)
        .order_by(*(table.c[name] for name in key_names(table)))
        .limit(query.max_rows)
    )
    rows = warehouse.frame(statement, table, seconds=QUERY_SECONDS).to_dicts()
    return [{name: _convert_to_json(value) for name, value in row.items()} for row in rows]


def _format_value(name: str, value: str | float | bool | None) -> str:
    if value is None:
        raise ConfigurationError(
            f"invalid parameter {name}: expected a value, found null",
            remedy="leave the parameter out",
        )
    return str(value).lower() if isinstance(value, bool) else str(value)


def _convert_to_json(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value
