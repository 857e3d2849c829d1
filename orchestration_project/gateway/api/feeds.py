"""Feeds of server-sent events: a growing source is read once for all streams."""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from orchestration_project.errors import ContractError, OrchestrationError
from orchestration_project.gateway.api.problems import ProblemError
from orchestration_project.gateway.request import CURRENT

LOG = logging.getLogger(__name__)

SSE = "text/event-stream"

HEADERS = {
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",  # nginx would keep entries until it has many
}

READ_ERRORS = (OSError, OrchestrationError)
"""Errors of a read that another one may not have; a TimeoutError is an OSError."""

CursorT = TypeVar("CursorT")


@dataclass(frozen=True)
class FeedLimits:
    """Limits of a feed.

    Attributes:
        streams: Streams at once.
        user_streams: Streams at once of one user, so that no user takes all of them.
        kept_bytes: Size of the entries that are kept for all streams; a stream that is behind reads
            by itself.
        sent_bytes: Size of the entries that a stream takes at once, at least one.
        failure_seconds: Wait after a read that failed.
        longest_seconds: Maximum duration of a stream; a client resumes from its last event.
    """

    streams: int = 32
    user_streams: int = 24
    kept_bytes: int = 4 * 2**20
    sent_bytes: int = 256 * 2**10
    failure_seconds: float = 1.0
    longest_seconds: float = 3600.0


class Entry(NamedTuple, Generic[CursorT]):
    """An entry of a feed.

    Attributes:
        cursor: Cursor after it.
        subject: What streams select it by.
        data: Its JSON.
        event: The server-sent event with ``cursor`` as its ID.
    """

    cursor: CursorT
    subject: Any
    data: str
    event: bytes


class FeedPage(NamedTuple, Generic[CursorT]):
    """Entries in their order.

    Attributes:
        last: Cursor up to which all was read; it may be above that of the last entry.
        is_more: Whether there are more entries now.
        closing: Event after all entries of a source that has ended; empty: more may come.
    """

    entries: Sequence[Entry[CursorT]]
    last: CursorT
    is_more: bool
    closing: bytes = b""


class FeedSource(ABC, Generic[CursorT]):
    """Growing source of entries; a cursor is a place in it.

    Attributes:
        event_type: Type of the server-sent events.
        poll_seconds: Wait after a read that found all.
    """

    event_type: str
    poll_seconds: float = 0.25

    @abstractmethod
    def read(self, after: CursorT) -> FeedPage[CursorT]:
        """Return the entries after a cursor, up to a size; called in a thread.

        Raises:
            OSError, OrchestrationError: It cannot be read now.
        """

    @abstractmethod
    def read_end(self) -> CursorT:
        """Return the cursor after all entries of now; called in a thread."""

    @abstractmethod
    def advance(self, cursor: CursorT, entry: Entry[CursorT]) -> CursorT | None:
        """Return the cursor of a stream after an entry; None: it had the entry before."""

    @abstractmethod
    def is_behind(self, cursor: CursorT, other: CursorT) -> bool:
        """Whether there may be entries after ``cursor`` and before ``other``."""

    def limit(self, cursor: CursorT, end: CursorT) -> CursorT:
        """Return the cursor at which a reader resumes that asks for ``cursor``."""
        del end
        return cursor

    def write_cursor(self, cursor: CursorT) -> str:
        """Return a cursor as the ID of an event."""
        return str(cursor)

    def write_event(self, data: str, cursor: CursorT) -> bytes:
        """Return the server-sent event of an entry."""
        number = self.write_cursor(cursor)
        return f"id: {number}\nevent: {self.event_type}\ndata: {data}\n\n".encode()


class NumberedSource(FeedSource[int]):
    """Source whose cursor is the number of an entry, which only grows."""

    def advance(self, cursor: int, entry: Entry[int]) -> int | None:
        """Return the number of an entry; None: it is not above the cursor."""
        return entry.cursor if entry.cursor > cursor else None

    def is_behind(self, cursor: int, other: int) -> bool:
        """Whether a number is below another."""
        return cursor < other

    @staticmethod
    def read_cursor(written: str | None) -> int | None:
        """Return the number of a header Last-Event-ID; None: there is none.

        Raises:
            ProblemError: 422, it is not a number.
        """
        if written is None:
            return None
        if not (written.isascii() and written.isdigit() and len(written) < 19):
            raise ProblemError(
                422,
                "invalid Last-Event-ID",
                expected="the ID of an event of this stream, e.g. 1200",
            )
        return int(written)


