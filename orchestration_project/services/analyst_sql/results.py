"""Rows of an analyst's query as a frame, and the limits that they keep on each database."""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from orchestration_project.errors import ConfigurationError

TIMEOUT_SECONDS = 20
"""Time after which the database ends a query."""

MAX_ROWS = 100_000
"""Rows that a query may have."""

MAX_ROW_BYTES = 2**20
"""Size of a row, as text: the driver holds a whole row before anything can judge it."""

MAX_BYTES = 64 * 2**20
"""Size of all rows of a query, as text."""


def frame_of_rows(names: Sequence[str], rows: Sequence[Sequence[Any]], limit: int) -> pl.DataFrame:
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


def plain_value(value: object) -> object:
    """Return a value of a database as one that a frame holds; another as its text."""
    kinds = (bool, int, float, str, date, datetime, Decimal, type(None))
    return value if isinstance(value, kinds) else str(value)
