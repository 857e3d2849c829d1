"""Files that wait to be loaded, by the difference of two polls of a folder."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple

FileState = Literal["seen", "stable", "loaded", "changed", "gone"]


class Listed(NamedTuple):
    """Size (bytes) and change time of a file, as a poll found them."""

    byte_count: int
    modified_at: datetime


@dataclass(frozen=True)
class FileRow:
    """A row of `documents_files`."""

    path: str
    byte_count: int
    modified_at: datetime
    document_id: str | None
    state: FileState
    first_seen_at: datetime
    unchanged_since: datetime

    @property
    def day(self) -> date:
        """The partition: the UTC day of its first sight."""
        return self.first_seen_at.astimezone(UTC).date()

    @property
    def version(self) -> str:
        """Names this state of the file; one that came back later has another."""
        times = (self.modified_at, self.unchanged_since)
        return "|".join([str(self.byte_count), *(each.isoformat() for each in times)])


def after_poll(
    rows: Iterable[FileRow], found: Mapping[str, Listed], *, now: datetime, stable: timedelta
) -> Iterator[FileRow]:
    """Yield the rows that a poll adds or changes.

    A file waits to be loaded once polls at least ``stable`` apart found the same size and change
    time; with 0, the first poll is enough.

    Args:
        rows: As they were before the poll.
        found: What it found, by path.
        now: Its time.
        stable: How long a file has to stay the same.
    """
    known = {row.path: row for row in rows}
    for path, listed in found.items():
        row = known.get(path)
        if row is None:
            row = FileRow(path, *listed, None, "seen", now, now)
        elif row.state == "gone" or listed != (row.byte_count, row.modified_at):
            state: FileState = "seen" if row.document_id is None else "changed"
            row = replace(
                row,
                byte_count=listed.byte_count,
                modified_at=listed.modified_at,
                state=state,
                unchanged_since=now,
            )
        if row.state in ("seen", "changed") and now - row.unchanged_since >= stable:
            row = replace(row, state="stable")
        if row != known.get(path):
            yield row
    for path, row in known.items():
        if path not in found and row.state != "gone":
            yield replace(row, state="gone")
