"""Log lines of this host's programs, read from their files: the newest first, or as they come."""

import heapq
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from orchestration_project.engine.connections.log_files import (
    StoredLine,
    end_of,
    read_after,
    read_before,
    services_of,
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


class _Budget:
    """Bytes that a search may read yet."""

    def __init__(self, byte_count: int) -> None:
        self.byte_count = byte_count


class _ServiceSearch:
    """The lines of a service that a filter selects, from a position backwards.

    Attributes:
        head: The newest line that is not taken; None: there is none, or the budget is spent.
        is_finished: Whether the older lines were all looked at.
    """

    def __init__(
        self, folder: Path, service: str, position: int, wanted: LogFilter, budget: _Budget
    ) -> None:
        self._service = service
        self._lines = read_before(folder / service, position)
        self._wanted = wanted
        self._budget = budget
        self._position = position
        self._oldest = _earlier(wanted.since)
        self.head: FoundLine | None = None
        self.is_finished = not position or wanted.service not in ("", service)
        self.advance()

    @property
    def position(self) -> int:
        """Position before which the search goes on."""
        return self.head.end if self.head else self._position

    def advance(self) -> None:
        """Find the next line."""
        self.head = None
        while not self.is_finished and self._budget.byte_count > 0:
            line = next(self._lines, None)
            if line is None:
                self.is_finished, self._position = True, 0
                return
            self._position = line.position
            self._budget.byte_count -= len(line.text) + 1
            fields = decode_line(line.text) if self._wanted.may_match(line.text) else None
            if fields is None:
                continue
            if self._oldest and str(fields.get("time", "")) < self._oldest:
                self.is_finished, self._position = True, 0
                return
            if self._wanted.matches(fields):
                self.head = FoundLine(self._service, line.position, line.end, fields)
                return


def _earlier(since: str) -> str:
    return (datetime.fromisoformat(since) - CLOCK_TOLERANCE).isoformat() if since else ""


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
    if before is None:
        before = {name: end_of(folder / name) for name in services_of(folder)}
    budget = _Budget(max_bytes)
    searches = {
        name: _ServiceSearch(folder, name, position, wanted, budget)
        for name, position in before.items()
    }
    found: list[FoundLine] = []
    while len(found) < limit and all(each.head or each.is_finished for each in searches.values()):
        heads = [each.head for each in searches.values() if each.head]
        if not heads:
            return LogResults(found, None)
        newest = max(heads, key=lambda head: head.time)
        found.append(newest)
        searches[newest.service].advance()
    return LogResults(found, {name: each.position for name, each in searches.items()})


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
    for name in services_of(folder):
        page = read_after(folder / name, positions.get(name, 0))
        if page.end == positions.get(name, 0):
            continue
        after[name] = page.end
        is_more = is_more or end_of(folder / name) > page.end
        pages.append(list(_decoded(name, page.lines)))
    return NewLines(list(heapq.merge(*pages, key=lambda line: line.time)), after, is_more)


def _decoded(service: str, lines: list[StoredLine]) -> Iterator[FoundLine]:
    for line in lines:
        fields = decode_line(line.text)
        if fields is not None:
            yield FoundLine(service, line.position, line.end, fields)


def ends_of(folder: Path) -> dict[str, int]:
    """Return the positions after the newest lines, by service."""
    return {name: end_of(folder / name) for name in services_of(folder)}
