"""Feeds of server-sent events: limits, headers, and one task that reads for all streams."""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from orchestration_project.gateway.api.problems import ProblemError
from orchestration_project.gateway.request import CURRENT

HEADERS = {
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",  # nginx would keep entries until it has many
}


@dataclass(frozen=True)
class FeedLimits:
    """Limits of a feed.

    Attributes:
        streams: Streams at once.
        user_streams: Streams at once of one user, so that no user takes all of them.
        kept_bytes: Size of the entries that are kept for all streams; a stream that is behind reads
            by itself.
        sent_bytes: Size of the entries of a table that a stream takes at once, at least one.
        sent_lines: Number of log lines that a stream takes at once.
        failure_seconds: Wait after a read that failed.
    """

    streams: int = 32
    user_streams: int = 24
    kept_bytes: int = 4 * 2**20
    sent_bytes: int = 256 * 2**10
    sent_lines: int = 500
    failure_seconds: float = 1.0


@dataclass
class SharedFeed(ABC):
    """A feed that one task reads while a stream follows.

    Attributes:
        limits: Its limits.
        stream_count: Streams that follow.
    """

    limits: FeedLimits = field(default_factory=FeedLimits, kw_only=True)
    stream_count: int = field(default=0, init=False)
    _user_streams: Counter[str] = field(default_factory=Counter[str], init=False)
    _news: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _reading: "asyncio.Task[None] | None" = field(default=None, init=False)

    @abstractmethod
    async def _poll(self) -> None:
        """Read without end, keep what is new, and announce it."""

    @abstractmethod
    def _drop_all(self) -> None:
        """Forget all entries: no stream is left."""

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Count a stream while it lasts.

        Raises:
            ProblemError: 503, more streams than the limits allow, or more of the user.
        """
        caller = CURRENT.get()
        user = caller.name if caller else ""
        most, most_of_user = self.limits.streams, self.limits.user_streams
        if self._user_streams[user] >= most_of_user or self.stream_count >= most:
            raise ProblemError(
                503,
                "too many streams at once",
                headers={"retry-after": "30"},
                expected=f"at most {most} streams, {most_of_user} of one user",
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
                self._drop_all()

    @property
    def _is_to_be_read(self) -> bool:
        """Whether a stream follows, and no task reads."""
        return bool(self.stream_count) and (self._reading is None or self._reading.done())

    def _begin_to_read(self) -> None:
        self._reading = asyncio.create_task(self._poll())

    def _raise_defect(self) -> None:
        """Raise what ended the reading, so that it ends the streams, too."""
        if self._reading is not None and self._reading.done():
            self._reading.result()

    def _announce(self) -> None:
        """Wake the streams that wait."""
        self._news.set()
        self._news = asyncio.Event()

    async def _wait_unless(self, is_there: Callable[[], bool], seconds: float) -> None:
        """Wait until something is announced, at most so long, unless it is there already."""
        if is_there():
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
