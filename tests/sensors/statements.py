"""Statements of a database, collected at its driver, and what each statement reads there."""

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Engine, event, make_url

HISTORY = frozenset({"landings", "audits", "deliveries", "captures"})
"""Tables that grow with every delivery."""


@dataclass(frozen=True)
class Statement:
    """A SELECT, and the values that it was given."""

    sql: str
    values: Any = None

    @property
    def is_of_deliveries(self) -> bool:
        """Whether it names a table of `HISTORY`, or fences."""
        return bool({"fences", *HISTORY} & set(re.findall(r"\w+", self.sql)))


@contextmanager
def collected(url: str) -> Iterator[list[Statement]]:
    """Collect the SELECTs that connections made meanwhile give the database at ``url``."""
    found: list[Statement] = []
    name = str(make_url(url).database)

    def connect(dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        if name not in (*arguments, options.get("dbname")):
            return None
        if dialect.name == "sqlite":
            connection = sqlite3.connect(*arguments, **options)
            connection.set_trace_callback(lambda sql: _add(found, sql))
            return connection
        return psycopg.connect(*arguments, cursor_factory=_cursor(found), **options)

    event.listen(Engine, "do_connect", connect)
    try:
        yield found
    finally:
        event.remove(Engine, "do_connect", connect)


def _add(found: list[Statement], sql: str, values: Any = None) -> None:
    if sql.lstrip().startswith(("SELECT", "WITH")):
        found.append(Statement(sql, values))


def _cursor(found: list[Statement]) -> type[psycopg.Cursor[Any]]:
    """Return a cursor that notes what it executes and copies."""

    class Noting(psycopg.Cursor[Any]):
        def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
            _add(found, str(query), params)
            return super().execute(query, params, **options)

        def copy(self, statement: Any, params: Any = None, **options: Any) -> Any:
            _add(found, str(statement).removeprefix("COPY (").removesuffix(") TO STDOUT"), params)
            return super().copy(statement, params, **options)

    return Noting


class Reader:
    """Runs collected statements again, to see what they read."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)

    def scanned(self, statement: Statement) -> list[str]:
        """Return how tables of `HISTORY` are read other than by equality with a key or index."""
        if self._is_sqlite:
            return [line for line in self._lines(statement) if _is_scan_of_sqlite(line)]
        return [
            f"{node['Node Type']} of {node['Relation Name']} {_condition(node)}"
            for node in _nodes(self._plan(statement))
            if node.get("Relation Name") in HISTORY and not _keys(_condition(node))
        ]

    def cost(self, statement: Statement) -> int:
        """Return the steps of SQLite's machine, or the rows that PostgreSQL reads of tables."""
        if not self._is_sqlite:
            return sum(_rows_read(node) for node in _nodes(self._plan(statement)))
        steps = 0

        def count() -> None:
            nonlocal steps
            steps += 1

        with closing(sqlite3.connect(str(self._url.database))) as connection:
            connection.set_progress_handler(count, 1)
            connection.execute(statement.sql).fetchall()
        return steps

    def pages(self, statement: Statement) -> int:
        """Return how many pages PostgreSQL reads, cached or not."""
        top = self._plan(statement)
        return top["Shared Hit Blocks"] + top["Shared Read Blocks"]

    @property
    def _is_sqlite(self) -> bool:
        return self._url.get_backend_name() == "sqlite"

    def _lines(self, statement: Statement) -> list[str]:
        with closing(sqlite3.connect(str(self._url.database))) as connection:
            return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement.sql}")]

    def _plan(self, statement: Statement) -> dict[str, Any]:
        server = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.sql}"
        with psycopg.connect(server) as connection:
            [(found,)] = connection.execute(explain.encode(), statement.values)
        plan = json.loads(found) if isinstance(found, str) else found
        return plan[0]["Plan"]


def _is_scan_of_sqlite(line: str) -> bool:
    read = re.match(r"(?:SCAN|SEARCH) (\w+)", line)
    return bool(read) and read[1] in HISTORY and not _keys(line)


def _keys(condition: str) -> set[str]:
    """Return the columns that must equal something, besides the table that all have in common."""
    return set(re.findall(r"(\w+)(?:=\?| = )", condition)) - {"table_name"}


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield node
    for part in node.get("Plans", ()):
        yield from _nodes(part)


def _condition(node: Mapping[str, Any]) -> str:
    return str(node.get("Index Cond") or node.get("Recheck Cond") or "")


def _rows_read(node: Mapping[str, Any]) -> int:
    if "Relation Name" not in node:
        return 0
    left = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    return node["Actual Loops"] * (node["Actual Rows"] + sum(node.get(name, 0) for name in left))
