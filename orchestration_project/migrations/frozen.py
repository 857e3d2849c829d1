"""Tables and views as data, as a version keeps them whatever is declared later.

The declarations in `tables/` change with the project; a version that was written does not. So
nothing here imports them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

TYPES: Mapping[str, TypeEngine[Any]] = {
    "text": sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql"),
    "date": sa.Date(),
    "bigint": sa.BigInteger(),
    "boolean": sa.Boolean(),
    "double": sa.Double(),
    "timestamp": sa.DateTime().with_variant(
        postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql"
    ),
}
"""Each type of a column, on each database."""


@dataclass(frozen=True)
class Column:
    """A column; ``type`` is a name in `TYPES`, ``default`` an SQL expression."""

    name: str
    type: str
    comment: str
    key: bool = False
    optional: bool = False
    default: str | None = None

    def built(self) -> sa.Column[Any]:
        """Return SQLAlchemy's column."""
        return sa.Column(
            self.name,
            TYPES[self.type],
            nullable=self.optional,
            comment=self.comment,
            server_default=None if self.default is None else sa.text(escaped(self.default)),
            autoincrement=False,
        )


@dataclass(frozen=True)
class Index:
    """An index, over columns in this order."""

    name: str
    columns: Sequence[str]
    unique: bool = False


@dataclass(frozen=True)
class Table:
    """A table; on SQLite it is clustered by its key."""

    name: str
    comment: str
    columns: Sequence[Column]
    indexes: Sequence[Index] = ()

    @property
    def key(self) -> list[str]:
        """The names of the key's columns."""
        return [column.name for column in self.columns if column.key]


@dataclass(frozen=True)
class View:
    """A view: the comments of its columns, and what it selects (on SQLite, if that differs)."""

    name: str
    comment: str
    columns: Mapping[str, str]
    sql: str
    sqlite_sql: str | None = None

    def select_on(self, dialect: str) -> str:
        """Return its select in the SQL of ``dialect``."""
        sql = self.sqlite_sql if dialect == "sqlite" and self.sqlite_sql else self.sql
        return sql.strip()


Schema = dict[str, Table | View]
"""Every table and view, by name."""


def escaped(sql: str) -> str:
    """Return SQL whose colons SQLAlchemy's `text` takes for no parameters."""
    return sql.replace(":", r"\:")
