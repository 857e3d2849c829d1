"""Existing weeks, due weeks, and their ranges."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

from orchestration_project.domains.finra.calendar import (
    PUBLICATION_DELAY,
    TIERS,
    WEEK,
    publication_date,
)
from orchestration_project.engine.contracts.partitioning import Calendar, Partition, Partitioning
from orchestration_project.errors import ConfigurationError, SourceError, UnknownNameError

FRIDAY = 4


@dataclass(frozen=True, order=True)
class TierWeek:
    """One partition of FINRA's weekly data."""

    tier: str
    week_start: date

    @property
    def key(self) -> str:
        """Dagster's key; the dimensions stand in the order of their names: tier, week."""
        return f"{self.tier}|{self.week_start.isoformat()}"


def tier_week(key: str, *, today: date) -> TierWeek:
    """Read a partition key such as ``T1|2025-11-10``.

    Raises:
        ConfigurationError: The key has another shape, an unknown tier, no Monday, or a week that
            has not ended by ``today``.
    """
    tier, _, week = key.partition("|")
    try:
        week_start = date.fromisoformat(week)
    except ValueError:
        raise _build_key_error(key, "no week") from None
    if week_start.isoformat() != week:
        raise _build_key_error(key, f"another spelling of {week_start}")
    if tier not in TIERS:
        raise _build_key_error(key, f"tier {tier}")
    if week_start.weekday() != 0:
        raise _build_key_error(key, f"{week_start} is a {week_start:%A}")
    if week_start + WEEK > today:
        raise _build_key_error(key, f"a week that has not ended by {today}")
    return TierWeek(tier, week_start)


def parsed(key: str) -> TierWeek:
    """Read the key of a partition that there is, such as one that is loaded."""
    tier, _, week = key.partition("|")
    return TierWeek(tier, date.fromisoformat(week))


def week_of(partition: Partition) -> TierWeek:
    """Return a partition of `PARTITIONING` in FINRA's words."""
    return TierWeek(partition.value, partition.day)


class WeekPartitioning(Partitioning):
    """The partitions of FINRA's weekly data: a tier, and a week that has ended."""

    def partition_of(self, key: str, *, today: date, first_day: date | None = None) -> Partition:
        """Read a partition key, as `tier_week`; Dagster refuses weeks before the first one.

        Raises:
            ConfigurationError: As `tier_week`.
        """
        week = tier_week(key, today=today)
        return Partition(week.week_start, week.tier)

    def published_on(self, partition: Partition) -> date:
        """Return the day on which FINRA publishes a week of a tier."""
        return publication_date(partition.day, partition.value)

    def scope_of(self, partition: Partition) -> Mapping[str, object]:
        """Return the condition on the table's columns; stored scopes name the tier first."""
        return {"tier": partition.value, "week_start": partition.day}


PARTITIONING = WeekPartitioning(
    table_name="finra_otc_weekly",
    calendar=Calendar(weekday=0, delay_days=min(PUBLICATION_DELAY.values()).days),
    day_column="week_start",
    value_column="tier",
    values=TIERS,
)


def _build_key_error(key: str, found: str) -> ConfigurationError:
    return UnknownNameError(
        f"invalid partition {key}",
        expected=f"<{'|'.join(TIERS)}>|<a past Monday, yyyy-mm-dd>, as in T1|2025-11-10",
        found=found,
        remedy="request another partition",
    )


def latest_weeks(published: Iterable[TierWeek], weeks: int) -> list[TierWeek]:
    """Return the ``weeks`` newest published weeks of each known tier, oldest first."""
    known_tier_weeks = sorted(week for week in set(published) if week.tier in TIERS)
    by_tier = [list(group) for _, group in groupby(known_tier_weeks, key=lambda each: each.tier)]
    return [week for group in by_tier for week in group[-weeks:]]


def ranges(partitions: Iterable[TierWeek]) -> list[tuple[TierWeek, TierWeek]]:
    """Return the runs of consecutive weeks in ``partitions`` for each tier, as (first, last)."""
    week_pairs: list[tuple[TierWeek, TierWeek]] = []
    for partition in sorted(set(partitions)):
        if week_pairs and week_pairs[-1][1] == TierWeek(
            partition.tier, partition.week_start - WEEK
        ):
            week_pairs[-1] = (week_pairs[-1][0], partition)
        else:
            week_pairs.append((partition, partition))
    return week_pairs


def key_ranges(partitions: Iterable[TierWeek]) -> list[tuple[str, str]]:
    """Return the `ranges` of ``partitions`` as keys of Dagster."""
    return [(first.key, last.key) for first, last in ranges(partitions)]


def outdated(
    wanted: Iterable[TierWeek], *, seen: Mapping[str, Collection[str]], now: Mapping[str, str]
) -> list[TierWeek]:
    """Return the weeks that we know nothing of, or that the source now has in another version.

    ``seen`` maps partition keys to the versions that are loaded or were quarantined, ``now`` to the
    present one. A quarantined week stays out until the source changes it: the same bytes would be
    quarantined again.
    """
    return sorted(
        week for week in wanted if week.key not in seen or now[week.key] not in seen[week.key]
    )


