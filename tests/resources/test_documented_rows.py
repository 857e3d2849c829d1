"""Each query of the docs has the rows that another engine counts in the same tables."""

import random
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import polars as pl
import pytest
from sqlalchemy import BigInteger, Boolean, Date, Double, Table, insert, text
from sqlalchemy.sql.util import find_tables
from sqlalchemy.types import Integer

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables.schema import METADATA, USD_SCALE, Quantity, UtcTimestamp
from orchestration_project.tables.views import VIEWS
from tests.resources.test_documented_queries import NAMED, queries

COUNTED_ELSEWHERE = {
    "query-by-sql.md": "test_documented_queries.py",
    "monitor.md": "test_operations_docs.py",
    "query-the-past.md": "test_recipes.py",
    "measure-restatements.md": "test_recipes.py",
    "trace-a-row.md": "test_recipes.py",
}
"""Pages whose queries span weeks or views, and the tests that count their rows."""

ROW_COUNT = 80
CONDITION = re.compile(r"(\w+) (?:=|<>|(?:NOT )?IN) (\('[^)]*\)|'[^']*')")
MAY_BE_NULL = re.compile(r"(\w+) IS (?:NOT )?NULL")
NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)


def documented() -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield each query of the other pages with its number and page."""
    pages = (query for query in queries() if query[0] not in COUNTED_ELSEWHERE)
    yield from enumerate(pages)


def made_rows(table: Table, query: str) -> list[dict[str, Any]]:
    """Return rows of which a part meets the conditions of a query; no two share a key."""
    chance = random.Random(query)  # noqa: S311
    named = {name: re.findall(r"'([^']*)'", texts) for name, texts in CONDITION.findall(query)}
    nullable = set(MAY_BE_NULL.findall(query))
    key = [column.key for column in table.primary_key]
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number in range(ROW_COUNT):
        row = {
            column.key: None
            if column.name in nullable and column.nullable and chance.random() < 0.5
            else value_of(column.type, named.get(column.name, []), number, chance)
            for column in table.columns
        }
        rows.setdefault(tuple(row[name] for name in key) if key else (number,), row)
    return list(rows.values())


def value_of(kind: Any, named: Sequence[str], number: int, chance: random.Random) -> Any:
    """Return a value that a query names, or another one that differs from row to row."""
    is_named = bool(named) and chance.random() < 0.75
    if isinstance(kind, Date):
        other = NOON.date() + timedelta(days=number)
        return date.fromisoformat(chance.choice(named)) if is_named else other
    if isinstance(kind, UtcTimestamp):
        return NOON + timedelta(minutes=chance.randrange(10**6), microseconds=number)
    if isinstance(kind, Boolean):
        return chance.random() < 0.5
    if isinstance(kind, Quantity):
        return Decimal(chance.randrange(10**9) * 100 + number).scaleb(-USD_SCALE)
    if isinstance(kind, (BigInteger, Integer)):
        return chance.randrange(10**9) * 100 + number
    if isinstance(kind, Double):
        return chance.random()
    return chance.choice(named) if is_named else f"text {number:02}"


def counted_apart(query: str, tables: dict[str, pl.DataFrame]) -> list[tuple[Any, ...]]:
    """Return the rows of a query over frames, by DuckDB."""
    with duckdb.connect() as engine:
        engine.execute("SET integer_division = true; SET TimeZone = 'UTC'")
        for name, frame in tables.items():
            engine.register(name, frame.to_arrow())
        return engine.execute(re.sub(r"\bat\b", '"at"', query)).fetchall()  # its keyword


def stored_tables(name: str) -> list[Table]:
    """Return the table of a name, or those that a view reads."""
    if name in METADATA.tables:
        return [METADATA.tables[name]]
    found = find_tables(VIEWS[name].select, include_joins=False)
    return [table for table in found if isinstance(table, Table)]


def plain(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Return rows with times, numbers and flags as both engines write them."""
    return [tuple(map(plain_value, row)) for row in rows]


def plain_value(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return round(float(value), 6)


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    ("page", "query"),
    [pytest.param(page, query, id=f"{page}-{number}") for number, (page, query) in documented()],
)
def test_a_documented_query_has_the_rows_that_another_engine_counts(
    warehouse: Warehouse, page: str, query: str
):
    names = {name for name, _ in NAMED.findall(query)}
    with warehouse.writing() as connection:
        for table in {table for name in sorted(names) for table in stored_tables(name)}:
            connection.execute(insert(table), made_rows(table, query))
    with warehouse.reading() as connection:
        found = plain(connection.execute(text(query)).fetchall())
        frames = {}
        for name in names:
            stored = connection.execute(text(f"SELECT * FROM {name}"))  # noqa: S608
            columns = list(stored.keys())
            rows = stored.fetchall()
            frames[name] = pl.DataFrame(
                {column: [row[place] for row in rows] for place, column in enumerate(columns)},
                strict=False,
            )
    expected = plain(counted_apart(query, frames))
    assert found, page
    if "ORDER BY" not in query:
        found, expected = sorted(found, key=repr), sorted(expected, key=repr)
    assert found == expected
