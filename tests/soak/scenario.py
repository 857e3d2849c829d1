"""What vendors publish and when, and which programs are killed on which day, by a seed.

Vendors (`vendors.py`) and judge read it. The programs that are judged do not.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from orchestration_demo.restatements import Restatement

NEW_YORK = ZoneInfo("America/New_York")
FRANKFURT = ZoneInfo("Europe/Berlin")
DAY, WEEK = timedelta(days=1), timedelta(days=7)

FIRST_DAYS = (
    date(2027, 3, 8),  # changes of clocks: America on the 14th, Europe on the 28th
    date(2027, 10, 25),  # Europe on the 31st, America on November 7th
    date(2028, 2, 14),  # a holiday on the 21st, and February 29th
    date(2026, 12, 21),  # holidays, and the end of the year
)
"""Mondays on which a scenario may begin, all to come: processes that begin after the present
are taken for others of the same number."""

KILLED = ("daemon", "code server", "gateway", "run worker", "vendor")
RESTATED_ONE_IN = 3
AWAY_DAYS = 3


@dataclass(frozen=True)
class Kill:
    """A program that is killed on a day, in the given step of it, some seconds after the step."""

    day: int
    step: int
    program: str
    seconds: float


@dataclass(frozen=True)
class Scenario:
    """All that is decided by the seed, for a number of days."""

    seed: int
    first_day: date
    days: int
    away: Sequence[date]
    late: Sequence[date]
    refusing: Sequence[date]
    kills: Sequence[Kill]

    def restatement(self, tier: str, week: date) -> Restatement | None:
        """Return the correction that a tier's week gets, if it gets one.

        Rows change, one is withdrawn, and one is added; or one date changes alone.
        """
        random = Random(f"{self.seed} {tier} {week}")  # noqa: S311 - a simulation
        if random.randrange(RESTATED_ONE_IN):
            return None
        share = random.choice([0.0, 0.01, 0.2])
        return Restatement(week + timedelta(days=random.randint(37, 60)), share)

    def is_away(self, moment: datetime) -> bool:
        """Return whether the vendors answer nothing at a time."""
        return moment.astimezone(NEW_YORK).date() in self.away

    def vendor_time(self, moment: datetime) -> datetime:
        """Return the time by which vendors publish: on a late day they are a day behind."""
        return moment - DAY if moment.astimezone(NEW_YORK).date() in self.late else moment

    @property
    def first_rates(self) -> date:
        """First day of which rates are loaded."""
        return self.first_day - WEEK

    @property
    def settings(self) -> dict[str, str]:
        """Settings of the programs: the first partitions; without them the demo adds no weeks."""
        first_week = self.first_day - 20 * WEEK
        return {"FX_FIRST_DAY": str(self.first_rates), "FINRA_FIRST_WEEK": str(first_week)}

    def day(self, number: int) -> date:
        return self.first_day + number * DAY

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), default=str, indent=1))


def plan(seed: int, days: int, first_day: date | None = None) -> Scenario:
    """Return the scenario of a seed; longer ones begin as shorter ones do."""
    random = Random(f"world {seed}")  # noqa: S311 - a simulation
    chosen = first_day or random.choice(FIRST_DAYS)
    away, late, refusing, kills = [], [], [], []
    for week in range((days + 6) // 7):
        monday = chosen + week * WEEK
        late += [monday] if random.random() < 0.5 else []
        refusing += [monday + random.randrange(7) * DAY]
        if week % 2:
            start = monday + random.randrange(5) * DAY
            away += [start + number * DAY for number in range(AWAY_DAYS)]
        order = random.sample(KILLED, len(KILLED))
        for number, program in enumerate(order):
            place = week * 7 + (number * 7) // len(order)
            kills.append(Kill(place, random.randrange(4), program, round(random.uniform(0, 8), 1)))
    last = chosen + (days - 1) * DAY
    return Scenario(
        seed,
        chosen,
        days,
        [day for day in away if day < last],  # the last day is judged with vendors that answer
        [day for day in late if day not in away],
        [day for day in refusing if day not in away],
        [kill for kill in kills if kill.day < days],
    )


def read_scenario(path: Path) -> Scenario:
    """Return the scenario of a file."""
    fields = json.loads(path.read_text())
    for name in ("away", "late", "refusing"):
        fields[name] = [date.fromisoformat(day) for day in fields[name]]
    fields["kills"] = [Kill(**kill) for kill in fields["kills"]]
    return Scenario(**fields | {"first_day": date.fromisoformat(fields["first_day"])})


@dataclass(frozen=True)
class Due:
    """A time at which a schedule is due."""

    at: datetime
    schedule: str
    starts_run: bool


@dataclass(frozen=True)
class Cron:
    """A schedule that is switched on: its time of day, its zone, its days of the week.

    ``starts_run`` is False where a tick starts a backfill, or nothing.
    """

    schedule: str
    at: time
    zone: ZoneInfo
    weekdays: Sequence[int] = range(7)
    starts_run: bool = True


SCHEDULES = (
    Cron("finra_otc_weekly_mondays", time(9), NEW_YORK, (0, 1), starts_run=False),
    Cron("finra_daily", time(13), NEW_YORK),
    Cron("fx_daily", time(13), FRANKFURT),
    Cron("fx_rates_daily_weekly_backfill", time(6), FRANKFURT, (5,), starts_run=False),
)
"""Written from docs/reference/automation.md; the judge does not ask the program for them."""

STEPS = ((time(16, 20), FRANKFURT), (time(23, 30), NEW_YORK))
"""When rates are out, and the end of a day, at which it is judged."""


def due_times(day: date) -> list[Due]:
    """Return the due times of a day in New York, in order."""
    end = datetime.combine(day + DAY, time(0), NEW_YORK)
    start = datetime.combine(day, time(0), NEW_YORK)
    found = [
        Due(datetime.combine(local, cron.at, cron.zone), cron.schedule, cron.starts_run)
        for cron in SCHEDULES
        for local in (day - DAY, day, day + DAY)
        if local.weekday() in cron.weekdays
    ]
    within = [
        due
        for due in found
        if start.astimezone(UTC) <= due.at.astimezone(UTC) < end.astimezone(UTC)
    ]
    return sorted(within, key=lambda due: (due.at.astimezone(UTC), due.schedule))


def steps_of(day: date) -> list[datetime]:
    """Return the times that the calendar is stepped to on a day, in UTC."""
    moments = {due.at.astimezone(UTC) for due in due_times(day)}
    moments |= {datetime.combine(day, at, zone).astimezone(UTC) for at, zone in STEPS}
    return sorted(moments)
