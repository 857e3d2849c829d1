"""Schedule of polls of a pair of systems: by interval, or on request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from orchestration_project.engine.contracts.ticks import PlannedRun, TickPlan


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
    def is_requested(self) -> bool:
        """Whether somebody asked for a look since the latest began."""
        triggered_at, started = self.triggered_at, self.started_at
        return triggered_at is not None and (started is None or triggered_at > started)


def turn(tick: Tick, now: datetime) -> str | None:
    """Return the name of the look that is due; None: none is.

    A look that was requested and never began is requested again an interval later. One that began
    in the future did so by a clock that was set back.
    """
    is_over = tick.started_at is None or abs(now - tick.started_at) >= tick.interval
    if not tick.is_requested and (tick.is_paused or not is_over):
        return None
    since = tick.triggered_at if tick.is_requested else tick.started_at
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


def plan_poll(
    tick: Tick, due: str | None, running: Sequence[str], run_config: Mapping[str, Any]
) -> TickPlan:
    """Return the run of a poll that is due, unless an earlier one has not ended.

    Args:
        tick: Poll settings, and the latest poll.
        due: Name of the poll that is due, as `turn` returns it; None: none is.
        running: Ids of earlier runs that have not ended.
        run_config: Config of the run.
    """
    if due is not None:
        if running:
            reason = f"A poll is due, but the previous one has not ended: run {running[0]}."
            return TickPlan(skip_reason=reason)
        return TickPlan(requests=[PlannedRun(run_key=due, run_config=run_config)])
    if tick.is_paused:
        return TickPlan(skip_reason="Polling is paused; a manual trigger starts a poll.")
    began = f"{tick.started_at:%H:%M:%S}" if tick.started_at else "never"
    reason = f"The latest look began {began}; one begins every {tick.interval}."
    return TickPlan(skip_reason=reason)
