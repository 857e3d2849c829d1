"""What callers of other workflow systems name: a pipeline, and parameters that name a partition."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from orchestration_project.errors import ConfigurationError

FRIDAY = 4


def _as_it_is(written: str) -> str:
    return written


def _week_start(written: str) -> str:
    """Return the Monday of the week that ends on a Friday, as FINRA's weeks are named by callers.

    Raises:
        ConfigurationError: It is no Friday.
    """
    try:
        day = date.fromisoformat(written)
    except ValueError:
        raise ConfigurationError(
            "week_ending is no date", expected="a Friday such as 2025-01-10"
        ) from None
    if day.weekday() != FRIDAY:
        friday = _moved(day, FRIDAY - day.weekday())
        raise ConfigurationError(
            f"week_ending {day} is a {day:%A}",
            expected="the Friday on which a week's trading ends",
            remedy=f"its week ends on {friday}" if friday else "",
        )
    start = _moved(day, -FRIDAY)
    if start is None:
        raise ConfigurationError(f"no week ends on {day}")
    return start.isoformat()


def _moved(day: date, days: int) -> date | None:
    try:
        return day + timedelta(days=days)
    except OverflowError:
        return None


def _month_start(written: str) -> str:
    """Return the first day of the month that is written as 2025-01.

    Raises:
        ConfigurationError: It is no month.
    """
    try:
        return date.fromisoformat(f"{written}-01").isoformat()
    except ValueError:
        raise ConfigurationError(
            "month is none", expected="year and month, such as 2025-01"
        ) from None


PARAMETERS: Mapping[str, Callable[[str], str]] = {
    "tier": _as_it_is,
    "week_ending": _week_start,
    "month": _month_start,
}
"""Parameter → the part of a partition's key that a value of it means."""


@dataclass(frozen=True)
class Pipeline:
    """A job under the name by which callers run it; its partition is named by ``parameters``."""

    job: str
    parameters: tuple[str, ...] = ()


PIPELINES: Mapping[str, Pipeline] = {
    each.job: each
    for each in (
        Pipeline("finra_otc_weekly", ("tier", "week_ending")),
        Pipeline("finra_replay", ("tier", "week_ending")),
        Pipeline("finra_gold", ("tier", "week_ending")),
        Pipeline("finra_tier_week", ("week_ending",)),
        Pipeline("finra_symbol_week_value", ("week_ending",)),
        Pipeline("finra_trade_activity"),
        Pipeline("finra_freshness"),
        Pipeline("finra_source_checks"),
        Pipeline("finra_backfill"),
        Pipeline("operations_verify"),
        Pipeline("prices_daily", ("month",)),
        Pipeline("prices_backfill"),
        Pipeline("prices_charts"),
        Pipeline("prices_gold"),
        Pipeline("prices_replay", ("month",)),
    )
}
"""What can be run by name and parameters; every job can be launched by its partition's key."""


def partition_key(pipeline: Pipeline, given: Mapping[str, str]) -> str | None:
    """Return the key of the partition that parameters name, None where there are none.

    Raises:
        ConfigurationError: One is missing, not known, or means nothing.
    """
    strange = sorted(set(given) - set(pipeline.parameters))
    missing = [name for name in pipeline.parameters if name not in given]
    if strange or missing:
        raise ConfigurationError(
            f"{pipeline.job} does not take {', '.join(strange)}"
            if strange
            else f"{pipeline.job} needs {', '.join(missing)}",
            expected=", ".join(pipeline.parameters) or "no parameter",
        )
    parts = [PARAMETERS[name](given[name]) for name in pipeline.parameters]
    return "|".join(parts) or None


def between(keys: Sequence[str], first: date, last: date, part: str | None) -> list[str]:
    """Return those of ``keys`` whose date lies between two days, both included.

    Args:
        keys: Keys of partitions, such as ``T1|2025-01-06`` or ``2025-01-06``.
        first: The first day.
        last: The last day.
        part: Another part that they must have, such as ``T1``; None: any.
    """
    low, high = first.isoformat(), last.isoformat()
    return [
        key
        for key in keys
        if (part is None or part in key.split("|"))
        and any(low <= each <= high for each in key.split("|") if _is_day(each))
    ]


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