def within_horizon(published: Iterable[TierWeek], *, today: date, weeks: int) -> list[TierWeek]:
    """Return the published weeks whose publication was due in the last ``weeks`` weeks."""
    return sorted(
        week
        for week in published
        if week.week_start + PUBLICATION_DELAY[week.tier] + weeks * WEEK > today
    )


def by_publication(partitions: Iterable[TierWeek]) -> list[TierWeek]:
    """Return the partitions in the order in which they were due, oldest publication first."""
    return sorted(
        set(partitions), key=lambda each: (publication_date(each.week_start, each.tier), each)
    )


def horizon_start(today: date, weeks: int) -> date:
    """Return a day before which no week begins that `within_horizon` lets through."""
    return today - max(PUBLICATION_DELAY.values()) - weeks * WEEK


def sweep_start(watermark: str | None, taken: Iterable[TierWeek], *, today: date) -> date:
    """Return the day from which on changes are to be looked for, not after ``today``.

    It is the day of the ``watermark``; without one, that of the oldest publication of ``taken``.

    Raises:
        ConfigurationError: The watermark is not a date.
    """
    if not watermark:
        return min(today, *(publication_date(week.week_start, week.tier) for week in taken))
    try:
        return min(date.fromisoformat(watermark), today)
    except ValueError:
        raise ConfigurationError(
            "invalid cursor of finra_on_restatement",
            expected="the day up to which it has polled, yyyy-mm-dd, or nothing",
            found=watermark[:60],
            remedy="reset the cursor: the sensor then looks at every week that was taken",
        ) from None


def run_key(partition: TierWeek, version: str, day: date) -> str:
    """Return the key that identifies a request for a run: the wanted state, and the day.

    Dagster never starts a second run for a key that it has seen. So a state is requested at most
    once a day, and again on the next where that run brought nothing; another state, at once.
    """
    return f"{partition.key} {version} ({day})"


def chosen(
    keys: Iterable[str], *, tier: str | None, first: date | None, last: date | None
) -> list[TierWeek]:
    """Return those partitions of ``keys`` that lie in a tier and between two weeks, if given."""
    return sorted(
        week
        for week in map(parsed, keys)
        if tier in (None, week.tier)
        and (first is None or week.week_start >= first)
        and (last is None or week.week_start <= last)
    )


def summary(partitions: Iterable[TierWeek]) -> str:
    """Return ranges in words, such as ``T1 2025-11-10 to 2025-12-01 (4 weeks)``."""
    return ", ".join(
        f"{first.tier} {first.week_start} (1 week)"
        if first == last
        else f"{first.tier} {first.week_start} to {last.week_start} "
        f"({(last.week_start - first.week_start) // WEEK + 1} weeks)"
        for first, last in ranges(partitions)
    )


def of_known_tiers(published: Sequence[tuple[str, str]]) -> tuple[list[TierWeek], list[str]]:
    """Return the partitions (weekStartDate, tierIdentifier) that we know, and the other tiers.

    Raises:
        SourceError: A week of a known tier is not a date.
    """
    known_tier_weeks = [
        TierWeek(tier, _parse_week(week, tier)) for week, tier in published if tier in TIERS
    ]
    return sorted(known_tier_weeks), sorted({tier for _, tier in published} - set(TIERS))


@dataclass(frozen=True)
class UnknownTier:
    """A tier that a source lists and we do not load, its partitions, and the newest week."""

    tier: str
    partitions: int
    newest_week: str


def unknown_tiers(published: Iterable[tuple[str, str]]) -> list[UnknownTier]:
    """Return the tiers that we do not know of these (weekStartDate, tierIdentifier), by name."""
    weeks: dict[str, set[str]] = {}
    for week, tier in published:
        weeks.setdefault(tier, set()).add(week)
    return [
        UnknownTier(tier, len(names), max(names))
        for tier, names in sorted(weeks.items())
        if tier not in TIERS
    ]


def _parse_week(week: str, tier: str) -> date:
    try:
        return date.fromisoformat(week)
    except ValueError:
        raise SourceError(
            f"the source lists a week of {tier} that is not a date",
            expected="weekStartDate as yyyy-mm-dd",
            found=week,
            remedy="report it to the source",
        ) from None


def week_ending_on(written: str) -> str:
    """Return the Monday of the week that ends on a Friday, as FINRA's weeks are named by callers.

    Raises:
        ConfigurationError: It is not a Friday.
    """
    try:
        day = date.fromisoformat(written)
    except ValueError:
        raise ConfigurationError(
            "invalid week_ending", expected="a Friday such as 2025-01-10"
        ) from None
    if day.weekday() != FRIDAY:
        friday = _move_day(day, FRIDAY - day.weekday())
        raise ConfigurationError(
            f"week_ending {day} is a {day:%A}",
            expected="the Friday on which a week's trading ends",
            remedy=f"its week ends on {friday}" if friday else "",
        )
    start = _move_day(day, -FRIDAY)
    if start is None:
        raise ConfigurationError(f"no week ends on {day}", expected="a Friday such as 2025-01-10")
    return start.isoformat()


def _move_day(day: date, days: int) -> date | None:
    try:
        return day + timedelta(days=days)
    except OverflowError:
        return None
