"""Partitions of a declared dataset: days by a calendar, and their publication."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import Any, TypedDict, Unpack
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from orchestration_project.engine.contracts.partitioning import Calendar as PartitionCalendar
from orchestration_project.engine.contracts.partitioning import keep_day
from orchestration_project.engine.own.fields import NAME
from orchestration_project.engine.own.reading import build_config_error, require_texts
from orchestration_project.errors import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Partitions:
    """Days that name the partitions of a dataset; `Daily`, `Weekly` and `Monthly` make it.

    Attributes:
        since: The first day.
        calendar: Which days name partitions, and when they are published.
        column: The column that has the day. Unless it is a field, it is added and filled; of a
            field, records of other days belong to other partitions.
        published_at: Time of day of publication, in the calendar's zone.
        reread_count: How many of the newest partitions are read again for changes.
        value_column: The field that has the other value of partitions; blank: there is none.
        values: What that value may be.
        row_day: Returns the day that rows of a partition have, by the day that names it.
    """

    since: date
    calendar: PartitionCalendar
    column: str
    published_at: time
    reread_count: int
    value_column: str = ""
    values: Sequence[str] = ()
    row_day: Callable[[date], date] = keep_day


class PartitionOptions(TypedDict, total=False):
    """Arguments that `Daily`, `Weekly` and `Monthly` have in common.

    Attributes:
        until: The last day that names a partition, of a source that ended.
        value_column: As of `Partitions`, such as ``region`` for a partition of each day and region.
        values: As of `Partitions`.
        row_day: As of `Partitions`; such a day comes before the next one that names a partition.
    """

    until: str | date
    value_column: str
    values: Sequence[str]
    row_day: Callable[[date], date]


WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Days for which a source has data: days of the week, but for holidays and closed days.

    Attributes:
        market: Code of a market of the library holidays, such as XNYS; empty: no holidays.
        closed: Further days without data, such as 2026-12-24, or a function that finds them.
        weekdays: Days of the week with data; Monday to Friday by default.
        skips: Whether the source is not asked for days without data. If not, such days are not
            late, and are loaded where the source lists them.
    """

    market: str = ""
    closed: Sequence[str | date] | Callable[[date], bool] = ()
    weekdays: Sequence[str] = WEEKDAYS[:5]
    skips: bool = True

    def __post_init__(self) -> None:
        require_texts("weekdays", self.weekdays)
        for name in self.weekdays or ("none",):
            if name not in WEEKDAYS:
                remedy = did_you_mean(name, WEEKDAYS)
                raise build_config_error("weekdays", ", ".join(WEEKDAYS), name, remedy)
        self.made()

    def made(self) -> PartitionCalendar:
        """Return the days as partitions have them."""
        is_holiday = _load_holidays(self.market) if self.market else None
        is_named = (
            self.closed
            if callable(self.closed)
            else frozenset(map(_parse_day, self.closed)).__contains__
        )
        numbers = frozenset(WEEKDAYS.index(name) for name in self.weekdays)

        def is_closed(day: date) -> bool:
            is_free = is_named(day) or day.weekday() not in numbers
            return is_free or (is_holiday is not None and is_holiday(day))

        return PartitionCalendar(
            weekday=None,
            delay_days=1,
            is_holiday=is_closed,
            skips_holidays=self.skips,
            is_every_day=bool(numbers & {5, 6}),
        )


def Daily(  # noqa: N802 - a declaration reads like a value
    since: str | date,
    *,
    calendar: str | Calendar = "",
    published: str = "",
    column: str = "day",
    reread_count: int = 4,
    zone: str = "UTC",
    **others: Unpack[PartitionOptions],
) -> Partitions:
    """Return a partition for each day, or for each business day of a calendar.

    Args:
        since: The first day, yyyy-mm-dd.
        calendar: Code of a market of the library holidays, such as XNYS or XECB: Monday to Friday
            but for its holidays; or a `Calendar`. Default: all days.
        published: When the source has a day, such as ``"16:15 Europe/Berlin"`` on the day itself.
            Default: at the end of the day in ``zone``.
        column: As of `Partitions`.
        reread_count: As of `Partitions`.
        zone: Time zone of the days, where ``published`` names none.
        others: As of `PartitionOptions`.
    """
    if calendar == "":
        partition_calendar = PartitionCalendar(weekday=None, delay_days=1, is_every_day=True)
    else:
        partition_calendar = (
            Calendar(market=calendar) if isinstance(calendar, str) else calendar
        ).made()
    partitions = _build_partitions(
        since, partition_calendar, published, column, reread_count, **others
    )
    if published:
        return partitions
    _, zone = _parse_published(f"00:00 {zone}")
    return replace(partitions, calendar=replace(partitions.calendar, zone=zone))


