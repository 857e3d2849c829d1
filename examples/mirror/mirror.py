"""A copy of a table in a DuckDB file, kept in step by the change feed of the gateway.

    python mirror.py TABLE FILE [--wait SECONDS]

GATEWAY_URL and GATEWAY_KEY name the gateway and the key of a viewer. Changes and the cursor after
them are stored in one transaction: a program that was killed goes on where the copy is, and applies
no change twice.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, islice

import duckdb

from orchestration_project.client import Client
from orchestration_project.engine.contracts.api.models import TableChange

BATCH_CHANGES = 1000
"""Changes of a transaction."""

IS_REMOVED = "_is_removed"
"""Column of the changed rows, beside those of the table."""


class Mirror:
    """Copy of a table, which has the name of the table.

    Args:
        client: Asks the gateway.
        database: Has the copy.
        table: A table with history.
    """

    def __init__(self, client: Client, database: duckdb.DuckDBPyConnection, table: str) -> None:
        self._client = client
        self._database = database
        self._table = table
        self._key: Sequence[str] = ()
        self._types: dict[str, str] = {}
        database.execute("CREATE TABLE IF NOT EXISTS cursors (name TEXT PRIMARY KEY, cursor TEXT)")
        self._add_columns()

    def update(self) -> int:
        """Apply all changes since the last one that was applied; return how many."""
        cursor = self._database.execute(
            "SELECT cursor FROM cursors WHERE name = ?", [self._table]
        ).fetchone()
        changes = self._client.changes(self._table, after=cursor[0] if cursor else None)
        count = 0
        while batch := list(islice(changes, BATCH_CHANGES)):
            self._apply(batch)
            count += len(batch)
        return count

    def _add_columns(self) -> None:
        """Make the copy, or the columns that the table has now and the copy lacks."""
        [described] = [one for one in self._client.tables() if one.name == self._table]
        self._key = [column.name for column in described.columns if column.is_key]
        self._types = {
            column.name: "TIMESTAMPTZ" if column.type == "DATETIME" else column.type
            for column in described.columns
        }
        columns = [f"{quoted(name)} {kind}" for name, kind in self._types.items()]
        self._database.execute(
            f"CREATE TABLE IF NOT EXISTS {quoted(self._table)} ({', '.join(columns)})"
        )
        for column in columns:
            self._database.execute(
                f"ALTER TABLE {quoted(self._table)} ADD COLUMN IF NOT EXISTS {column}"
            )

    def _apply(self, batch: Sequence[TableChange]) -> None:
        """Apply changes in their order, and store the cursor of the last one with them."""
        if any(name not in self._types for change in batch for name in change.row or ()):
            self._add_columns()
        with transaction(self._database):
            for is_reset, changes in groupby(batch, key=lambda change: change.row is None):
                if is_reset:
                    for change in changes:
                        self._delete_partition(change.partition)
                else:
                    self._write(list(changes))
            values = [self._table, batch[-1].cursor]
            self._database.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", values)

    def _delete_partition(self, partition: Mapping[str, object]) -> None:
        """Delete the rows of a partition; one without columns is the whole table."""
        conditions, values = ["TRUE"], list[object]()
        for name, value in partition.items():
            some = value if isinstance(value, list) else [value]  # a list: one of its values
            conditions.append(f"{quoted(name)} IN ({', '.join('?' * len(some))})")
            values += some
        self._database.execute(
            f"DELETE FROM {quoted(self._table)} WHERE {' AND '.join(conditions)}", values
        )

    def _write(self, changes: Sequence[TableChange]) -> None:
        """Replace the rows of changed keys; a row may be there already, or be gone."""
        last = {
            tuple(change.row[name] for name in self._key): {
                **change.row,
                IS_REMOVED: change.change == "removed",
            }
            for change in changes
            if change.row is not None
        }
        types = json.dumps([{**self._types, IS_REMOVED: "BOOLEAN"}])
        is_same = " AND ".join(f"old.{quoted(name)} = new.{quoted(name)}" for name in self._key)
        names = ", ".join(map(quoted, self._types))
        self._database.execute(
            "CREATE OR REPLACE TEMP TABLE changed AS "
            "SELECT unnest(from_json(?, ?), recursive := true)",
            [json.dumps(list(last.values())), types],
        )
        self._database.execute(
            f"DELETE FROM {quoted(self._table)} AS old USING changed AS new WHERE {is_same}"
        )
        self._database.execute(
            f"INSERT INTO {quoted(self._table)} ({names}) "
            f"SELECT {names} FROM changed WHERE NOT {IS_REMOVED}"
        )


def quoted(name: str) -> str:
    """Return a name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


@contextmanager
def transaction(database: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit what the block did, or nothing of it."""
    database.begin()
    try:
        yield
    except BaseException:
        database.rollback()
        raise
    database.commit()


def main() -> None:
    """Bring the copy up to date, once or again and again."""
    parser = argparse.ArgumentParser(description="Keep a copy of a table in a DuckDB file.")
    parser.add_argument("table", help="a table with history")
    parser.add_argument("file", help="the DuckDB file, which is made")
    parser.add_argument("--wait", type=float, help="seconds between two updates; default: only one")
    given = parser.parse_args()
    url = os.environ.get("GATEWAY_URL", "http://127.0.0.1:3000")
    with (
        Client(url, os.environ["GATEWAY_KEY"]) as client,
        duckdb.connect(given.file) as database,
    ):
        mirror = Mirror(client, database, given.table)
        while True:
            print(f"{given.table}: {mirror.update()} changes", flush=True)
            if given.wait is None:
                return
            time.sleep(given.wait)


if __name__ == "__main__":
    main()
