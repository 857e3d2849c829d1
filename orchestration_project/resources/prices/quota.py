"""How many requests a vendor still grants today, held across all processes and their restarts."""

from collections.abc import Callable
from datetime import datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from orchestration_project.errors import TransientError
from orchestration_project.resources.http.state import SharedState

VENDOR_ZONE = ZoneInfo("America/New_York")
"""Where Alpha Vantage's day begins. It names no zone, and users report midnight in UTC or in New
York: the latter is the later of the two, so that what waits for it is early in neither."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS quota (
  vendor_day TEXT PRIMARY KEY,     -- ISO, in the vendor's zone
  request_count INTEGER NOT NULL,  -- requests that left, whatever came of them
  is_over INTEGER NOT NULL         -- 1: the vendor said so, whoever used it up
)"""


class QuotaEndedError(TransientError):
    """The vendor grants no more requests today: nothing is wrong, and what is missing waits.

    ``resumes_at`` is the moment, in UTC, at which its next day begins.
    """

    def __init__(self, what: str, *, resumes_at: datetime, **said: str) -> None:
        super().__init__(what, **said)
        self.resumes_at = resumes_at


class Quota:
    """At most ``requests_per_day`` in a vendor's day, over all processes that share ``path``.

    Counts what leaves, not what succeeds: so does the vendor.
    """

    def __init__(
        self, path: Path, *, requests_per_day: int, vendor: str, now: Callable[[], datetime]
    ) -> None:
        self._state = SharedState(path, schema=SCHEMA)
        self._requests_per_day = requests_per_day
        self._vendor = vendor
        self._now = now

    @property
    def left(self) -> int:
        """Requests that may still leave today."""
        with self._state.writing() as connection:
            row = connection.execute(
                "SELECT request_count, is_over FROM quota WHERE vendor_day = ?", (self._today(),)
            ).fetchone()
        count, is_over = row or (0, 0)
        return 0 if is_over else max(self._requests_per_day - count, 0)

    def resumes_at(self) -> datetime:
        """Return when the vendor's next day begins, in UTC."""
        return _next_day(self._now())

    def take(self) -> None:
        """Count a request that is about to leave.

        Raises:
            QuotaEndedError: Today's are used up.
        """
        with self._state.writing() as connection:
            today = self._today()
            connection.execute("INSERT OR IGNORE INTO quota VALUES (?, 0, 0)", (today,))
            taken = connection.execute(
                "UPDATE quota SET request_count = request_count + 1 "
                "WHERE vendor_day = ? AND request_count < ? AND NOT is_over",
                (today, self._requests_per_day),
            )
            connection.execute("DELETE FROM quota WHERE vendor_day < ?", (today,))
        if not taken.rowcount:
            raise self.ended("as many requests were sent today, or the vendor said so")

    def close_for_today(self) -> None:
        """Note that the vendor says that today's are used up: elsewhere, with the same key."""
        with self._state.writing() as connection:
            connection.execute(
                "INSERT INTO quota VALUES (?, 0, 1) ON CONFLICT DO UPDATE SET is_over = 1",
                (self._today(),),
            )

    def ended(self, found: str) -> QuotaEndedError:
        """Return the error that says when it goes on."""
        resumes_at = self.resumes_at()
        return QuotaEndedError(
            f"{self._vendor}'s requests of today are used up",
            resumes_at=resumes_at,
            expected=f"at most {self._requests_per_day} a day",
            found=found,
            remedy=f"nothing: what is missing can be had from {resumes_at:%Y-%m-%d %H:%M} UTC on; "
            "a premium key has no such limit",
        )

    def close(self) -> None:
        """Close the file; the counts stay."""
        self._state.close()

    def _today(self) -> str:
        return self._now().astimezone(VENDOR_ZONE).date().isoformat()


def _next_day(now: datetime) -> datetime:
    """Return the vendor's next midnight after ``now``, in UTC."""
    tomorrow = now.astimezone(VENDOR_ZONE).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time(), VENDOR_ZONE).astimezone(now.tzinfo)
