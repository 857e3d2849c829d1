"""The polars types of the columns of tables, in frames and as databases store them."""

from collections.abc import Sequence
from typing import Any

import polars as pl
from sqlalchemy import BigInteger, Boolean, Date, Double, FromClause, Table, Text
from sqlalchemy.types import TypeEngine

from orchestration_project.tables.schema import (
    USD_SCALE,
    Dollars,
    Quantity,
    UtcTimestamp,
    key_names,
)

QUANTITY = pl.Decimal(38, USD_SCALE)
"""Quantities in frames; sums of them have this type, too."""

POLARS_TYPES: dict[type[TypeEngine[Any]], pl.DataType] = {
    Date: pl.Date(),
    BigInteger: pl.Int64(),
    Boolean: pl.Boolean(),
    Double: pl.Float64(),
    UtcTimestamp: pl.Datetime("us", "UTC"),
    Dollars: pl.Decimal(19, USD_SCALE),
    Quantity: QUANTITY,
    Text: pl.String(),
}


def schema_of(declared: FromClause, names: Sequence[str] | None = None) -> dict[str, pl.DataType]:
    """Return the polars type of each column of ``declared`` (of just ``names``, if given)."""
    chosen = names or declared.columns.keys()
    return {name: POLARS_TYPES[type(declared.c[name].type)] for name in chosen}


def stored_schema_of(
    declared: FromClause, names: Sequence[str] | None = None
) -> dict[str, pl.DataType]:
    """Return the same as a database stores them: quantities as whole millionths."""
    return {
        name: pl.Int64() if _is_quantity(declared, name) else kind
        for name, kind in schema_of(declared, names).items()
    }


def with_quantities(stored: pl.DataFrame, declared: FromClause) -> pl.DataFrame:
    """Return columns as `schema_of` has them, of such as `stored_schema_of` has."""
    return stored.with_columns(
        pl.col(name).cast(QUANTITY) / 10**USD_SCALE
        for name in stored.columns
        if _is_quantity(declared, name)
    )


def with_stored_names(rows: pl.DataFrame, declared: FromClause) -> pl.DataFrame:
    """Return ``rows`` with the names and numbers that the database has for quantities."""
    return rows.select(
        pl.col(name).to_physical().cast(pl.Int64).alias(declared.c[name].name)
        if _is_quantity(declared, name)
        else name
        for name in rows.columns
    )


def _is_quantity(declared: FromClause, name: str) -> bool:
    return isinstance(declared.c[name].type, Quantity)


def in_table_order(rows: pl.DataFrame, declared: Table) -> pl.DataFrame:
    """Return ``rows`` with the columns and types of ``declared``, in the order of its key."""
    schema = schema_of(declared)
    return rows.select(list(schema)).cast(pl.Schema(schema)).sort(key_names(declared))
