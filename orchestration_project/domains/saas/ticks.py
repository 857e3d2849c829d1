"""Schedule of polls of a pair of systems: by interval, or on request."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Tick:
    """Poll settings of a pair of systems, and the latest poll."""

    pair: str
    interval: timedelta
    is_paused: bool = False
    triggered_at: datetime | None = None
    started_at: datetime | None = None
    synced_at: datetime | None = None

    @property
    def is_asked_for(self) -> bool:
        """Whether somebody asked for a look since the latest began."""
        triggered_at, started = self.triggered_at, self.started_at
        return triggered_at is not None and (started is None or triggered_at > started)


def turn(tick: Tick, now: datetime) -> str | None:
    """Return the name of the look that is due; None: none is.

    A look that was asked for and never began is asked for again an interval later. One that began
    in the future did so by a clock that was set back.
    """
    is_over = tick.started_at is None or abs(now - tick.started_at) >= tick.interval
    if not tick.is_asked_for and (tick.is_paused or not is_over):
        return None
    since = tick.triggered_at if tick.is_asked_for else tick.started_at
    begins = since or datetime.fromtimestamp(0, now.tzinfo)
    number = (now - begins) // tick.interval
    return f"{tick.pair}#{begins.isoformat()}#{number}"


FRESH_FOR, FRESH_INTERVALS = timedelta(hours=1), 3
"""Age up to which a poll counts as fresh, or number of intervals, whichever is longer."""


def is_fresh(tick: Tick, now: datetime) -> bool:
    """Whether the latest look that ended well is new enough; while it is paused, it is."""
    if tick.is_paused:
        return True
    longest = max(FRESH_FOR, FRESH_INTERVALS * tick.interval)
    return tick.synced_at is not None and tick.synced_at >= now - longest
