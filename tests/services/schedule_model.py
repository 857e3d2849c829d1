"""An independent model of schedules: every minute of a clock is looked at, one after the other."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from orchestration_project.engine.contracts.cron import read_cron
from orchestration_project.services.schedules.rules.timetable import (
    CatchUp,
    Timetable,
    find_due_times,
)

MINUTE = timedelta(minutes=1)
ZONES = (
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",  # set by half an hour
    "America/Santiago",  # set at midnight
    "Asia/Kolkata",
    "UTC",
)
NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True)
class ModelCron:
    """An expression, and the values of its fields, which were chosen before it was written."""

    text: str
    minutes: set[int]
    hours: set[int]
    days: set[int]
    months: set[int]
    weekdays: set[int]

    def names(self, local: datetime) -> bool:
        """Whether it names what a clock on the wall shows."""
        if local.minute not in self.minutes or local.hour not in self.hours:
            return False
        if local.month not in self.months:
            return False
        of_days = [local.day in self.days] if len(self.days) < 31 else []
        of_days += [(local.weekday() + 1) % 7 in self.weekdays] if len(self.weekdays) < 7 else []
        return any(of_days) if of_days else True


def random_cron(chance: random.Random) -> ModelCron:
    """Return any expression; near the hours at which clocks are set more often than not."""
    minutes = _some(chance, range(60), 0.05)
    hours = _some(chance, range(4) if chance.random() < 0.7 else range(24), 0.3)
    hours = set(range(24)) if chance.random() < 0.3 else hours
    days = set(range(1, 32)) if chance.random() < 0.7 else _some(chance, range(1, 29), 0.3)
    months = set(range(1, 13)) if chance.random() < 0.8 else _some(chance, range(1, 13), 0.5)
    weekdays = set(range(7)) if chance.random() < 0.6 else _some(chance, range(7), 0.4)
    fields = [
        _text(minutes, 60),
        _text(hours, 24),
        _text(days, 31),
        _text(months, 12),
        "*" if len(weekdays) == 7 else ",".join(NAMES[weekday] for weekday in sorted(weekdays)),
    ]
    return ModelCron(" ".join(fields), minutes, hours, days, months, weekdays)


def _some(chance: random.Random, of: range, share: float) -> set[int]:
    return {day for day in of if chance.random() < share} or {chance.choice(of)}


def _text(values: set[int], most: int) -> str:
    return "*" if len(values) == most else ",".join(map(str, sorted(values)))


def model_times(cron: ModelCron, zone: ZoneInfo, first: datetime, last: datetime) -> list[datetime]:
    """Return the due times from ``first`` to ``last``, by what the clock shows in each minute."""
    found, shown = list[datetime](), set[datetime]()
    at = first - timedelta(days=1)
    before = at.astimezone(zone).replace(tzinfo=None) - MINUTE
    while at <= last:
        local = at.astimezone(zone).replace(tzinfo=None)
        is_due = cron.names(local)
        if len(cron.hours) < 24:
            is_due = is_due and local not in shown
            skipped = int((local - before) / MINUTE)
            is_due = is_due or any(cron.names(before + n * MINUTE) for n in range(1, skipped))
        shown.add(local)
        if is_due and at >= first:
            found.append(at)
        before, at = local, at + MINUTE
    return found


def random_ticks(chance: random.Random, first: datetime, last: datetime) -> list[datetime]:
    """Return when a daemon ticks: each half minute or so, and not in its downtimes."""
    ticks, at = [first], first
    while at < last:
        draw = chance.random()
        pause = 30.0 + 20 * chance.random()
        if draw < 0.002:
            pause = 3600 * 40 * chance.random()
        elif draw < 0.01:
            pause = 600 * chance.random()
        at += timedelta(seconds=pause)
        ticks.append(at)
    return ticks


def model_launches(
    times: Sequence[datetime], ticks: Sequence[datetime], catch_up: CatchUp, most: int
) -> list[datetime]:
    """Return the due times that start a run, by the words of the catch-up rule."""
    launched, place, seen = list[datetime](), 0, ticks[0]
    for tick in ticks[1:]:
        pending = list[datetime]()
        while place < len(times) and times[place] <= tick:
            if times[place] > seen:
                pending.append(times[place])
            place += 1
        if catch_up == "none":
            pending = [due_at for due_at in pending if tick - due_at <= timedelta(minutes=5)]
        launched += pending[-1:] if catch_up == "latest" else pending[-most:]
        seen = tick
    return launched


def launches(
    timetable: Timetable, ticks: Sequence[datetime], catch_up: CatchUp, most: int
) -> list[datetime]:
    """Return what the ticks launch, each of which knows the next due time alone."""
    launched = list[datetime]()
    following = next(timetable.after(ticks[0]), None)
    for tick in ticks[1:]:
        if following is not None and following <= tick:
            due = find_due_times(timetable, following, tick, catch_up, most)
            launched += due.launched
            following = due.following
    return launched


def require_equal_to_model(seed: int, first: datetime, last: datetime) -> int:
    """Compare one random schedule with the model; return how many runs it started."""
    chance = random.Random(seed)  # noqa: S311 - chance of a test
    cron, zone = random_cron(chance), ZoneInfo(chance.choice(ZONES))
    timetable = Timetable(read_cron(cron.text), zone)
    times = model_times(cron, zone, first, last + timedelta(days=2))
    found = timetable.until(last, 10**6, first=first)
    assert found == [time for time in times if time <= last], (seed, cron.text, zone)
    ticks = random_ticks(chance, first, last)
    catch_up: CatchUp = chance.choice(["none", "latest", "all"])
    most = chance.choice([1, 3, 100])
    expected = model_launches(times, ticks, catch_up, most)
    assert launches(timetable, ticks, catch_up, most) == expected, (seed, cron.text, zone, catch_up)
    assert len(set(expected)) == len(expected)
    return len(expected)


def utc(text: str) -> datetime:
    """Return a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
