"""Erasure in Dagster's own storage, where that is in PostgreSQL."""

from collections.abc import Mapping, Sequence

import dagster as dg
import sqlalchemy as sa

from orchestration_project.engine.dagster_private.storage import connect_to_storage
from orchestration_project.services.erasure.rules import Subject
from orchestration_project.tables.catalogue import METADATA


def erase_in_dagster(
    instance: dg.DagsterInstance, subject: Subject, *, is_dry_run: bool
) -> Mapping[str, int]:
    """Mask the identifiers in all texts of Dagster's tables; return the number of rows by table.

    Nothing is done where the storage is in SQLite: its files are below STATE_DIR.
    """
    connecting = connect_to_storage(instance)
    if connecting is None or not subject.searched:
        return {}
    counts: dict[str, int] = {}
    with connecting as connection:
        if connection.dialect.name != "postgresql":
            return {}
        meta_data = sa.MetaData()
        meta_data.reflect(connection)
        for table in meta_data.sorted_tables:
            if table.name not in METADATA.tables:
                counts[table.name] = _mask_table(connection, table, subject, is_dry_run=is_dry_run)
    return {name: count for name, count in counts.items() if count}


def rewrite_in_dagster(instance: dg.DagsterInstance, names: Sequence[str] | None) -> None:
    """Rewrite Dagster's tables in PostgreSQL, so that their files hold nothing of old rows.

    Args:
        instance: Dagster's.
        names: The tables; None: all of them.
    """
    connecting = connect_to_storage(instance)
    if connecting is None:
        return
    with connecting as connection:
        if connection.dialect.name == "postgresql":
            for name in sa.inspect(connection).get_table_names() if names is None else names:
                if name not in METADATA.tables:
                    connection.execute(sa.text(f'VACUUM (FULL, ANALYZE) "{name}"'))


def _mask_table(
    connection: sa.Connection, table: sa.Table, subject: Subject, *, is_dry_run: bool
) -> int:
    texts = [column for column in table.columns if isinstance(column.type, sa.String)]
    keys = list(table.primary_key.columns) or list(table.columns)
    if not texts:
        return 0
    lowered = [sa.func.lower(column) for column in texts]
    wanted_condition = sa.or_(
        *(
            function.contains(text, autoescape=True)
            for function in lowered
            for text in subject.searched
        )
    )
    count = 0
    for row in connection.execute(sa.select(table).where(wanted_condition)).mappings().all():
        new = {
            column.name: masked
            for column in texts
            if (value := row[column.name]) is not None and (masked := subject.mask(value)) != value
        }
        if new and not is_dry_run:
            condition = sa.and_(*(column.is_not_distinct_from(row[column.name]) for column in keys))
            connection.execute(sa.update(table).where(condition).values(new))
        count += bool(new)
    return count
