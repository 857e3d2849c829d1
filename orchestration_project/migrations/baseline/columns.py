"""Columns that several tables have, and tables of earlier states of rows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from orchestration_project.migrations.frozen import Column, Index, Table

# fmt: off
LOADED = [
    Column("capture_id", "bigint", "Capture that the row was read from"),
    Column("known_from", "timestamp", "UTC time from which the row is valid (system time)"),
]
"""Last columns of a table with history."""

DERIVED = [
    Column("published_at", "timestamp", "Latest last_update_date of the inputs, at 00:00", optional=True),
    Column("known_from", "timestamp", "UTC time of the latest load of the inputs", optional=True),
    Column("is_stale", "boolean", "Whether an input changed since; until it is derived again", optional=True),
]
"""Last columns of a table that is derived from others."""

REPLACED = [
    Column("known_to", "timestamp", "UTC time at which the row was replaced or removed (system time)"),
    Column("change_cause", "text", "Cause: source (other values), metadata (other dates only) or ours (new rules)"),
    Column("rule_version", "text", "Version of the rules that produced the next row"),
]
"""Columns of a history that its table lacks."""
# fmt: on


@dataclass(frozen=True)
class History:
    """The history of the table ``of``: its columns, with known_from in the key, and others."""

    of: str
    added: Sequence[Column] = ()
    indexes: Sequence[Index] = ()

    def derive(self, table: Table) -> Table:
        """Return the history of this table."""
        columns = [
            replace(column, key=column.key or column.name == "known_from")
            for column in table.columns
        ]
        return Table(
            f"{self.of}_history",
            f"One row per earlier state of a row of {self.of}, valid from known_from to known_to.",
            [*columns, *REPLACED, *self.added],
            self.indexes,
        )


def derive_histories(entries: Iterable[Table | History]) -> Iterator[Table]:
    """Yield the tables; a history follows its table."""
    tables = dict[str, Table]()
    for entry in entries:
        table = entry.derive(tables[entry.of]) if isinstance(entry, History) else entry
        tables[table.name] = table
        yield table
