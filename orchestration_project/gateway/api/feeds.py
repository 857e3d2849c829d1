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

FAILURE_SECONDS = 1.0
"""Wait after a read that failed."""

MAX_STREAMS = 32
"""Streams of a feed at once."""

MAX_USER_STREAMS = 24
"""Streams of a feed at once that one user may have, so that no user takes all of them."""

MAX_KEPT_BYTES = 4 * 2**20
"""Size of the entries that are kept for all streams; a stream that is behind reads by itself."""


@dataclass
class SharedFeed(ABC):
    """A feed that one task reads while a stream follows.

    Attributes:
        stream_count: Streams that follow.
    """

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
            ProblemError: 503, there are MAX_STREAMS, or MAX_USER_STREAMS of the user.
        """
        caller = CURRENT.get()
        user = caller.name if caller else ""
        is_user_full = self._user_streams[user] >= MAX_USER_STREAMS
        if is_user_full or self.stream_count >= MAX_STREAMS:
            raise ProblemError(
                503,
                "too many streams at once",
                headers={"retry-after": "30"},
                expected=f"at most {MAX_STREAMS} streams, {MAX_USER_STREAMS} of one user",
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
