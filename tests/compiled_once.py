"""Dialects whose engines share what they compile: each test opens databases of its own.

SQLAlchemy compiles a statement once for each engine, which took a tenth of all tests' time.
"""

from typing import Any

from sqlalchemy import Engine
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

COMPILED: LRUCache[Any, Any] = LRUCache(2000)
"""Statements of all engines, by dialect, statement and columns."""


class _Shared:
    """Equal to each other dialect of the class that speaks to a server of the same version."""

    supports_statement_cache = True
    server_version_info: Any = None

    @classmethod
    def engine_created(cls, engine: Engine) -> None:
        engine.update_execution_options(compiled_cache=COMPILED)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.server_version_info == getattr(
            other, "server_version_info", None
        )

    def __hash__(self) -> int:
        return hash(type(self))


class SharedSqlite(_Shared, SQLiteDialect_pysqlite):
    """SQLite by Python's own driver."""

    supports_statement_cache = True


class SharedPostgresql(_Shared, PGDialect_psycopg):
    """PostgreSQL by psycopg."""

    supports_statement_cache = True


def share_compiled() -> None:
    """Have the engines of this process use them."""
    for name in ("sqlite", "sqlite.pysqlite"):
        registry.register(name, __name__, SharedSqlite.__name__)
    registry.register("postgresql.psycopg", __name__, SharedPostgresql.__name__)
