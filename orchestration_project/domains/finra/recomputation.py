"""Derived partitions that a change affects, from their declared inputs.

What a partition is made of is named by partition and delivery, as in ``T1|2025-11-10#2``: the
number of the delivery that last changed it. The names of all of them are the version of
what is derived; it is out of date exactly when that version is not the present one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from orchestration_project.domains.finra.calendar import TIERS, WEEK
from orchestration_project.domains.finra.selection import TierWeek, parsed, ranges

GOLD_VERSION = "3"
"""Version of the definitions in `across.py`; another one makes everything out of date."""

WINDOW_WEEKS = 6

LoadedVersions = Mapping[str, int]
"""Partition keys of `finra_otc_weekly` that are loaded, and the number of the last change."""


@dataclass(frozen=True)
class PerTier:
    """A partition is a tier and a week, made of that week and of ``weeks_back`` before it.

    So a change of a week reaches the loaded ones among the ``weeks_back`` that follow it.
    """

    weeks_back: int

    def required(self, key: str) -> Sequence[str]:
        """Return the week itself: a window may have holes, but not at its end."""
        return [key]

    def inputs(self, key: str) -> Sequence[str]:
        """Return the weeks of the window, by date, oldest first."""
        at = parsed(key)
        return [_move_week(at, -weeks).key for weeks in range(self.weeks_back, -1, -1)]

    def reached(
        self, key: str, *, requested: Collection[str], loaded: LoadedVersions
    ) -> Sequence[str]:
        """Return the week and the loaded ones that follow, up to the next asked for of these."""
        at, names = parsed(key), [key]
        for weeks in range(1, self.weeks_back + 1):
            following = _move_week(at, weeks).key
            if following not in loaded:
                continue
            if following in requested:
                break
            names.append(following)
        return names

    def candidates(self, loaded: LoadedVersions) -> Sequence[str]:
        """Return the keys of the loaded partitions."""
        return sorted(loaded)

    def version(self, key: str, loaded: LoadedVersions) -> str:
        """Return the version, in words, that a derivation of ``key`` would have now."""
        return _format_version(self.inputs(key), loaded)


@dataclass(frozen=True)
class AllTiers:
    """A partition is a week, made of all its tiers, and of nothing before they are all loaded."""

    def required(self, key: str) -> Sequence[str]:
        """Return the week in every tier."""
        return [f"{tier}|{key}" for tier in TIERS]

    def inputs(self, key: str) -> Sequence[str]:
        """Return the week in every tier."""
        return self.required(key)

    def reached(
        self, key: str, *, requested: Collection[str], loaded: LoadedVersions
    ) -> Sequence[str]:
        """Return the week: no other has anything of it."""
        return [key]

    def candidates(self, loaded: LoadedVersions) -> Sequence[str]:
        """Return the weeks of which all tiers are loaded."""
        weeks = {parsed(key).week_start.isoformat() for key in loaded}
        return sorted(week for week in weeks if all(key in loaded for key in self.required(week)))

    def version(self, key: str, loaded: LoadedVersions) -> str:
        """Return the version, in words, that a derivation of ``key`` would have now."""
        return _format_version(self.inputs(key), loaded)


ROLLING = PerTier(weeks_back=WINDOW_WEEKS - 1)
CONCENTRATION = PerTier(weeks_back=1)
CROSS_TIER = AllTiers()


def _move_week(partition: TierWeek, weeks: int) -> TierWeek:
    return TierWeek(partition.tier, partition.week_start + weeks * WEEK)


def _format_version(inputs: Iterable[str], loaded: LoadedVersions) -> str:
    names = " ".join(f"{name}#{loaded[name]}" for name in inputs if name in loaded)
    return f"gold {GOLD_VERSION}: {names}"


def tier_ranges(keys: Iterable[str]) -> list[tuple[str, str]]:
    """Return the runs of consecutive weeks for each tier, as (first, last)."""
    return [(first.key, last.key) for first, last in ranges(map(parsed, keys))]


def week_ranges(weeks: Iterable[str]) -> list[tuple[str, str]]:
    """Return the runs of consecutive weeks, as (first, last)."""
    tier_ranges = ranges(TierWeek("", date.fromisoformat(week)) for week in weeks)
    return [
        (first.week_start.isoformat(), last.week_start.isoformat()) for first, last in tier_ranges
    ]
