"""New log lines of this host's programs, read once for all streams of this process."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from orchestration_project.domains.api.program_logs import LogLine
from orchestration_project.domains.operations.log_lines import LogFilter, write_positions
from orchestration_project.gateway.api.feeds import HEADERS, SharedFeed
from orchestration_project.gateway.api.logs import LONGEST_SECONDS, SSE
from orchestration_project.gateway.api.problems import ProblemError
from orchestration_project.services.program_logs.reading import (
    FoundLine,
    NewLines,
    ends_of,
    read_new_lines,
)

LOG = logging.getLogger(__name__)

POLL_SECONDS = 0.5


class LogEntry(NamedTuple):
    """A line of the feed.

    Attributes:
        line: The line.
        data: The line as JSON.
        positions: Positions after it, of all services.
        event: The server-sent event with these positions as its ID, encoded.
    """

    line: FoundLine
    data: str
    positions: Mapping[str, int]
    event: bytes


def entries_of(found: NewLines, positions: Mapping[str, int]) -> list[LogEntry]:
    """Return the entries of lines that were read after ``positions``."""
    entries: list[LogEntry] = []
    for line in found.lines:
        positions = {**positions, line.service: line.end}
        model = LogLine.model_validate({**line.fields, "position": line.position})
        data = json.dumps(model.model_dump())
        entries.append(LogEntry(line, data, positions, event_of(data, positions)))
    return entries


def event_of(data: str, positions: Mapping[str, int]) -> bytes:
    """Return the server-sent event of a line."""
    return f"id: {write_positions(positions)}\nevent: line\ndata: {data}\n\n".encode()


@dataclass
class LogFeed(SharedFeed):
    """New lines below a folder; one task reads them while a stream follows.

    Attributes:
        folder: Folder of all services.
        in_thread: Calls a function in a thread.
        after: Positions before the lines that are kept.
        positions: Positions up to which it has read.
    """

    folder: Path
    in_thread: Callable[..., Awaitable[Any]]
    poll_seconds: float = POLL_SECONDS
    after: Mapping[str, int] = field(default_factory=dict)
    positions: Mapping[str, int] = field(default_factory=dict)
    _first: int = 0
    _kept: list[LogEntry] = field(default_factory=list)
    _kept_bytes: int = 0

    def _drop_all(self) -> None:
        self._forget(len(self._kept))

    async def start(self) -> None:
        """Begin to read unless that is done."""
        if self._is_to_be_read:
            now = await self.in_thread(ends_of, self.folder)
            if self._is_to_be_read:
                self._drop_all()
                self.after = self.positions = now
                self._begin_to_read()

    @property
    def end(self) -> int:
        """Number of the entry after the last one."""
        return self._first + len(self._kept)

    def entries(self, number: int) -> Sequence[LogEntry] | None:
        """Return the entries from a number on; None: the first of them is not kept any more."""
        self._raise_defect()
        start = number - self._first
        return self._kept[start : start + self.limits.sent_lines] if start >= 0 else None

    def has_kept_after(self, positions: Mapping[str, int]) -> int | None:
        """Return the number of the first entry if all lines after positions are kept."""
        is_behind = any(positions.get(name, 0) < at for name, at in self.after.items())
        return None if is_behind else self._first

    async def wait(self, number: int, seconds: float) -> None:
        """Wait until there is an entry of that number, at most so long."""
        await self._wait_unless(lambda: self.end > number, seconds)

    async def _poll(self) -> None:
        is_failing = False
        while True:
            try:
                found: NewLines = await self.in_thread(read_new_lines, self.folder, self.positions)
            except OSError as error:
                if not is_failing:
                    LOG.warning(
                        "log lines cannot be read: %s", error, extra={"event": "log_feed_failed"}
                    )
                is_failing = True
                await asyncio.sleep(self.limits.failure_seconds)
                continue
            is_failing = False
            if found.positions != self.positions:
                self._keep(await self.in_thread(entries_of, found, self.positions))
                self.positions = found.positions
            if not found.is_more:
                await asyncio.sleep(self.poll_seconds)

    def _keep(self, entries: Sequence[LogEntry]) -> None:
        self._kept += entries
        self._kept_bytes += sum(len(each.event) for each in entries)
        size, count = self._kept_bytes, 0
        while size > self.limits.kept_bytes:
            size -= len(self._kept[count].event)
            count += 1
        self._forget(count)
        self._announce()

    def _forget(self, count: int) -> None:
        if count:
            self.after = self._kept[count - 1].positions
            self._kept_bytes -= sum(len(each.event) for each in self._kept[:count])
            self._first += count
            del self._kept[:count]


class LogStream(StreamingResponse):
    """Lines that a filter selects, until their reader may read no more, or leaves.

    Args:
        feed: The feed.
        after: Positions after which it begins; None: with what comes from now.
        wanted: The filter.
        still_known: Whether the reader may still read; it is asked every ``recheck_seconds``.
        recheck_seconds: Interval of that.
        heartbeat_seconds: Silence after which a comment is sent.
    """

    def __init__(
        self,
        feed: LogFeed,
        *,
        after: Mapping[str, int] | None,
        wanted: LogFilter,
        still_known: Callable[[], Awaitable[bool]],
        recheck_seconds: float,
        heartbeat_seconds: float,
    ) -> None:
        super().__init__(self._events(), 200, HEADERS, SSE)
        self._feed = feed
        self._is_from_now = after is None
        self._positions = dict(after or {})
        self._number: int | None = None
        self._wanted = wanted
        self._still_known = still_known
        self._recheck_seconds = recheck_seconds
        self._heartbeat_seconds = heartbeat_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a slow reader makes it wait, and what it waits for is not kept."""
        try:
            with self._feed.followed():
                await self._feed.start()
                await super().__call__(scope, receive, send)
        except ProblemError as error:  # raised before anything is sent
            await error.response()(scope, receive, send)

    async def _events(self) -> AsyncIterator[bytes]:
        self._begin()
        end = time.monotonic() + LONGEST_SECONDS
        checked = sent = time.monotonic()
        yield self._comment(b"open")
        while (now := time.monotonic()) < end:
            if now - checked >= self._recheck_seconds:
                checked = now
                if not await self._still_known():
                    return
            entries, is_more = await self._next()
            if chosen := self._chosen(entries):
                yield chosen
                sent = time.monotonic()
            elif now - sent >= self._heartbeat_seconds:
                yield self._comment(b"still here")
                sent = time.monotonic()
            if not is_more and self._number is not None:
                left = self._recheck_seconds - (time.monotonic() - checked)
                seconds = max(0.01, min(left, self._heartbeat_seconds))
                await self._feed.wait(self._number, seconds)

    def _begin(self) -> None:
        if self._is_from_now:
            self._positions, self._number = dict(self._feed.positions), self._feed.end
        for name, at in self._positions.items():  # beyond its end: the log began again
            self._positions[name] = min(at, self._feed.positions.get(name, 0))

    async def _next(self) -> tuple[Sequence[LogEntry], bool]:
        """Return the next entries, of the feed or read by itself, and whether there are more."""
        positions = self._positions
        kept = None if self._number is None else self._feed.entries(self._number)
        if kept is None:
            self._number = self._feed.has_kept_after(positions)
            if self._number is not None:
                return (), True
            end = self._feed.end
            try:
                found: NewLines = await self._feed.in_thread(
                    read_new_lines, self._feed.folder, positions
                )
            except OSError:
                await asyncio.sleep(self._feed.limits.failure_seconds)
                return (), False
            entries = await self._feed.in_thread(entries_of, found, positions)
            if not entries:
                if found.positions == positions:  # the feed had read more, of a log deleted since
                    self._number = end
                self._positions = dict(found.positions)
            return entries, True
        self._number = (self._number or 0) + len(kept)
        return kept, self._number < self._feed.end

    def _chosen(self, entries: Sequence[LogEntry]) -> bytes:
        """Return the events of entries that are selected and were not sent."""
        positions, chosen = self._positions, list[bytes]()
        for entry in entries:
            line = entry.line
            if line.end <= positions.get(line.service, 0):
                continue
            positions[line.service] = line.end
            if self._wanted.matches(line.fields):
                is_same = positions == entry.positions
                chosen.append(entry.event if is_same else event_of(entry.data, positions))
        return b"".join(chosen)

    def _comment(self, text: bytes) -> bytes:
        return b"id: %b\n: %b\n\n" % (write_positions(self._positions).encode(), text)
