"""A database that we have no path of our own for: SQLite under another name.

Nothing in the project takes it for SQLite; it is opened by ``another:///path``.
"""

from alembic.ddl.sqlite import SQLiteImpl
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite


class Another(SQLiteDialect_pysqlite):
    """A database that Alembic knows."""

    name = "another"
    supports_statement_cache = True


class Unknown(Another):
    """A database that Alembic does not know."""

    name = "unknown"
    supports_statement_cache = True


class AnotherImpl(SQLiteImpl):
    """Makes tables in it; Alembic finds it by the name."""

    __dialect__ = "another"


for dialect in (Another, Unknown):
    registry.register(dialect.name, __name__, dialect.__name__)
