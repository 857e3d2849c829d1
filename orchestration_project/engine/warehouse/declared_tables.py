"""Tables that projects declare, recorded in the database: programs of other folders know them, too.

Clean-up, erasure, backup and copies go over all tables that a process knows. A table that they do
not know would lose the captures that its rows were read from, or would be left out of a backup.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    Double,
    Index,
    Table,
    delete,
    insert,
    select,
)
from sqlalchemy.types import TypeEngine

from orchestration_project.connections.clock import Clock
from orchestration_project.tables.schema import (
    ASSET,
    BYTEWISE_TEXT,
    HISTORY,
    METADATA,
    OWN,
    RECORDED,
    Quantity,
    UtcTimestamp,
    table,
)
from orchestration_project.tables.spine import declared_tables

TYPES: Mapping[str, TypeEngine[Any]] = {
    "text": BYTEWISE_TEXT,
    "integer": BigInteger(),
    "decimal": Quantity(),
    "date": Date(),
    "boolean": Boolean(),
    "timestamp": UtcTimestamp(),
    "double": Double(),
}
"""The types that columns of declared tables have, by the word that a record has."""

WORDS: Mapping[type, str] = {type(column_type): word for word, column_type in TYPES.items()}

_recorded = declared_tables.c


def own_tables() -> Sequence[Table]:
    """Return the tables that the project of this process declares, those of histories included."""
    return [each for each in METADATA.tables.values() if each.info.get(OWN) and not _is_read(each)]


def packaged_tables() -> Mapping[str, Table]:
    """Return the tables that the package declares, by name."""
    return {name: each for name, each in METADATA.tables.items() if not each.info.get(OWN)}


def _is_read(table: Table) -> bool:
    return bool(table.info.get(RECORDED))


def describe(declared: Table) -> str:
    """Return a declared table as the JSON that is recorded."""
    history = declared.info.get(HISTORY)
    described = {
        "comment": declared.comment,
        "asset": declared.info.get(ASSET),
        "history": None if history is None else history.name,
        "columns": [
            {
                "name": column.name,
                "key": column.key,
                "type": WORDS[type(column.type)],
                "comment": column.comment,
                "is_in_key": column.primary_key,
                "is_optional": column.nullable,
                "info": dict(column.info),
            }
            for column in declared.columns
        ],
        "indexes": {
            str(index.name): [column.name for column in index.columns] for index in declared.indexes
        },
    }
    return json.dumps(described, sort_keys=True)


def is_recorded(connection: Connection) -> bool:
    """Whether the tables that the project declares are recorded as they are declared."""
    own = {each.name: describe(each) for each in own_tables()}
    if not own:
        return True
    statement = select(_recorded.table_name, _recorded.declaration)
    rows = connection.execute(statement.where(_recorded.table_name.in_(own)))
    return {row.table_name: row.declaration for row in rows} == own


def record_own_tables(connection: Connection, clock: Clock) -> None:
    """Record the tables that the project declares; ``connection`` is in a write transaction."""
    own = own_tables()
    if not own:
        return
    names = [each.name for each in own]
    connection.execute(delete(declared_tables).where(_recorded.table_name.in_(names)))
    rows = [
        {"table_name": each.name, "declaration": describe(each), "recorded_at": clock.now()}
        for each in own
    ]
    connection.execute(insert(declared_tables), rows)


def declare_recorded(connection: Connection) -> None:
    """Declare the tables that other projects recorded in this database.

    A table that this process declares itself stays as it is. Recorded tables of a database that
    was open before are forgotten, as this one does not have them.
    """
    rows = {
        row.table_name: row.declaration
        for row in connection.execute(select(_recorded.table_name, _recorded.declaration))
    }
    for each in list(METADATA.tables.values()):
        if _is_read(each) and each.info[RECORDED] != rows.get(each.name):
            METADATA.remove(each)
    missing = {name: text for name, text in rows.items() if name not in METADATA.tables}
    made = {name: _declare(name, text) for name, text in missing.items()}
    for name, declared in made.items():
        history = METADATA.tables.get(json.loads(rows[name])["history"] or "")
        if history is not None:
            declared.info[HISTORY] = history


def _declare(name: str, text: str) -> Table:
    described = json.loads(text)
    columns = [
        Column(
            column["name"],
            TYPES[column["type"]],
            key=column["key"],
            primary_key=column["is_in_key"],
            nullable=column["is_optional"],
            comment=column["comment"],
            autoincrement=False,
            info=column["info"],
        )
        for column in described["columns"]
    ]
    declared = table(name, described["comment"], *columns)
    declared.info |= {OWN: True, RECORDED: text}
    if described["asset"]:
        declared.info[ASSET] = described["asset"]
    for index, names in described["indexes"].items():
        Index(index, *(declared.columns[each] for each in names))
    return declared
