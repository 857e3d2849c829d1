"""Amendments of chains: changes by erasure, retention, new columns and new names, recorded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Table, or_, select, update

from orchestration_project.engine.contracts.chain import RENAME, RENAMED_FROM, SCHEMA
from orchestration_project.engine.warehouse.chain_checking import (
    DELIVERED,
    ChainChecking,
    list_chained_tables,
    read_chain_names,
)
from orchestration_project.engine.warehouse.chaining import (
    ChainTail,
    Draft,
    find_chain_key,
    read_chain,
)
from orchestration_project.engine.warehouse.frames import iterate_chunks
from orchestration_project.tables.catalogue import tables
from orchestration_project.tables.spine import captures, deliveries, load_chain


@contextmanager
def record_amendments(
    connection: Connection,
    kind: str,
    reason: str,
    at: datetime,
    partitions: Mapping[Table, Sequence[str]] | None = None,
) -> Iterator[None]:
    """Record the changes of an erasure or a retention in the chains of the tables that it reaches.

    A record that fitted before, and does not fit after the changes, gets an amendment with the
    hashes of what is left; its salt is deleted. One that did not fit before stays a finding.

    Args:
        connection: The transaction of the changes; without a key of the chain nothing is recorded.
        kind: erasure or retention.
        reason: ID of the request, or the rule.
        at: Time of the changes.
        partitions: Partition keys that the changes reach, by table; None: any.
    """
    key = find_chain_key(connection)
    if key is None:
        yield
        return
    chained = list_chained_tables(connection)
    reached = {
        table: None if partitions is None else partitions[table]
        for table in chained
        if partitions is None or table in partitions
    }
    trusted = frozenset({key.public_key})
    before = {
        table: ChainChecking(connection, table, trusted).misfits(keys)
        for table, keys in reached.items()
    }
    yield
    for table, keys in reached.items():
        checking = ChainChecking(connection, table, trusted)
        numbers = sorted(checking.misfits(keys) - before[table])
        drafts = [checking.amendment(number, kind, reason) for number in numbers]
        for some in iterate_chunks(numbers):
            is_amended = or_(load_chain.c.number.in_(some), load_chain.c.amends.in_(some))
            pair = (load_chain.c.table_name == table.name, is_amended)
            connection.execute(update(load_chain).where(*pair).values(salt=None))
        if drafts:
            ChainTail(connection, table, key, at).append(drafts)


def record_column_change(
    connection: Connection, table: Table, copy: Table, reason: str, at: datetime
) -> None:
    """Record the change of a table's columns in its chain; without a key nothing is recorded.

    Each record of a load that fitted the rows before gets an amendment with the hashes of the same
    rows as they are now. Its salt stays: the copy can be compared with it.

    Args:
        connection: The transaction of the change.
        table: The changed table.
        copy: Copy of its rows before, with its history.
        reason: The change.
        at: Time of the change.
    """
    key = find_chain_key(connection)
    if key is None or table.name not in read_chain_names(connection):
        return
    trusted = frozenset({key.public_key})
    is_load = (load_chain.c.table_name == table.name, load_chain.c.kind.in_(DELIVERED))
    partitions = select(load_chain.c.partition_key).where(*is_load).distinct()
    keys = sorted(connection.scalars(partitions))
    misfits = ChainChecking(connection, table, trusted, copy).misfits(keys)
    checking = ChainChecking(connection, table, trusted)
    numbers = [record.number for record in read_chain(connection, table.name, *is_load)]
    drafts = [checking.amendment(one, SCHEMA, reason) for one in numbers if one not in misfits]
    ChainTail(connection, table, key, at).append(drafts)


def record_table_rename(
    connection: Connection,
    table: Table,
    before: Table,
    rename: Callable[[], None],
    at: datetime,
) -> None:
    """Record the new name of a table in its chain; without a key nothing is recorded.

    A record of kind rename says which name the records before it were signed with. Each record of a
    load that fitted before gets an amendment: recorded deliveries, captures and rejects have the
    name, and so other hashes. Its salt stays, and the hashes of the table's rows do, too.

    Args:
        connection: The transaction, in which the rows lie in ``table`` already.
        table: The table by its new name.
        before: The table by its old name, of which records are.
        rename: Gives the records of loads the new name.
        at: Time of the change.
    """
    key = find_chain_key(connection)
    if key is None or before.name not in read_chain_names(connection):
        rename()
        return
    is_load = load_chain.c.kind.in_(DELIVERED)
    condition = load_chain.c.table_name == before.name
    keys = sorted(connection.scalars(select(load_chain.c.partition_key).where(condition, is_load)))
    trusted = frozenset({key.public_key})
    misfits = ChainChecking(connection, before, trusted, table).misfits(list(dict.fromkeys(keys)))
    rename()
    checking = ChainChecking(connection, table, trusted)
    numbers = [record.number for record in read_chain(connection, table.name, is_load)]
    reason = f"rename table {before.name} to {table.name}"
    drafts = [checking.amendment(one, SCHEMA, reason) for one in numbers if one not in misfits]
    named = Draft(RENAME, fields={RENAMED_FROM: before.name})
    ChainTail(connection, table, key, at).append([named, *drafts])


def find_capture_partitions(
    connection: Connection, condition: ColumnElement[bool]
) -> dict[Table, list[str]]:
    """Return the partition keys of the deliveries that have some captures, by loaded table."""
    pair = (deliveries.c.table_name, deliveries.c.partition_key)
    has_capture = select(captures.c.group_id).where(condition)
    names: dict[str, list[str]] = {}
    statement = select(*pair).where(deliveries.c.group_id.in_(has_capture)).distinct()
    for name, partition_key in connection.execute(statement):
        names.setdefault(name, []).append(partition_key)
    return {table: names[table.name] for table in tables() if table.name in names}
