"""Whether what is loaded is as new as FINRA's calendar of publications promises."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from orchestration_project.domains.finra.calendar import (
    TIERS,
    WEEK,
    latest_published_week,
    publication_date,
)
from orchestration_project.domains.finra.selection import TierWeek, parsed

NEW_YORK = ZoneInfo("America/New_York")


class State(StrEnum):
    """State of a due week, as the check's metadata stores it."""

    LOADED = "landed"
    QUARANTINED = "quarantined"
    NOT_LOADED = "not landed"
    NOT_OUT = "not out"
    NOT_REQUESTED = "not landed, and FINRA not asked"


COUNT_NAMES = {
    State.LOADED: "weeks_landed",
    State.QUARANTINED: "weeks_held_back",
    State.NOT_LOADED: "weeks_not_landed",
    State.NOT_OUT: "weeks_not_out",
    State.NOT_REQUESTED: "weeks_not_asked",
}
"""Names of the check's metadata that counts weeks."""

REMEDIES = {
    State.QUARANTINED: "quarantined: an audit failed, or the file cannot be read; the page "
    "Quarantined has the reason, and it is requested again once FINRA changes it",
    State.NOT_LOADED: "not loaded: FINRA lists it; start finra_otc_weekly for it, or see why its "
    "runs failed",
    State.NOT_REQUESTED: "not loaded, and FINRA not asked: start finra_otc_weekly for it, or see "
    "why its runs failed; the job finra_daily asks whether FINRA lists it",
    State.NOT_OUT: "not out: FINRA does not list it yet; nothing can be done but wait, or ask "
    "FINRA",
}
"""State and remedy of a missing week, in words."""


@dataclass(frozen=True)
class DueWeek:
    """A week that was due on the day ``due``, and where it is ``days_late`` days after."""

    partition: TierWeek
    due: date
    days_late: int
    state: State

    def __str__(self) -> str:
        """Return a sentence."""
        where = f"{self.partition.tier}, week {self.partition.week_start}, was due on {self.due}"
        if self.state is State.LOADED:
            return f"{where} and is loaded."
        return f"{where} and is {REMEDIES[self.state]}."


def due_weeks(
    now: datetime,
    *,
    weeks: int,
    grace: timedelta,
    loaded: Collection[str],
    quarantined: Collection[str],
    listed: Collection[TierWeek] | None,
) -> list[DueWeek]:
    """Return the weeks that were due in the last ``weeks`` weeks, oldest publication first.

    A week is due ``grace`` after the midnight in New York that begins its publication date; one
    that is not due yet is not in the answer, even if it is loaded.

    Args:
        now: An aware moment.
        weeks: How many weeks of each tier to look at.
        grace: How long after that midnight a week may still be missing.
        loaded: Keys of the partitions that are loaded.
        quarantined: Keys of those whose latest delivery is quarantined.
        listed: What FINRA says is published; None where it was not asked.
    """
    today = now.astimezone(NEW_YORK).date()
    weeks_due = [
        DueWeek(
            partition,
            due,
            (today - due).days,
            _decide_state(partition, loaded=loaded, quarantined=quarantined, listed=listed),
        )
        for partition, due in _iterate_due_weeks(today, weeks)
        if is_due(due, now=now, grace=grace)
    ]
    return sorted(weeks_due, key=lambda each: (each.due, each.partition))


def after_first_loaded(due: Sequence[DueWeek], loaded: Collection[str]) -> list[DueWeek]:
    """Return the weeks that a demo lacks by mistake: it loads a few weeks by design.

    Of each tier these are the weeks from its first loaded one on; of a tier without any, those
    published since the first loaded week of another. If nothing is loaded, they are all weeks.
    """
    first: dict[str, TierWeek] = {}
    for week in sorted(map(parsed, loaded)):
        first.setdefault(week.tier, week)
    if not first:
        return list(due)
    published = min(
        publication_date(tier_week.week_start, tier_week.tier) for tier_week in first.values()
    )
    return [
        due_week
        for due_week in due
        if (
            due_week.partition >= first[due_week.partition.tier]
            if due_week.partition.tier in first
            else due_week.due >= published
        )
    ]


def is_due(day: date, *, now: datetime, grace: timedelta) -> bool:
    """Whether ``grace``, in real hours, has passed since midnight of ``day`` in New York."""
    return now >= due_at(day, grace)


def due_at(day: date, grace: timedelta) -> datetime:
    """Return the moment ``grace``, in real hours, after midnight of ``day`` in New York."""
    midnight = datetime.combine(day, time(), tzinfo=NEW_YORK)
    return midnight.astimezone(UTC) + grace


def counts(due: Sequence[DueWeek]) -> Mapping[State, int]:
    """Return how many weeks are in each state; `NOT_REQUESTED` only where there are any."""
    states = Counter(due_week.state for due_week in due)
    return {
        state: states[state] for state in State if state is not State.NOT_REQUESTED or states[state]
    }


def _iterate_due_weeks(today: date, weeks: int) -> Iterator[tuple[TierWeek, date]]:
    for tier in TIERS:
        newest = latest_published_week(today, tier)
        for number in range(weeks):
            week = newest - number * WEEK
            yield TierWeek(tier, week), publication_date(week, tier)


def _decide_state(
    partition: TierWeek,
    *,
    loaded: Collection[str],
    quarantined: Collection[str],
    listed: Collection[TierWeek] | None,
) -> State:
    if partition.key in loaded:
        return State.LOADED
    if partition.key in quarantined:
        return State.QUARANTINED
    if listed is None:
        return State.NOT_REQUESTED
    return State.NOT_LOADED if partition in listed else State.NOT_OUT
