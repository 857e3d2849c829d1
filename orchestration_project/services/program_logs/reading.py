"""Log lines of this host's programs, read from their files: the newest first, or as they come."""

import heapq
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from orchestration_project.engine.connections.log_files import (
    StoredLine,
    find_end,
    list_services,
    read_after,
    read_before,
)
from orchestration_project.engine.contracts.log_lines import LogFilter, decode_line

MAX_SEARCHED_BYTES = 64 * 2**20
"""Bytes that one search reads; the next page goes on from there."""

CLOCK_TOLERANCE = timedelta(hours=1)
"""A search from a time ends at a line that is so much older: a clock may have been set back."""


class FoundLine(NamedTuple):
    """A line that was read: its service, position, and fields."""

    service: str
    position: int
    end: int
    fields: dict[str, Any]

    @property
    def time(self) -> str:
        """Its time, ISO 8601 in UTC."""
        return str(self.fields.get("time", ""))


class LogResults(NamedTuple):
    """A page of a search, the newest line first.

    Attributes:
        lines: Lines.
        before: Positions before which the next page goes on; None: this is the last page.
    """

    lines: list[FoundLine]
    before: Mapping[str, int] | None


class _BudgetSpentError(Exception):
    """A search has read the bytes that it may read."""


class _Search:
    """A search of the lines that a filter selects, from positions backwards.

    Attributes:
        positions: Positions before which the search goes on, by service.
    """

    def __init__(
        self, folder: Path, wanted: LogFilter, positions: Mapping[str, int], max_bytes: int
    ) -> None:
        self._folder = folder
        self._filter = wanted
        since = wanted.since and datetime.fromisoformat(wanted.since) - CLOCK_TOLERANCE
        self._oldest = since.isoformat() if since else ""
        self._bytes_left = max_bytes
        self.positions = dict(positions)

    def select_lines(self) -> Iterator[FoundLine]:
        """Yield the lines of all services, the newest first.

        Raises:
            _BudgetSpentError: There may be more.
        """
        services = [name for name in self.positions if self._filter.service in ("", name)]
        lines = [self._select_service(name) for name in services]
        for line in heapq.merge(*lines, key=lambda line: line.time, reverse=True):
            self.positions[line.service] = line.position
            yield line

    def _select_service(self, service: str) -> Iterator[FoundLine]:
        """Yield the lines of a service; one that is not taken keeps its position."""
        for line in read_before(self._folder / service, self.positions[service]):
            if self._bytes_left <= 0:
                raise _BudgetSpentError
            self._bytes_left -= len(line.text) + 1
            fields = decode_line(line.text) if self._filter.may_match(line.text) else None
            if fields is not None:
                if str(fields.get("time", "")) < self._oldest:
                    break
                if self._filter.matches(fields):
                    yield FoundLine(service, line.position, line.end, fields)
            self.positions[service] = line.position
        self.positions[service] = 0


def search_lines(
    folder: Path,
    wanted: LogFilter,
    *,
    limit: int,
    before: Mapping[str, int] | None = None,
    max_bytes: int = MAX_SEARCHED_BYTES,
) -> LogResults:
    """Return the newest lines that a filter selects; a page may be short before the last one.

    Args:
        folder: Folder of all services.
        wanted: The filter.
        limit: Maximum number of lines.
        before: Positions of the previous page; None: from the newest line.
        max_bytes: Number of bytes that are read at most.
    """
    search = _Search(folder, wanted, find_ends(folder) if before is None else before, max_bytes)
    found_lines: list[FoundLine] = []
    try:
        for line in search.select_lines():
            found_lines.append(line)
            if len(found_lines) == limit:
                return LogResults(found_lines, search.positions)
    except _BudgetSpentError:
        return LogResults(found_lines, search.positions)
    return LogResults(found_lines, None)


class NewLines(NamedTuple):
    """Lines of all services after some positions.

    Attributes:
        lines: Lines by time; those of a service in their order.
        positions: Positions up to which all was read.
        is_more: Whether there are more lines now.
    """

    lines: list[FoundLine]
    positions: dict[str, int]
    is_more: bool


def read_new_lines(folder: Path, positions: Mapping[str, int]) -> NewLines:
    """Return the lines after some positions; a service without one is read from its start.

    Args:
        folder: Folder of all services.
        positions: Positions by service.
    """
    after, pages, is_more = dict(positions), list[list[FoundLine]](), False
    for name in list_services(folder):
        page = read_after(folder / name, positions.get(name, 0))
        if page.end == positions.get(name, 0):
            continue
        after[name] = page.end
        is_more = is_more or find_end(folder / name) > page.end
        pages.append(list(_decode_lines(name, page.lines)))
    return NewLines(list(heapq.merge(*pages, key=lambda line: line.time)), after, is_more)


def _decode_lines(service: str, lines: list[StoredLine]) -> Iterator[FoundLine]:
    for line in lines:
        fields = decode_line(line.text)
        if fields is not None:
            yield FoundLine(service, line.position, line.end, fields)


def find_ends(folder: Path) -> dict[str, int]:
    """Return the positions after the newest lines, by service."""
    return {name: find_end(folder / name) for name in list_services(folder)}
