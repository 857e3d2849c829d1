"""Which weeks there are, which are due, and how they fit into ranges."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby

from orchestration_project.domains.finra.calendar import PUBLICATION_DELAY, TIERS, WEEK
from orchestration_project.errors import ConfigurationError


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
        raise _wrong_key(key, "no week") from None
    if tier not in TIERS:
        raise _wrong_key(key, f"tier {tier}")
    if week_start.weekday() != 0:
        raise _wrong_key(key, f"{week_start} is a {week_start:%A}")
    if week_start + WEEK > today:
        raise _wrong_key(key, f"a week that has not ended by {today}")
    return TierWeek(tier, week_start)


def _wrong_key(key: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        f"there is no partition {key}",
        expected=f"<{'|'.join(TIERS)}>|<a past Monday, yyyy-mm-dd>, as in T1|2025-11-10",
        found=found,
        remedy="ask for another partition",
    )


def latest_weeks(published: Iterable[TierWeek], weeks: int) -> list[TierWeek]:
    """Return the ``weeks`` newest published weeks of each known tier, oldest first."""
    known = sorted(each for each in set(published) if each.tier in TIERS)
    by_tier = [list(group) for _, group in groupby(known, key=lambda each: each.tier)]
    return [each for group in by_tier for each in group[-weeks:]]


def ranges(partitions: Iterable[TierWeek]) -> list[tuple[TierWeek, TierWeek]]:
    """Return the runs of consecutive weeks in ``partitions`` for each tier, as (first, last)."""
    found: list[tuple[TierWeek, TierWeek]] = []
    for each in sorted(set(partitions)):
        if found and found[-1][1] == TierWeek(each.tier, each.week_start - WEEK):
            found[-1] = (found[-1][0], each)
        else:
            found.append((each, each))
    return found


def outdated(published: Mapping[TierWeek, str], landed: Mapping[TierWeek, str]) -> list[TierWeek]:
    """Return the published weeks that are not landed, or landed in another version."""
    return sorted(each for each, version in published.items() if landed.get(each) != version)


def within_horizon(
    published: Iterable[TierWeek], *, today: date, weeks: int, first_week: date
) -> list[TierWeek]:
    """Return the published weeks of known tiers that came out in the last ``weeks`` weeks."""
    return sorted(
        each
        for each in set(published)
        if each.tier in TIERS
        and each.week_start >= first_week
        and each.week_start + PUBLICATION_DELAY[each.tier] + weeks * WEEK > today
    )


def of_known_tiers(published: Sequence[tuple[str, str]]) -> tuple[list[TierWeek], list[str]]:
    """Return the partitions (weekStartDate, tierIdentifier) that we know, and the other tiers."""
    known = [TierWeek(tier, date.fromisoformat(week)) for week, tier in published if tier in TIERS]
    return sorted(known), sorted({tier for _, tier in published} - set(TIERS))
