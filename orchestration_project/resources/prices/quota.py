"""How many requests a vendor still grants today, held across all processes and their restarts."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from orchestration_project.engine.http.shared_state import SharedState
from orchestration_project.errors import TransientError

VENDOR_ZONE = ZoneInfo("America/New_York")
"""Time zone of Alpha Vantage's day. It names no zone, and users report midnight in UTC or in New
York: the latter is the later of the two, so that what waits for it is early in neither."""


class QuotaEndedError(TransientError):
    """The vendor grants no more requests today: nothing is wrong, and what is missing waits.

    ``resumes_at`` is the moment, in UTC, at which its next day begins.
    """

    def __init__(self, what: str, *, resumes_at: datetime, **said: Any) -> None:
        super().__init__(what, **said)
        self.resumes_at = resumes_at


class Quota:
    """At most ``requests_per_day`` in a vendor's day, over all processes that share ``state``.

    Counts what leaves, not what succeeds: so does the vendor. None: as many as one likes, until the
    vendor says otherwise.
    """

    def __init__(
        self,
        state: SharedState,
        *,
        system: str,
        vendor: str,
        requests_per_day: int | None,
        now: Callable[[], datetime],
    ) -> None:
        self._state = state
        self._system = system
        self._vendor = vendor
        self._requests_per_day = requests_per_day
        self._now = now

    @property
    def left(self) -> int | None:
        """Requests that may still leave today; None: as many as one likes."""
        quota = self._state.quota(self._system, self._today())
        if quota.is_over:
            return 0
        limit = self._requests_per_day
        return None if limit is None else max(limit - quota.request_count, 0)

    def resumes_at(self) -> datetime:
        """Return when the vendor's next day begins, in UTC."""
        tomorrow = self._now().astimezone(VENDOR_ZONE).date() + timedelta(days=1)
        return datetime.combine(tomorrow, time(), VENDOR_ZONE).astimezone(UTC)

    def take(self) -> None:
        """Count a request that is about to leave.

        Raises:
            QuotaEndedError: Today's are used up.
        """
        limit = self._requests_per_day
        if not self._state.take_from_quota(self._system, self._today(), limit):
            raise self.ended("as many were sent today, or the vendor said so")

    def close_for_today(self) -> None:
        """Note that the vendor says that today's are used up: elsewhere, with the same key."""
        self._state.end_quota(self._system, self._today())

    def ended(self, found: str) -> QuotaEndedError:
        """Return the error that says when it goes on."""
        resumes_at = self.resumes_at()
        limit = self._requests_per_day
        return QuotaEndedError(
            f"{self._vendor} grants no more requests today",
            resumes_at=resumes_at,
            retry_in_seconds=(resumes_at - self._now()).total_seconds(),
            expected="no limit" if limit is None else f"{limit} requests a day",
            found=found,
            remedy=f"nothing: what is missing can be had from {resumes_at:%Y-%m-%d %H:%M} UTC on",
        )

    def close(self) -> None:
        """Close the state; the counts stay."""
        self._state.close()

    def _today(self) -> date:
        return self._now().astimezone(VENDOR_ZONE).date()
