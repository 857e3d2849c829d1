"""Read-only SQL of analysts: limits, and tables as of a moment, for both databases."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.catalogue import known_tables, relation_as_of

TIMEOUT_SECONDS = 20
"""Time after which the database ends a query."""

MAX_ROWS = 100_000
"""Rows that a query may have."""

MAX_ROW_BYTES = 2**20
"""Size of a row, as text: the driver holds a whole row before anything can judge it."""

MAX_BYTES = 64 * 2**20
"""Size of all rows of a query, as text."""


NAME = re.compile(r"(?P<qualifier>\.\W*)?\b(?P<name>[a-z_][a-z0-9_]*)\b", re.IGNORECASE)
HIDDEN_NAME = re.compile(r"\bu&\"|\.\s*(--|/\*)", re.IGNORECASE)
"""How a name has escapes, or a comment between it and its schema."""


def select_as_of(
    query: str, as_of: datetime, literal: str, *, schema: str = ""
) -> Mapping[str, str]:
    """Return the rows of each table that a query names at a moment, as queries by its name.

    Args:
        query: A word in it that is called like a table counts as that table.
        as_of: The moment.
        literal: The moment in the SQL of the database.
        schema: What stands before the names of tables, such as ``main.``.

    Raises:
        ConfigurationError: A table has no history, is named with a schema, or by escapes: its
            present rows would stand beside those of the moment.
    """
    if HIDDEN_NAME.search(query):
        raise ConfigurationError(
            "a query as of a moment has a name with escapes, or a comment behind a dot",
            remedy="write it without",
        )
    tables, selects = known_tables(), dict[str, str]()
    for word in NAME.finditer(query):
        name = word["name"].lower()
        if name not in tables or name in selects:
            continue
        if word["qualifier"]:
            raise ConfigurationError(
                "a query as of a moment names a table, or a column that is called like one, "
                "behind a dot",
                found=word["name"],
                remedy="name tables without a schema",
            )
        current, history = (part.rows for part in relation_as_of(name, as_of).parts)
        columns = ", ".join(f'"{column.name}"' for column in tables[name].columns)
        began = f"WHERE known_from <= {literal}"
        selects[name] = (
            f"SELECT {columns} FROM {schema}{current} {began} "  # noqa: S608 - names of our tables
            f"UNION ALL SELECT {columns} FROM {schema}{history} {began} AND known_to > {literal}"
        )
    return selects


def build_frame(names: Sequence[str], rows: Sequence[Sequence[Any]], limit: int) -> pl.DataFrame:
    """Return rows as a frame.

    Raises:
        ConfigurationError: They are more than ``limit``, or columns have one name, or a column has
            values of several types.
    """
    if len(rows) > limit:
        raise ConfigurationError(
            "the query has too many rows",
            expected=f"at most {limit} rows",
            remedy="sum in SQL, use LIMIT, or export the table",
        )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(
            "columns have the same name", found=", ".join(twice), remedy="name them with AS"
        )
    for index, name in enumerate(names):
        kinds = {type(row[index]) for row in rows} - {type(None)}
        if len(kinds) > 1 and not kinds <= {int, float}:
            raise ConfigurationError(
                f"column {name} has values of several types",
                found=", ".join(sorted(kind.__name__ for kind in kinds)),
                remedy="CAST it to one",
            )
    return pl.DataFrame(rows, names, orient="row", infer_schema_length=None, strict=False)


def refuse_query(found: str) -> ConfigurationError:
    """Return the error of a query that the database does not run."""
    return ConfigurationError(
        "invalid SQL: expected one SELECT, e.g. SELECT * FROM finra_symbols", found=found
    )


def refuse_slow_query(timeout_seconds: float, found: str) -> ConfigurationError:
    """Return the error of a query that was ended."""
    return ConfigurationError(
        "the query was ended",
        expected=f"a query of at most {timeout_seconds:g} s",
        found=found,
        remedy="name weeks and tiers in WHERE, or export the table",
    )


def refuse_large_rows(expected: str) -> ConfigurationError:
    """Return the error of rows that are larger than ``expected``."""
    return ConfigurationError(
        "the rows of the query are too large",
        expected=expected,
        remedy="select fewer columns, sum in SQL, or export the table",
    )


def convert_value(value: object) -> object:
    """Return a value of a database as one that a frame holds; another as its text."""
    kinds = (bool, int, float, str, date, datetime, Decimal, type(None))
    return value if isinstance(value, kinds) else str(value)
