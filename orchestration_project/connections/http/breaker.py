"""Stop asking a system that keeps failing, in all processes at once.

pybreaker was tried and left: it holds its lock for the whole call, so that threads queue up behind
one request; it takes an interrupted call for a failed or a successful one; and when the time is up
it lets every process try at once. One row and three statements do without these.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from orchestration_project.connections.http.shared_state import SharedState
from orchestration_project.errors import TransientError

SCHEMA = """
CREATE TABLE IF NOT EXISTS breaker (      -- no row: the last request succeeded
  id INTEGER PRIMARY KEY CHECK (id = 1),
  failure_count INTEGER NOT NULL,         -- in a row
  last_failure TEXT NOT NULL,             -- without secrets
  opened_at TEXT,                         -- UTC; NULL: too few failures to open
  retry_at TEXT                           -- UTC; the next request that may try
)"""


@dataclass(frozen=True)
class Admission:
    """That a request may be made.

    Attributes:
        is_news: Whether its success is news: others failed.
        probe_until: Of the one request that tries an open breaker: until when no other one may.
    """

    is_news: bool
    probe_until: str | None = None


class Breaker:
    """Opens after ``failures`` failed requests in a row, for ``open_seconds`` at a time.

    When that time is up, one request of one process may try. If it succeeds, the breaker closes;
    if it fails, or its process dies, the breaker stays open for as long again. A probe that ends
    without a result (interrupted, refused by a quota, certificate not trusted) lets the next try.
    """

    def __init__(
        self, path: Path, *, failures: int, open_seconds: float, now: Callable[[], datetime]
    ) -> None:
        self._state = SharedState(path, schema=SCHEMA)
        self._failures = failures
        self._open_for = timedelta(seconds=open_seconds)
        self._now = now

    def admit(self, *, system: str, url: str) -> Admission:
        """Return if a request may be made.

        Raises:
            TransientError: The breaker is open; says since when, why, and until when.
        """
        failed = self._state.row("SELECT retry_at FROM breaker")
        if failed is None or failed[0] is None:  # at the price of a read, without the lock
            return Admission(is_news=failed is not None)
        with self._state.writing() as connection:
            now = self._now()
            (count, failure, opened_at, retry_at) = connection.execute(
                "SELECT failure_count, last_failure, opened_at, retry_at FROM breaker"
            ).fetchone() or (0, "", None, None)
            # A time further away than we ever set comes from a clock that was set back.
            if retry_at and now < datetime.fromisoformat(retry_at) <= now + self._open_for:
                raise TransientError(
                    f"{system} is not asked, because it failed {count} requests in a row",
                    found=f"open since {opened_at}; the last failure: {failure}",
                    remedy=f"it is tried again from {retry_at}; see whether it is up",
                    retry_in_seconds=(datetime.fromisoformat(retry_at) - now).total_seconds(),
                    system=system,
                    url=url,
                )
            probe_until = self._retry_at(now)
            connection.execute("UPDATE breaker SET retry_at = ?", (probe_until,))
        return Admission(is_news=True, probe_until=probe_until)

    def give_up(self, admission: Admission) -> None:
        """Let the next request try: the one admitted ended, and nothing is known of the system."""
        if admission.probe_until is None:
            return
        with self._state.writing() as connection:
            connection.execute(
                "UPDATE breaker SET retry_at = ? WHERE retry_at = ?",
                (self._now().isoformat(), admission.probe_until),
            )

    def succeeded(self) -> None:
        """Close the breaker: the system answered."""
        with self._state.writing() as connection:
            connection.execute("DELETE FROM breaker")

    def failed(self, failure: str) -> float:
        """Count a request whose attempts all failed; return for how many seconds none is made.

        ``failure`` holds no secrets.
        """
        with self._state.writing() as connection:
            now = self._now()
            connection.execute(
                "INSERT INTO breaker (id, failure_count, last_failure) VALUES (1, 1, :failure) "
                "ON CONFLICT DO UPDATE SET failure_count = failure_count + 1, "
                "last_failure = :failure",
                {"failure": failure},
            )
            connection.execute(
                "UPDATE breaker SET opened_at = coalesce(opened_at, ?), retry_at = ? "
                "WHERE failure_count >= ?",
                (now.isoformat(), self._retry_at(now), self._failures),
            )
            found = connection.execute("SELECT 1 FROM breaker WHERE retry_at IS NOT NULL")
            is_open = found.fetchone() is not None
        return self._open_for.total_seconds() if is_open else 0

    def close(self) -> None:
        """Close the file; the state stays."""
        self._state.close()

    def _retry_at(self, now: datetime) -> str:
        return (now + self._open_for).isoformat()
