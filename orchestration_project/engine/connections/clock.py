"""The one clock: real time, or a given time that advances."""

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")


class Clock:
    """Clock in UTC; with ``start``, an aware time, it begins at that time."""

    def __init__(self, start: datetime | None = None) -> None:
        if start is not None and start.tzinfo is None:
            raise ValueError(f"a clock's start needs a time zone, got {start!r}")
        self._start = start
        self._begun = time.monotonic()

    def now(self) -> datetime:
        """Return the present moment, aware and in UTC."""
        if self._start is None:
            return datetime.now(UTC)
        return self._start.astimezone(UTC) + timedelta(seconds=time.monotonic() - self._begun)

    def today(self, zone: str) -> date:
        """Return the calendar day in a time zone, such as Europe/Berlin."""
        return self.now().astimezone(ZoneInfo(zone)).date()

    def today_in_new_york(self) -> date:
        """Return FINRA's calendar day."""
        return self.now().astimezone(NEW_YORK).date()
