"""Files that wait to be loaded, by the difference of two polls of their source."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple

FileState = Literal["seen", "stable", "loaded", "changed", "gone"]

SETTLED = ("stable", "loaded")
"""States of files that a poll changes only if they differ."""


class Listed(NamedTuple):
    """Size (bytes), change time and version of a file, as a poll found them."""

    byte_count: int
    modified_at: datetime
    file_version: str | None = None


ListedFile = tuple[str, int, datetime, str | None]
"""Path, size (bytes), change time (UTC, without a zone) and version of a file.

It is a plain tuple, and its time has no zone, as a poll compares 100,000 of them.
"""

KnownFile = tuple[str, int, datetime, FileState, str | None]
"""The same of a row of `documents_files` that is not gone, and its state."""


class Difference(NamedTuple):
    """Path at which a listing and the rows may differ.

    Attributes:
        path: The path.
        listed: What was listed; None: the row's file was not.
        is_late: Whether the listing is out of order here: a row may have counted as not listed.
    """

    path: str
    listed: Listed | None
    is_late: bool = False


def differences(listed: Iterable[ListedFile], known: Iterable[KnownFile]) -> Iterator[Difference]:
    """Yield where a poll differs from the rows, and files that are not known to be whole.

    Both are read once, side by side, so that neither is held. A listing that is out of order, as of
    a store without an order, gives more differences and no wrong ones.

    Args:
        listed: What a poll found, in the order of paths.
        known: Rows that are not gone, in the same order.
    """
    rows, last = iter(known), ""
    row = next(rows, None)
    for file in listed:
        path = file[0]
        while row is not None and row[0] < path:
            yield Difference(row[0], None)
            row = next(rows, None)
        if row is not None and row[0] == path:
            is_same = row[1] == file[1] and row[2] == file[2] and row[4] == file[3]
            if not is_same or row[3] not in SETTLED:
                yield Difference(path, _build_listed(file))
            row = next(rows, None)
        else:
            yield Difference(path, _build_listed(file), is_late=path <= last)
        if path > last:
            last = path
    while row is not None:
        yield Difference(row[0], None)
        row = next(rows, None)


def _build_listed(file: ListedFile) -> Listed:
    return Listed(file[1], file[2].replace(tzinfo=UTC), file[3])


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
    file_version: str | None = None

    @property
    def day(self) -> date:
        """The partition: the UTC day of its first sight."""
        return self.first_seen_at.astimezone(UTC).date()

    @property
    def version(self) -> str:
        """Names this state of the file; one that came back later has another."""
        times = (self.modified_at, self.unchanged_since)
        return "|".join([str(self.byte_count), *(time.isoformat() for time in times)])


def after_poll(
    rows: Iterable[FileRow],
    found: Mapping[str, Listed],
    *,
    now: datetime,
    stable: timedelta,
    started: datetime | None = None,
) -> Iterator[FileRow]:
    """Yield the rows that a poll adds or changes.

    A file waits to be loaded once polls at least ``stable`` apart found the same size, change time
    and version; with 0, the first poll is enough. A row that changed since this poll ``started`` is
    of a later poll, and stays.

    Args:
        rows: As they were before the poll.
        found: What it found, by path.
        now: When it ended.
        stable: How long a file has to stay the same.
        started: When it began; None: as ``now``.
    """
    started = started or now
    known_file_rows = {row.path: row for row in rows}
    is_later = {path for path, row in known_file_rows.items() if row.unchanged_since > started}
    for path, listed in found.items():
        if path in is_later:
            continue
        row = _update_row(known_file_rows.get(path), path, listed, now)
        is_whole = not stable or started - row.unchanged_since >= stable
        if row.state in ("seen", "changed") and is_whole:
            row = replace(row, state="stable")
        if row != known_file_rows.get(path):
            yield row
    for path in known_file_rows.keys() - found.keys() - is_later:
        if known_file_rows[path].state != "gone":
            yield replace(known_file_rows[path], state="gone")


def _update_row(row: FileRow | None, path: str, listed: Listed, now: datetime) -> FileRow:
    """Return the row of a listed file, with the size and the time that it has now."""
    if row is None:
        size, modified_at, file_version = listed
        return FileRow(path, size, modified_at, None, "seen", now, now, file_version)
    is_same = (row.byte_count, row.modified_at) == (listed.byte_count, listed.modified_at)
    if row.state != "gone" and is_same and row.file_version in (None, listed.file_version):
        return replace(row, file_version=listed.file_version)
    return replace(
        row,
        byte_count=listed.byte_count,
        modified_at=listed.modified_at,
        file_version=listed.file_version,
        state="seen" if row.document_id is None else "changed",
        unchanged_since=now,
    )
