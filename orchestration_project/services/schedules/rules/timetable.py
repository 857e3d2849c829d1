"""When a schedule is due, what a late tick catches up, and the partition of a due time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, takewhile
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from orchestration_project.engine.contracts.cron import Cron

CatchUp = Literal["none", "latest", "all"]
PartitionRule = Literal["none", "latest", "previous", "days_before"]

TOLERANCE = timedelta(minutes=5)
"""A due time that is seen so late is still on time: ticks are 30 s apart, and may take longer."""

MAX_CATCH_UP = 1_000
"""Most due times that one tick catches up for a schedule."""

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True)
class Timetable:
    """A cron expression in a time zone.

    A named hour means the clock on the wall. A local time that a change of the clock skips is due
    once, at the next valid moment; one that the change repeats is due once, the first time. An
    expression that names every hour counts elapsed time: it is due in both repeated hours.
    """

    cron: Cron
    zone: ZoneInfo

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the due times after ``moment``, ascending, in UTC."""
        try:
            yield from self._elapsed(moment) if self.cron.is_hourly else self._named(moment)
        except OverflowError:  # the calendar ends
            return

    def until(self, last: datetime, count: int, *, first: datetime) -> Sequence[datetime]:
        """Return the latest due times, at most ``count``, from ``first`` to ``last``, ascending."""
        span = HOUR
        while True:
            since = max(last - span, first)
            times = self.after(since - datetime.resolution)
            moments = list(takewhile(lambda due: due <= last, times))
            if len(moments) >= count or since == first:
                return moments[-count:]
            span *= 4

    def _named(self, moment: datetime) -> Iterator[datetime]:
        hours, minutes = sorted(self.cron.hours), sorted(self.cron.minutes)
        times = [time(hour, minute) for hour in hours for minute in minutes]
        local, latest = moment.astimezone(self.zone), moment
        since = local.date(), local.hour - 3  # no clock is set back by more
        for day in self.cron.days_from(local.date()):
            for at in times:
                if (day, at.hour) >= since and (due := _find_moment(day, at, self.zone)) > latest:
                    latest = due
                    yield due

    def _elapsed(self, moment: datetime) -> Iterator[datetime]:
        at = moment.astimezone(UTC).replace(second=0, microsecond=0) + MINUTE
        for day in self.cron.days_from(at.astimezone(self.zone).date()):
            at = max(at, _find_moment(day, time(), self.zone))
            while (local := at.astimezone(self.zone)).date() == day:
                if local.minute in self.cron.minutes:
                    yield at
                at += MINUTE


def _find_moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    """Return when a clock on the wall first shows a time, or next a later one, in UTC."""
    local = datetime.combine(day, at)
    while True:
        astimezone = local.replace(tzinfo=zone).astimezone(UTC)
        if astimezone.astimezone(zone).replace(tzinfo=None) == local:
            return astimezone
        local += MINUTE  # the clock skips it


class DueTimes(NamedTuple):
    """Due times of a schedule at a tick.

    Attributes:
        launched: Times of which each starts a run, ascending.
        skipped: The first and the last time that the catch-up rule leaves out; None: none.
        following: The next time; None: the calendar ends before.
    """

    launched: Sequence[datetime]
    skipped: tuple[datetime, datetime] | None
    following: datetime | None


def find_due_times(
    timetable: Timetable, first: datetime, now: datetime, catch_up: CatchUp, most: int
) -> DueTimes:
    """Return the due times from ``first`` to ``now`` that a tick launches.

    Args:
        timetable: Of the schedule.
        first: The earliest due time that no tick has seen yet.
        now: When the tick is.
        catch_up: none: only times of the last `TOLERANCE`; latest: the last one; all: the last
            ``most``.
        most: Upper bound of times, 1 to `MAX_CATCH_UP`.
    """
    count = 1 if catch_up == "latest" else most
    since = max(first, now - TOLERANCE) if catch_up == "none" else first
    launched = timetable.until(now, count, first=since) if since <= now else []
    skipped = None
    if first <= now and (not launched or launched[0] > first):
        before = launched[0] - MINUTE if launched else now
        left_out = timetable.until(before, 1, first=first)
        skipped = (first, left_out[-1]) if left_out else None
    return DueTimes(launched, skipped, next(timetable.after(now), None))


def find_next_times(timetable: Timetable, after: datetime, count: int) -> Sequence[datetime]:
    """Return the next ``count`` due times after a moment."""
    return list(islice(timetable.after(after), count))


class Window(NamedTuple):
    """A partition that is a period of time: its key, its start, and the start of the next one."""

    key: str
    start: datetime
    end: datetime


def choose_window(
    rule: PartitionRule,
    windows: Sequence[Window],
    due: datetime,
    zone: ZoneInfo,
    *,
    days: int = 0,
) -> Window | None:
    """Return the partition that a rule chooses for a due time; None: there is none.

    Args:
        rule: latest: the last period that is complete; previous: the one before; days_before: the
            one that holds the local time ``days`` days earlier.
        windows: The partitions that there are, ascending.
        due: The due time.
        zone: Time zone of the schedule.
        days: Of the rule days_before.
    """
    if rule == "days_before":
        local = due.astimezone(zone)
        moment = _find_moment(local.date() - timedelta(days=days), local.time(), zone)
        found = [window for window in windows if window.start <= moment < window.end]
        return found[-1] if found else None
    complete = [window for window in windows if window.end <= due]
    back = 2 if rule == "previous" else 1
    return complete[-back] if rule != "none" and len(complete) >= back else None
