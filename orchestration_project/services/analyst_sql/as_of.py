"""Tables as they were known at a moment, for a query that names them as if it were then."""

import re
from collections.abc import Mapping
from datetime import datetime

from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.catalogue import known_tables, relation_as_of

NAME = re.compile(r"(?P<qualifier>\.\s*\"?)?\b(?P<name>[a-z_][a-z0-9_]*)\b", re.IGNORECASE)
ESCAPED_NAME = re.compile(r"\bu&\"", re.IGNORECASE)


def select_as_of(
    query: str, as_of: datetime, literal: str, *, schema: str = ""
) -> Mapping[str, str]:
    """Return what each table that a query names held at a moment, as a query by its name.

    Args:
        query: A word in it that is called like a table counts as that table.
        as_of: The moment.
        literal: The moment in the SQL of the database.
        schema: What stands before the names of tables, such as ``main.``.

    Raises:
        ConfigurationError: A table has no history, is named with a schema, or by escapes: its
            present rows would stand beside those of the moment.
    """
    if ESCAPED_NAME.search(query):
        raise ConfigurationError(
            "a query as of a moment has a name with escapes", remedy="write it without"
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
