"""Marks that people put on entries: ignored until a time, or acknowledged."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import clean_text
from orchestration_project.services.attention.rules import (
    Entry,
    Mark,
    require_end,
    require_reason,
)
from orchestration_project.tables.operations_edits import operations_attention as table


class Marks:
    """The marks of an installation.

    Args:
        warehouse: Has them.
        clock: Default: the real time, also where a demo's clock is set.
    """

    def __init__(self, warehouse: Warehouse, clock: Clock | None = None) -> None:
        self._warehouse = warehouse
        self._clock = clock or Clock()

    def read(self) -> Mapping[str, Mark]:
        """Return the latest mark of each entry that has one, by id."""
        with self._warehouse.reading() as connection:
            rows = connection.execute(select(table)).mappings().all()
        return {row["entry_id"]: _mark(row) for row in rows}

    def ignore(self, entry: Entry, reason: str, until: datetime | None, *, by: str) -> Mark:
        """Hide an entry until a time, or until its unit has failed again.

        Raises:
            ConfigurationError: The reason is missing or too long, or the end is not a later time.
        """
        text = require_reason("ignore", reason)
        end = require_end("ignore", until, self._clock.now())
        return self._write(
            Mark(entry.entry_id, "ignored", entry.since, text, by, self._clock.now(), end)
        )

    def acknowledge(self, entry: Entry, reason: str, *, by: str) -> Mark:
        """Record that somebody works on an entry; it stays listed.

        Raises:
            ConfigurationError: The reason is missing or too long.
        """
        text = require_reason("acknowledge", reason)
        return self._write(
            Mark(entry.entry_id, "acknowledged", entry.since, text, by, self._clock.now())
        )

    def remove(self, entry: Entry) -> None:
        """Remove the mark of an entry."""
        with self._warehouse.writing() as connection:
            connection.execute(delete(table).where(table.c.entry_id == entry.entry_id))

    def _write(self, mark: Mark) -> Mark:
        values = {
            "entry_id": mark.entry_id,
            "state": mark.state,
            "since": mark.since,
            "until": mark.until,
            "reason": clean_text(mark.reason),
            "marked_by": clean_text(mark.marked_by),
            "marked_at": mark.marked_at,
        }
        with self._warehouse.writing() as connection:
            lock_row(connection, table.name)
            connection.execute(delete(table).where(table.c.entry_id == mark.entry_id))
            connection.execute(insert(table).values(values))
        return mark


def _mark(row: Any) -> Mark:
    return Mark(
        entry_id=row["entry_id"],
        state=row["state"],
        since=row["since"],
        reason=row["reason"],
        marked_by=row["marked_by"],
        marked_at=row["marked_at"],
        until=row["until"],
    )