@dataclass
class Feed(Generic[CursorT]):
    """Entries of a source, which one task reads while a stream follows.

    Entries are numbered as they are read; the newest of them are kept for all streams.

    Attributes:
        source: The source.
        in_thread: Calls a function in a thread.
        limits: Its limits.
        after: Cursor before the entries that are kept; None: it was never read.
        cursor: Cursor up to which it has read; None: it was never read.
        closing: Event after the last entry of a source that has ended; empty: more may come.
        stream_count: Streams that follow.
    """

    source: FeedSource[CursorT]
    in_thread: Callable[..., Awaitable[Any]]
    limits: FeedLimits = field(default_factory=FeedLimits)
    after: CursorT | None = field(default=None, init=False)
    cursor: CursorT | None = field(default=None, init=False)
    closing: bytes = field(default=b"", init=False)
    stream_count: int = field(default=0, init=False)
    _first: int = field(default=0, init=False)
    _kept: list[Entry[CursorT]] = field(default_factory=list[Entry[CursorT]], init=False)
    _kept_bytes: int = field(default=0, init=False)
    _user_streams: Counter[str] = field(default_factory=Counter[str], init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _reading: "asyncio.Task[None] | None" = field(default=None, init=False)

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Count a stream while it lasts.

        Raises:
            ProblemError: 503, more streams than the limits allow, or more of the user.
        """
        caller = CURRENT.get()
        user = caller.name if caller else ""
        streams, most_of_user = self.limits.streams, self.limits.user_streams
        if self._user_streams[user] >= most_of_user or self.stream_count >= streams:
            raise ProblemError(
                503,
                "too many streams at once",
                headers={"retry-after": "30"},
                expected=f"at most {streams} streams, {most_of_user} of one user",
                remedy="close a stream, or try again later",
            )
        self.stream_count += 1
        self._user_streams[user] += 1
        try:
            yield
        finally:
            self.stream_count -= 1
            self._user_streams[user] -= 1
            if not self._user_streams[user]:
                del self._user_streams[user]
            if not self.stream_count and self._reading is not None:
                self._reading.cancel()
                self._reading = None
                self._forget(len(self._kept))

    async def start(self) -> None:
        """Begin to read unless that is done.

        Raises:
            OSError, OrchestrationError: The source cannot be read now.
        """
        if self._is_to_be_read:
            end = await self.in_thread(self.source.read_end)
            if self._is_to_be_read:
                self._forget(len(self._kept))
                self.after = self.cursor = end
                self.closing = b""
                self._reading = asyncio.create_task(self._poll())

    @property
    def _is_to_be_read(self) -> bool:
        """Whether a stream follows, and no task reads."""
        return bool(self.stream_count) and (self._reading is None or self._reading.done())

    @property
    def end(self) -> int:
        """Number of the entry after the last one."""
        return self._first + len(self._kept)

    def entries(self, number: int) -> Sequence[Entry[CursorT]] | None:
        """Return entries from a number on; None: the first of them is not kept any more."""
        self._raise_defect()
        start = number - self._first
        if start < 0:
            return None
        size, position = 0, start
        while position < len(self._kept) and (position == start or size < self.limits.sent_bytes):
            size += len(self._kept[position].event)
            position += 1
        return self._kept[start:position]

    def first_number_after(self, cursor: CursorT) -> int | None:
        """Return the number of the first kept entry; None: some after the cursor are not kept."""
        is_behind = self.after is not None and self.source.is_behind(cursor, self.after)
        return None if is_behind else self._first

    async def wait(self, number: int, seconds: float) -> None:
        """Wait until there is an entry of that number or none any more, at most so long."""
        if self.end > number or self.closing:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def _raise_defect(self) -> None:
        """Raise the error that ended the reading, so that it ends the streams, too."""
        if self._reading is not None and self._reading.done():
            self._reading.result()

    async def _poll(self) -> None:
        """Read until the source ends, keep what is new, and wake the streams that wait."""
        is_failing = False
        while True:
            try:
                page: FeedPage[CursorT] = await self.in_thread(self.source.read, self.cursor)
            except ContractError:  # a read that comes later finds the same rows
                raise
            except READ_ERRORS as error:
                if not is_failing:
                    LOG.warning(
                        "a feed of events cannot be read: %s", error, extra={"event": "feed_failed"}
                    )
                is_failing = True
                await asyncio.sleep(self.limits.failure_seconds)
                continue
            is_failing = False
            if page.last != self.cursor or page.closing:
                self._keep(page)
            if page.closing:
                return
            if not page.is_more:
                await asyncio.sleep(self.source.poll_seconds)

    def _keep(self, page: FeedPage[CursorT]) -> None:
        self.cursor, self.closing = page.last, page.closing
        self._kept += page.entries
        self._kept_bytes += sum(len(entry.event) for entry in page.entries)
        size, count = self._kept_bytes, 0
        while size > self.limits.kept_bytes:
            size -= len(self._kept[count].event)
            count += 1
        self._forget(count)
        self._news.set()
        self._news = asyncio.Event()

    def _forget(self, count: int) -> None:
        if count:
            self.after = self._kept[count - 1].cursor
            self._kept_bytes -= sum(len(entry.event) for entry in self._kept[:count])
            self._first += count
            del self._kept[:count]


class FeedResponse(StreamingResponse, Generic[CursorT]):
    """Entries of a feed that a stream selects, until it ends, or its reader leaves or may no more.

    Args:
        feed: The feed.
        after: Cursor after which it begins; None: with what comes from now.
        selects: Whether an entry of a subject is sent.
        still_known: Whether the reader may still read; it is asked every ``recheck_seconds``.
        recheck_seconds: Interval of that.
        heartbeat_seconds: Silence after which a comment is sent.
    """

    def __init__(
        self,
        feed: Feed[CursorT],
        *,
        after: CursorT | None,
        selects: Callable[[Any], bool],
        still_known: Callable[[], Awaitable[bool]],
        recheck_seconds: float,
        heartbeat_seconds: float,
    ) -> None:
        super().__init__(self._events(), 200, HEADERS, SSE)
        self._feed = feed
        self._after = after
        self._selects = selects
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
        cursor, number = self._begin()
        end = time.monotonic() + self._feed.limits.longest_seconds
        checked = sent = time.monotonic()
        yield self._comment(cursor, "open")
        while (now := time.monotonic()) < end:
            if now - checked >= self._recheck_seconds:
                checked = now
                if not await self._still_known():
                    return
            cursor, number, chosen, is_more = await self._next(cursor, number)
            if chosen:
                yield chosen
                sent = time.monotonic()
            elif now - sent >= self._heartbeat_seconds:
                # A reader resumes here, and is not given again what it left out.
                yield self._comment(cursor, "still here")
                sent = time.monotonic()
            if not is_more and number is not None:
                if self._feed.closing and number == self._feed.end:
                    yield self._feed.closing
                    return
                left = self._recheck_seconds - (time.monotonic() - checked)
                await self._feed.wait(number, max(0.01, min(left, self._heartbeat_seconds)))

    def _begin(self) -> tuple[CursorT, int | None]:
        """Return the cursor of the stream, and the number of its next entry, if it is known."""
        if self._feed.cursor is None:
            raise AssertionError("a stream begins once its feed has started")
        if self._after is None:
            return self._feed.cursor, self._feed.end
        return self._feed.source.limit(self._after, self._feed.cursor), None

    async def _next(
        self, cursor: CursorT, number: int | None
    ) -> tuple[CursorT, int | None, bytes, bool]:
        """Return the cursor and number after the next entries, their events, and if there are more.

        Entries that are not kept are read from the source.
        """
        entries = None if number is None else self._feed.entries(number)
        if number is not None and entries is not None:
            cursor, chosen = self._choose(cursor, entries)
            number += len(entries)
            return cursor, number, chosen, number < self._feed.end
        number, end = self._feed.first_number_after(cursor), self._feed.end
        if number is not None:
            return cursor, number, b"", True
        try:
            page: FeedPage[CursorT] = await self._feed.in_thread(self._feed.source.read, cursor)
        except ContractError:
            raise
        except READ_ERRORS:
            await asyncio.sleep(self._feed.limits.failure_seconds)
            return cursor, None, b"", False
        if not page.entries:  # an equal cursor: the feed had read more, which was deleted since
            return page.last, end if page.last == cursor else None, b"", True
        cursor, chosen = self._choose(cursor, page.entries)
        return cursor, None, chosen, True

    def _choose(self, cursor: CursorT, entries: Sequence[Entry[CursorT]]) -> tuple[CursorT, bytes]:
        """Return the cursor after entries, and the events that are selected and new."""
        source, chosen = self._feed.source, list[bytes]()
        for entry in entries:
            following = source.advance(cursor, entry)
            if following is None:
                continue
            cursor = following
            if self._selects(entry.subject):
                is_same = cursor == entry.cursor
                chosen.append(entry.event if is_same else source.write_event(entry.data, cursor))
        return cursor, b"".join(chosen)

    def _comment(self, cursor: CursorT, text: str) -> bytes:
        return f"id: {self._feed.source.write_cursor(cursor)}\n: {text}\n\n".encode()
