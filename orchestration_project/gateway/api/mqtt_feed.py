"""A table that grows, read once for all streams of this process, and sent as server-sent events."""

import asyncio
import logging
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from orchestration_project.errors import OrchestrationError
from orchestration_project.gateway.api.feeds import HEADERS, SharedFeed
from orchestration_project.gateway.api.logs import LONGEST_SECONDS, SSE
from orchestration_project.gateway.api.problems import ProblemError

LOG = logging.getLogger(__name__)

POLL_SECONDS = 0.25


class Entry(NamedTuple):
    """An entry of a feed.

    Attributes:
        number: Its number; later entries have higher ones.
        topic: What streams select it by.
        event: The server-sent event, encoded.
    """

    number: int
    topic: str
    event: bytes


class FeedPage(NamedTuple):
    """Entries in their order.

    Attributes:
        last: Number up to which the feed was read; it may be above that of the last entry.
        is_more: Whether there are more entries now.
    """

    entries: Sequence[Entry]
    last: int
    is_more: bool


@dataclass
class Feed(SharedFeed):
    """Entries of a growing table; one task reads it while a stream follows.

    Attributes:
        read: Returns the entries after a number, up to a size; it is called in a thread.
        last: Returns the number of the last entry now; it is called in a thread.
        in_thread: Calls a function in a thread.
    """

    read: Callable[[int], FeedPage]
    last: Callable[[], int]
    in_thread: Callable[..., Awaitable[Any]]
    poll_seconds: float = POLL_SECONDS
    _kept: list[Entry] = field(default_factory=list)
    _kept_bytes: int = 0
    _after: int = 0
    _end: int = 0

    def _drop_all(self) -> None:
        self._kept, self._kept_bytes = [], 0

    async def start(self) -> int:
        """Begin to read unless that is done; return the number of the last entry now."""
        last = await self.in_thread(self.last)
        if self._is_to_be_read:
            self._after = self._end = last
            self._begin_to_read()
        return last

    async def entries_after(self, number: int) -> FeedPage:
        """Return the next entries after ``number``; of those that are not kept, a read of its own.

        Raises:
            OrchestrationError: The database cannot be read.
            TimeoutError: The read took too long.
        """
        self._raise_defect()
        if number < self._after:
            return await self.in_thread(self.read, number)
        first = bisect_right(self._kept, number, key=lambda each: each.number)
        size, place = 0, first
        while place < len(self._kept) and (place == first or size < self.limits.sent_bytes):
            size += len(self._kept[place].event)
            place += 1
        is_more = place < len(self._kept)
        last = self._kept[place - 1].number if is_more else max(number, self._end)
        return FeedPage(self._kept[first:place], last, is_more)

    async def wait(self, number: int, seconds: float) -> None:
        """Wait until there is an entry after ``number``, at most so long."""
        await self._wait_unless(lambda: self._end > number, seconds)

    async def _poll(self) -> None:
        is_failing = False
        while True:
            try:
                page = await self.in_thread(self.read, self._end)
            except (OrchestrationError, TimeoutError) as error:
                if not is_failing:
                    LOG.warning(
                        "a feed of events cannot be read: %s", error, extra={"event": "feed_failed"}
                    )
                is_failing = True
                await asyncio.sleep(self.limits.failure_seconds)
                continue
            is_failing = False
            self._keep(page)
            if not page.is_more:
                await asyncio.sleep(self.poll_seconds)

    def _keep(self, page: FeedPage) -> None:
        if page.last == self._end:
            return
        self._kept += page.entries
        self._kept_bytes += sum(len(each.event) for each in page.entries)
        self._end = page.last
        dropped = 0
        while self._kept_bytes > self.limits.kept_bytes:
            self._kept_bytes -= len(self._kept[dropped].event)
            self._after = self._kept[dropped].number
            dropped += 1
        del self._kept[:dropped]
        self._announce()


class FeedResponse(StreamingResponse):
    """Entries of a feed that a stream selects, until its reader may no more, or leaves.

    Args:
        feed: The feed.
        after: Number after which it begins; None: with what comes from now.
        selects: Whether an entry of a topic is sent.
        still_known: Whether the reader may still read; it is asked every ``recheck_seconds``.
        recheck_seconds: Interval of that.
        heartbeat_seconds: Silence after which a comment is sent.
    """

    def __init__(
        self,
        feed: Feed,
        *,
        after: int | None,
        selects: Callable[[str], bool],
        still_known: Callable[[], Awaitable[bool]],
        recheck_seconds: float,
        heartbeat_seconds: float,
    ) -> None:
        super().__init__(self._events(), 200, HEADERS, SSE)
        self._feed = feed
        self._last = after
        self._selects = selects
        self._still_known = still_known
        self._recheck_seconds = recheck_seconds
        self._heartbeat_seconds = heartbeat_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a slow reader makes it wait, and what it waits for is not kept."""
        try:
            with self._feed.followed():
                now = await self._feed.start()
                self._last = now if self._last is None else self._last
                await super().__call__(scope, receive, send)
        except ProblemError as error:  # raised before anything is sent
            await error.response()(scope, receive, send)

    async def _events(self) -> AsyncIterator[bytes]:
        number = self._last or 0
        end = time.monotonic() + LONGEST_SECONDS
        checked = sent = time.monotonic()
        yield b"id: %d\n: open\n\n" % number
        while (now := time.monotonic()) < end:
            if now - checked >= self._recheck_seconds:
                checked = now
                if not await self._still_known():
                    return
            try:
                page = await self._feed.entries_after(number)
            except (OrchestrationError, TimeoutError):
                await asyncio.sleep(self._feed.limits.failure_seconds)
                continue
            number = page.last
            chosen = [each.event for each in page.entries if self._selects(each.topic)]
            if chosen:
                yield b"".join(chosen)
                sent = time.monotonic()
            elif now - sent >= self._heartbeat_seconds:
                # A reader resumes here, and is not given again what it left out.
                yield b"id: %d\n: still here\n\n" % number
                sent = time.monotonic()
            if not page.is_more:
                left = self._recheck_seconds - (time.monotonic() - checked)
                await self._feed.wait(number, max(0.01, min(left, self._heartbeat_seconds)))
