"""Tables that projects declare, recorded in the database: programs of other folders know them, too.

Clean-up, erasure, backup and copies go over all tables that a process knows. A table that they do
not know would lose the captures that its rows were read from, or would be left out of a backup.
"""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Double,
    Index,
    MetaData,
    Table,
)
from sqlalchemy.types import TypeEngine

from orchestration_project.tables.schema import (
    ASSET,
    BYTEWISE_TEXT,
    COPY_OF,
    HISTORY,
    INTERNAL,
    METADATA,
    OWN,
    RECORDED,
    Quantity,
    UtcTimestamp,
    table,
)

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
    copied = declared.info.get(COPY_OF)
    return json.dumps(described | ({"copy_of": copied} if copied else {}), sort_keys=True)


def declare_described(name: str, text: str, metadata: MetaData = METADATA) -> Table:
    """Declare the table that a record describes."""
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
    declared = table(name, described["comment"], *columns, metadata=metadata)
    declared.info |= {OWN: True, RECORDED: text}
    if copied := described.get("copy_of"):
        declared.info |= {COPY_OF: copied, INTERNAL: True}
    if described["asset"]:
        declared.info[ASSET] = described["asset"]
    for index, names in described["indexes"].items():
        Index(index, *(declared.columns[each] for each in names))
    return declared
