"""All tables of one database into another, by batches, and held equal to the original."""

import hashlib
from collections.abc import Iterable, Iterator

import polars as pl
from sqlalchemy import Connection, Table, delete, select

from orchestration_project.engine.contracts.chain import hash_content
from orchestration_project.engine.warehouse.frames import insert_frame, read_batches
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.tables.catalogue import tables
from orchestration_project.tables.schema import key_names
from orchestration_project.tables.spine import database_labels

HASHED_ROWS = 8_192
"""So many rows are hashed together."""


def copy_tables(original: Connection, copy: Connection, *, shown_url: str) -> dict[str, int]:
    """Copy every table, compare what arrived, and return the number of rows of each.

    Both connections are in a transaction: one state is read, and it arrives whole or not at all.

    Raises:
        ConfigurationError: There are rows in the tables of ``copy``.
        ContractError: What arrived is not what was read.
    """
    _refuse_rows(copy, shown_url)
    copy.execute(delete(database_labels))
    return {table.name: _copy_table(original, copy, table) for table in tables()}


def _refuse_rows(copy: Connection, shown_url: str) -> None:
    filled = [
        table.name
        for table in tables()
        if table is not database_labels and copy.execute(select(table).limit(1)).first()
    ]
    if filled:
        raise ConfigurationError(
            "the database to copy to is not empty",
            expected="no rows in our tables",
            found=f"rows in {', '.join(filled)} of {shown_url}",
            remedy="name an empty database; this one was left as it is",
        )


def _copy_table(original: Connection, copy: Connection, table: Table) -> int:
    in_key_order = select(table).order_by(*(table.c[name] for name in key_names(table)))
    read, arrived = _Digest(), _Digest()
    for batch in read.seen(read_batches(original, in_key_order, table)):
        insert_frame(copy, table, batch)
    for _ in arrived.seen(read_batches(copy, in_key_order, table)):
        pass
    if str(arrived) != str(read):
        raise ContractError(
            f"the copy of {table.name} is not what was read",
            expected=str(read),
            found=str(arrived),
            remedy="nothing was kept; report it, with the versions of both databases",
        )
    return read.row_count


class _Digest:
    """Counts rows and hashes them as they pass, in pieces of as many rows for every database.

    Each database reads batches of its own size, and the hash of rows depends on where they are cut.
    """

    def __init__(self) -> None:
        self.row_count = 0
        self._sha256 = hashlib.sha256()

    def seen(self, batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Pass on the batches."""
        frame: pl.DataFrame | None = None
        for batch in batches:
            self.row_count += len(batch)
            frame = batch if frame is None else pl.concat([frame, batch])
            while len(frame) >= HASHED_ROWS:
                self._add(frame[:HASHED_ROWS])
                frame = frame[HASHED_ROWS:]
            yield batch
        if frame is not None:
            self._add(frame)

    def _add(self, rows: pl.DataFrame) -> None:
        self._sha256.update(hash_content(rows).encode())

    def __str__(self) -> str:
        return f"{self.row_count} rows, SHA-256 {self._sha256.hexdigest()}"
