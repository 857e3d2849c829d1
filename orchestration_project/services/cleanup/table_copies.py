"""Retention of copies of declared tables, which were made before their columns changed."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import Connection, Table, delete, exc, func, select
from sqlalchemy.schema import DropTable

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.connecting import find_sql_state
from orchestration_project.engine.warehouse.migrating import INSUFFICIENT_PRIVILEGE
from orchestration_project.services.cleanup.retention import ExpiredRows
from orchestration_project.tables.schema import COPY_OF, METADATA
from orchestration_project.tables.spine import declared_tables

COPY_DAYS = 90
"""Days after which a clean-up removes the copy of a table."""


class CopyRetention:
    """Copies of tables go after `COPY_DAYS`, with their histories."""

    kind = "copies of changed tables"

    def measure(self, connection: Connection, now: datetime) -> ExpiredRows:
        """Return the number of rows of old copies."""
        counts = [
            connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in _find_expired(connection, now)
        ]
        return ExpiredRows(sum(counts), 0)

    def unneeded_blobs(self, connection: Connection, now: datetime) -> set[str]:
        """Return none: captures that only an old copy needs go with the next clean-up."""
        return set()

    def remove(self, warehouse: Warehouse, now: datetime) -> ExpiredRows:
        """Drop old copies, and return how many rows they had.

        A role that may not drop a table deletes its rows.
        """
        with warehouse.writing() as connection:
            measured = self.measure(connection, now)
            for table in list(_find_expired(connection, now)):
                _drop(connection, table)
        return measured


def _drop(connection: Connection, table: Table) -> None:
    try:
        with connection.begin_nested():
            connection.execute(DropTable(table))
    except exc.DBAPIError as error:
        if find_sql_state(error.orig) != INSUFFICIENT_PRIVILEGE:
            raise
        connection.execute(delete(table))
        return
    is_it = declared_tables.c.table_name == table.name
    connection.execute(delete(declared_tables).where(is_it))
    METADATA.remove(table)


def _find_expired(connection: Connection, now: datetime) -> Iterator[Table]:
    """Yield the copies that were recorded long ago."""
    is_old = declared_tables.c.recorded_at < now - timedelta(days=COPY_DAYS)
    for name in connection.scalars(select(declared_tables.c.table_name).where(is_old)).all():
        table = METADATA.tables.get(name)
        if table is not None and table.info.get(COPY_OF):
            yield table
