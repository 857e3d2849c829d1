"""At most so many requests in any second, over all threads and processes."""

import threading
import time
from pathlib import Path
from typing import cast

from pyrate_limiter import Decision, Rate, RateItem, SQLiteBucket
from pyrate_limiter.buckets.sqlite_bucket import Queries

from orchestration_project.connections.http.state import SharedState

# The source counts when a request arrives, we when it leaves. A request that is late by less than
# the margin cannot fall into a second together with those that were let through after it.
MARGIN_MS = 100
WINDOW_MS = 1000 + MARGIN_MS

TABLE = "requests"


class RateLimiter:
    """Let ``requests_per_second`` requests through in any second, and have the rest wait.

    pyrate-limiter's bucket counts and then inserts, so two processes could both take the last
    place. Its own file lock polls every 50 ms, and its `Limiter` gives a request that waited the
    time at which it should have woken up. Here each decision is one transaction that holds the
    file, at the time when it is made.
    """

    def __init__(self, path: Path, *, requests_per_second: int) -> None:
        self._state = SharedState(path, schema=Queries.CREATE_BUCKET_TABLE.format(table=TABLE))
        rate = Rate(requests_per_second, WINDOW_MS)
        self._bucket = SQLiteBucket([rate], self._state.connection, TABLE)
        self._turnstile = threading.Lock()

    def wait(self) -> None:
        """Return when a request may leave."""
        # One thread of each process asks and sleeps; the others stand behind it, off the file.
        with self._turnstile:
            while wait_ms := self._ask():
                time.sleep(wait_ms / 1000)

    def close(self) -> None:
        """Close the file."""
        self._state.close()

    def _ask(self) -> int:
        """Take a place and return 0, or return the milliseconds until one may be free."""
        with self._state.writing() as connection:
            now = self._bucket.now()
            # Beside the past, forget a future that a clock set back has left: it would block us.
            connection.execute(
                f"DELETE FROM {TABLE} WHERE item_timestamp NOT BETWEEN ? AND ?",  # noqa: S608 - ours
                (now - WINDOW_MS, now + WINDOW_MS),
            )
            # Only pyrate-limiter's asynchronous buckets answer with an awaitable.
            decision = cast(Decision, self._bucket.put_decision(RateItem(TABLE, now)))
        return decision.retry_after_ms or 0
