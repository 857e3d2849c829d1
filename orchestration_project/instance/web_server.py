"""Dagster's storages in PostgreSQL: a server that is restarted is waited for, and reads end.

A web server's reads end after a time.
Dagster gives that limit to the session, which through a pooler would come to others with it: a load
would be ended after the seconds that a page may take.
"""

from typing import Any

from dagster_postgres.utils import create_pg_engine, set_pg_statement_timeout
from sqlalchemy import Engine, event

from orchestration_project.engine.warehouse.connecting import wait_for_restarts
from orchestration_project.engine.warehouse.remedies import is_pooled


class LimitedReads:
    """Put before a storage in PostgreSQL."""

    postgres_url: str
    _engine: Engine

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        wait_for_restarts(self._engine)

    def optimize_for_webserver(
        self, statement_timeout: int, pool_recycle: int, max_overflow: int
    ) -> None:
        """Keep a connection open; ``statement_timeout`` (milliseconds) counts without a pooler."""

        def limit(connection: Any, _: Any) -> None:
            if not is_pooled(connection):
                set_pg_statement_timeout(connection, statement_timeout)

        self._engine = create_pg_engine(
            self.postgres_url,
            isolation_level="AUTOCOMMIT",
            pool_size=1,
            pool_recycle=pool_recycle,
            max_overflow=max_overflow,
            pool_pre_ping=True,
        )
        wait_for_restarts(self._engine)
        event.listen(self._engine, "connect", limit)
