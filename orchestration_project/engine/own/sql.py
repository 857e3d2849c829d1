"""The query of a derived table: one that only reads, and the tables that it reads."""

import logging
import re
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from orchestration_project.engine.own.reading import build_config_error
from orchestration_project.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlglot import exp

DIALECTS = {"sqlite": "sqlite", "postgresql": "postgres"}
"""Dialects of sqlglot by the name of a database."""

PLACE = re.compile(r" from (\d+):\d+")
"""Line up to which a text or name has no end, in an error of the tokenizer of sqlglot."""


def read_inputs(sql: str, database: str) -> Sequence[str]:
    """Return the names of the tables that a query reads, in their order.

    Names of common table expressions, aliases, subqueries and functions are none of them.

    Args:
        sql: The query.
        database: Name of the database in whose dialect it is written.

    Raises:
        ConfigurationError: It cannot be parsed, writes, or is more than one statement.
    """
    _import_parser()
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    tree = _parse(sql, database)
    sources = [
        source
        for scope in traverse_scope(tree)
        for source in scope.sources.values()
        if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier)
    ]
    for source in sources:
        if source.db:
            raise _build_error(
                source, "names of tables without a schema", f"{source.db}.{source.name}"
            )
    return sorted({_name_of(source.this) for source in sources})


def _import_parser() -> None:
    """Import sqlglot without its warning of an old extra, which dagster-dbt requires."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"sqlglot\[rs\] is deprecated")
        import_module("sqlglot.tokens")


def _name_of(identifier: "exp.Identifier") -> str:
    """Return a name as databases find it: without quotes, capitals do not matter."""
    return identifier.name if identifier.args.get("quoted") else identifier.name.lower()


def _parse(sql: str, database: str) -> "exp.Query":
    """Return the syntax of a query."""
    from sqlglot import exp, parse
    from sqlglot.errors import ParseError, TokenError

    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # what it takes for a command is refused
    try:
        parsed = parse(sql, dialect=DIALECTS.get(database))
    except ParseError as error:
        raise _convert_error(error, database) from None
    except TokenError as error:
        text = str(error.__context__ or error)
        match = PLACE.search(text)
        line = f"line {match[1]}: " if match else ""
        raise build_config_error(
            "SQL", f"a query of {database}", f"{line}{PLACE.sub('', text)}"
        ) from None
    statements = [expression for expression in parsed if expression is not None]
    if len(statements) != 1:
        raise build_config_error("SQL", "one query", f"{len(statements)} statements")
    [tree] = statements
    writing = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into, exp.Lock)
    wrong = next(tree.find_all(*writing), None)
    if wrong is not None or not isinstance(tree, exp.Query):
        node = wrong or tree
        raise _build_error(node, "a query that only reads, such as SELECT", node.key.upper())
    return tree


def _convert_error(error: Exception, database: str) -> ConfigurationError:
    [first, *_] = getattr(error, "errors", None) or [{}]
    text = str(first.get("description", error)).partition(" but got <Token")[0]
    highlight = str(first.get("highlight", ""))
    column = int(first.get("col", 0)) - max(len(highlight), 1) + 1
    place = f"line {first.get('line')}, column {column}"
    return build_config_error("SQL", f"a query of {database}", f"{place}, at {highlight!r}: {text}")


def _build_error(node: "exp.Expr", expected: str, found: str) -> ConfigurationError:
    places = [expression.meta for expression in node.walk() if "line" in expression.meta]
    at = f"line {places[0]['line']}: " if places else ""
    return build_config_error("SQL", expected, f"{at}{found}")