def Weekly(  # noqa: N802 - a declaration reads like a value
    since: str | date,
    *,
    weekday: str = "Monday",
    published: str = "",
    delay_days: int = 7,
    column: str = "week",
    reread_count: int = 4,
    **others: Unpack[PartitionOptions],
) -> Partitions:
    """Return a partition for each week, named by one day of it.

    Args:
        since: The first day, yyyy-mm-dd.
        weekday: The day that names a week, such as Friday.
        published: As of `Daily`; ``delay_days`` are added to its day.
        delay_days: Days from the day that names a week to its publication.
        column: As of `Partitions`.
        reread_count: As of `Partitions`.
        others: As of `PartitionOptions`.
    """
    if weekday not in WEEKDAYS:
        raise build_config_error(
            "weekday", ", ".join(WEEKDAYS), weekday, did_you_mean(weekday, WEEKDAYS)
        )
    partition_calendar = PartitionCalendar(weekday=WEEKDAYS.index(weekday), delay_days=delay_days)
    return _build_partitions(
        since, partition_calendar, published, column, reread_count, delay_days, **others
    )


def Monthly(  # noqa: N802 - a declaration reads like a value
    since: str | date,
    *,
    day: int | Sequence[int] = 1,
    published: str = "",
    delay_days: int = 31,
    column: str = "month",
    reread_count: int = 4,
    **others: Unpack[PartitionOptions],
) -> Partitions:
    """Return a partition for each month, named by one day of it, the first by default.

    Several days name as many partitions of a month. The other arguments are those of `Weekly`.
    """
    days = (day,) if isinstance(day, int) else tuple(day)
    if not days or not set(days) <= set(range(1, 29)):
        raise build_config_error("day of a month", "1 to 28, which each month has", day)
    partition_calendar = PartitionCalendar(weekday=None, delay_days=delay_days, month_days=days)
    return _build_partitions(
        since, partition_calendar, published, column, reread_count, delay_days, **others
    )


def _build_partitions(
    since: str | date,
    calendar: PartitionCalendar,
    published: str,
    column: str,
    reread_count: int,
    delay_days: int = 0,
    until: str | date = "",
    **others: Any,
) -> Partitions:
    moment, zone = _parse_published(published)
    delay = delay_days if published else calendar.delay_days
    first = _parse_day(since)
    if not NAME.fullmatch(column):
        raise build_config_error("column of partitions", "a name such as trade_date", column)
    if reread_count < 0:
        raise build_config_error("reread_count", "0 or more", reread_count)
    for name in others:
        if name not in (known_names := list(PartitionOptions.__annotations__)):
            raise build_config_error(
                "partitions", ", ".join(known_names), name, did_you_mean(name, known_names)
            )
    require_texts("values of partitions", others.get("values", ()))
    if bool(others.get("value_column")) != bool(others.get("values")):
        raise build_config_error(
            "values of partitions", "value_column and its values", "one of them"
        )
    last = _parse_day(until) if until else None
    return Partitions(
        since=first,
        calendar=replace(calendar, delay_days=delay, zone=zone, last_day=last),
        column=column,
        published_at=moment,
        reread_count=reread_count,
        **others,
    )


def _parse_day(given: str | date) -> date:
    if isinstance(given, date) and not isinstance(given, datetime):
        return given
    try:
        return date.fromisoformat(str(given))
    except ValueError:
        raise build_config_error("day", "a day such as 2024-01-02", given) from None


def _parse_published(text: str) -> tuple[time, str]:
    """Return the time of day and the zone of a text such as ``16:15 Europe/Berlin``."""
    if not text:
        return time(), "UTC"
    moment, _, zone = text.partition(" ")
    try:
        published = time.fromisoformat(moment), ZoneInfo(zone).key
    except (ValueError, ZoneInfoNotFoundError, OSError):
        raise build_config_error(
            "time of publication", "such as 16:15 Europe/Berlin", text
        ) from None
    return published


def _load_holidays(code: str) -> Callable[[date], bool]:
    """Return whether a market is closed on a day, one from Monday to Friday."""
    import holidays  # not at the top: it has 330 modules, and most commands ask no calendar
    from holidays.registry import EntityLoader

    known_names = [
        *EntityLoader.get_financial_codes()
    ]  # `list_supported_financial` imports all markets
    if code not in known_names:
        raise build_config_error(
            "calendar", "a market of the library holidays", code, did_you_mean(code, known_names)
        )
    closed: dict[int, frozenset[date]] = {}

    def is_closed(day: date) -> bool:
        if day.year not in closed:
            financial_holidays = holidays.financial_holidays(code, years=day.year)
            closed[day.year] = frozenset(financial_holidays)
        return day in closed[day.year]

    return is_closed
