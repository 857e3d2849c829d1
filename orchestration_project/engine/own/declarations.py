"""Declaration of a source of one's own: a dataset with its key, fields, partitions and source.

A value says all that there is to know of a dataset; nothing here fetches or loads. What is wrong
in a declaration is an error when it is made, with the place in the file.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time
from decimal import Decimal
from inspect import signature
from typing import Any, Literal, TypeAlias, TypedDict, Unpack
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from orchestration_project.engine.contracts.contract import Claim
from orchestration_project.engine.contracts.partitioning import (
    PLACE_OF_PARTITION,
    names_partition,
    same_day,
)
from orchestration_project.engine.contracts.partitioning import Calendar as PartitionCalendar
from orchestration_project.engine.contracts.queries import FieldList, Listing, Paging
from orchestration_project.engine.own.dlt_source import DltSource
from orchestration_project.engine.own.dlt_source import dlt_source as dlt_source
from orchestration_project.engine.own.reading import (
    Reading,
    ReadingOptions,
    invalid,
    reading_of,
    requests_per_second,
    require_texts,
)
from orchestration_project.errors import did_you_mean
from orchestration_project.tables.schema import QUANTITY_SUFFIX, USD_SCALE, FieldCheck

REFUSED_NAMES = ("nothing", "returning")
"""Words that SQLite reads as SQL where a name stands, and SQLAlchemy does not quote."""

NAME = re.compile(rf"(?!(?:{'|'.join(REFUSED_NAMES)})$)[a-z][a-z0-9_]{{0,47}}")
"""Shape of the name of a table or column."""

OUR_COLUMNS = ("capture_id", "known_from", "known_to", "change_cause", "rule_version")
"""Columns that each table has besides the declared ones."""

OTHER_FIELDS = "other_fields"
"""Column that collects what the source has besides the declared fields."""

NAMING_FORMATS = ("csv", "json", "ndjson", "html", "xlsx", "parquet", "")
"""Formats whose records name all their fields; empty: parse=."""

HEADER_FORMATS = ("csv", "html", "xlsx", "parquet")
"""Formats that name their fields once, above the records."""

DIRECTIVES = re.compile(r"%-?[aAbBCdeFgGhjmuUVwWyY%]")
"""Directives of `strftime` that a day has; a sign ``-`` before one leaves out its zeros."""

MAX_DIGITS = 18
"""Most digits of an exact decimal: 64 bits keep them."""

Type: TypeAlias = Literal["text", "integer", "boolean", "date", "timestamp", "json", "decimal"]

TYPE_NAMES: Sequence[Type] = ("text", "integer", "boolean", "date", "timestamp", "json")
"""Types by the names that a declaration may use; decimals besides."""

TYPES: Mapping[object, Type] = {
    str: "text",
    int: "integer",
    bool: "boolean",
    date: "date",
    datetime: "timestamp",
    **{name: name for name in TYPE_NAMES},
}
"""The type of a field, by what a declaration may name it by."""

KEY_TYPES: Sequence[Type] = ("text", "integer", "date", "timestamp")
"""Types that a key's fields may have."""

GROWING_TYPES: Sequence[Type] = ("integer", "date", "timestamp")
"""Types that a field may have whose greatest value a source is asked for."""


@dataclass(frozen=True)
class ExactDecimal:
    """Type of exact decimals with at most ``digits`` digits, ``places`` of them decimals."""

    digits: int
    places: int

    def __post_init__(self) -> None:
        if not 1 <= self.digits <= MAX_DIGITS or not 0 <= self.places <= USD_SCALE:
            raise invalid(
                "decimal",
                f"1 to {MAX_DIGITS} digits, 0 to {USD_SCALE} of them decimals",
                f"decimal({self.digits}, {self.places})",
            )
        if not 0 <= self.digits - self.places <= MAX_DIGITS - USD_SCALE:
            expected = f"0 to {MAX_DIGITS - USD_SCALE} digits before the point"
            raise invalid("decimal", expected, f"decimal({self.digits}, {self.places})")

    @property
    def limit(self) -> Decimal:
        """The number that all values are below, whatever their sign."""
        return Decimal(10) ** (self.digits - self.places)


def decimal(digits: int, places: int) -> ExactDecimal:
    """Return the type of exact decimals, such as ``decimal(12, 6)`` for 161.070000."""
    return ExactDecimal(digits, places)


def between(least: Any, most: Any) -> FieldCheck:
    """Return the check that rejects a row whose value is below ``least`` or above ``most``."""
    return FieldCheck("out_of_range", "between", (least, most), f"from {least} to {most}")


def one_of(*values: str) -> FieldCheck:
    """Return the check that rejects a row whose text is none of ``values``."""
    require_texts("one_of", values)
    return FieldCheck("unknown_value", "one_of", values, f"one of {', '.join(values)}")


def matches(pattern: str) -> FieldCheck:
    """Return the check that rejects a row whose text does not match a regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise invalid("pattern", "a regular expression", f"{pattern}: {error}") from None
    return FieldCheck("wrong_form", "matches", (pattern,), f"as {pattern}")


positive = FieldCheck("not_positive", "above", (0,), "above 0")
"""The check that rejects a row whose number is not above 0."""


@dataclass(frozen=True)
class Field:
    """A field of a dataset, which becomes a column of its table.

    Attributes:
        name: Name of the column.
        type: `str`, `int`, `bool`, `date`, `datetime` (a timestamp with zone), ``"json"``, or what
            `decimal` returns; also by the names text, integer, boolean, date, timestamp.
        description: What it is, in which unit.
        source: What the source calls it; a path with dots leads into nested JSON. Default: `name`.
        optional: Whether it may be blank: the column is NULL then.
        check: Rejects a row, as `positive`, `between`, `matches` or `one_of`; also several.
        subject: Kind of person or thing that it identifies, one word, for erasure.
        personal: Whether it is about a person: only admins of the gateway read its values, and
            exports leave it out unless they name it.
    """

    name: str
    type: Any
    description: str
    source: str = ""
    optional: bool = False
    check: FieldCheck | Sequence[FieldCheck] = ()
    subject: str = ""
    personal: bool = False

    def __post_init__(self) -> None:
        what = f"field {self.name!r}"
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise invalid(
                what, "a name of small letters, digits and _, such as trade_date", self.name
            )
        if self.name in OUR_COLUMNS:
            raise invalid(what, "a name that no column of ours has", self.name, "rename it")
        if not isinstance(self.type, ExactDecimal) and self.type not in TYPES:
            known = "str, int, bool, date, datetime, 'json', decimal(12, 6) or a name such as text"
            raise invalid(f"type of {what}", known, repr(self.type))
        if not self.description:
            raise invalid(f"description of {what}", "what it is, in which unit", "nothing")
        if self.subject and (self.kind != "text" or not NAME.fullmatch(self.subject)):
            expected = "one word such as customer, of a field that is a text"
            raise invalid(f"subject of {what}", expected, f"{self.subject!r} of {self.kind}")
        for check in self.checks:
            if not isinstance(check, FieldCheck):
                raise invalid(
                    f"check of {what}", "positive, between, matches or one_of", repr(check)
                )
            self._require_fitting(check)

    def _require_fitting(self, check: FieldCheck) -> None:
        """Make sure that a check can be applied to values of the type."""
        of_text = check.operator in ("matches", "one_of")
        fitting = ("text",) if of_text else ("integer", "decimal", "date")
        if self.kind not in fitting or (check.operator == "above" and self.kind == "date"):
            raise invalid(
                f"check of field {self.name!r}",
                f"a check of the type {self.kind}",
                f"one of {' or '.join(fitting)}: {check.says}",
            )

    @property
    def kind(self) -> Type:
        """Its type in one word."""
        return "decimal" if isinstance(self.type, ExactDecimal) else TYPES[self.type]

    @property
    def stored_name(self) -> str:
        """The name of its column in SQL."""
        return f"{self.name}{QUANTITY_SUFFIX}" if self.kind == "decimal" else self.name

    @property
    def checks(self) -> Sequence[Any]:
        """Its checks, and whatever else was given as one."""
        given = self.check
        return tuple(given) if isinstance(given, list | tuple) else (given,)

    @property
    def source_name(self) -> str:
        """Its name in the source."""
        return self.source or self.name


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
    row_day: Callable[[date], date] = same_day


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
                raise invalid("weekdays", ", ".join(WEEKDAYS), name, remedy)
        self.made()

    def made(self) -> PartitionCalendar:
        """Return the days as partitions have them."""
        is_holiday = _holidays_of(self.market) if self.market else None
        is_named = (
            self.closed if callable(self.closed) else frozenset(map(_day, self.closed)).__contains__
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
        made = PartitionCalendar(weekday=None, delay_days=1, is_every_day=True)
    else:
        made = (Calendar(market=calendar) if isinstance(calendar, str) else calendar).made()
    found = _partitions(since, made, published, column, reread_count, **others)
    if published:
        return found
    _, zone = _published(f"00:00 {zone}")
    return replace(found, calendar=replace(found.calendar, zone=zone))


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
        raise invalid("weekday", ", ".join(WEEKDAYS), weekday, did_you_mean(weekday, WEEKDAYS))
    made = PartitionCalendar(weekday=WEEKDAYS.index(weekday), delay_days=delay_days)
    return _partitions(since, made, published, column, reread_count, delay_days, **others)


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
        raise invalid("day of a month", "1 to 28, which each month has", day)
    made = PartitionCalendar(weekday=None, delay_days=delay_days, month_days=days)
    return _partitions(since, made, published, column, reread_count, delay_days, **others)


def _partitions(
    since: str | date,
    calendar: PartitionCalendar,
    published: str,
    column: str,
    reread_count: int,
    delay_days: int = 0,
    until: str | date = "",
    **others: Any,
) -> Partitions:
    moment, zone = _published(published)
    delay = delay_days if published else calendar.delay_days
    first = _day(since)
    if not NAME.fullmatch(column):
        raise invalid("column of partitions", "a name such as trade_date", column)
    if reread_count < 0:
        raise invalid("reread_count", "0 or more", reread_count)
    for name in others:
        if name not in (known := list(PartitionOptions.__annotations__)):
            raise invalid("partitions", ", ".join(known), name, did_you_mean(name, known))
    require_texts("values of partitions", others.get("values", ()))
    if bool(others.get("value_column")) != bool(others.get("values")):
        raise invalid("values of partitions", "value_column and its values", "one of them")
    last = _day(until) if until else None
    return Partitions(
        since=first,
        calendar=replace(calendar, delay_days=delay, zone=zone, last_day=last),
        column=column,
        published_at=moment,
        reread_count=reread_count,
        **others,
    )


def _day(given: str | date) -> date:
    if isinstance(given, date) and not isinstance(given, datetime):
        return given
    try:
        return date.fromisoformat(str(given))
    except ValueError:
        raise invalid("day", "a day such as 2024-01-02", given) from None


def _published(text: str) -> tuple[time, str]:
    """Return the time of day and the zone of a text such as ``16:15 Europe/Berlin``."""
    if not text:
        return time(), "UTC"
    moment, _, zone = text.partition(" ")
    try:
        found = time.fromisoformat(moment), ZoneInfo(zone).key
    except (ValueError, ZoneInfoNotFoundError, OSError):
        raise invalid("time of publication", "such as 16:15 Europe/Berlin", text) from None
    return found


def _holidays_of(code: str) -> Callable[[date], bool]:
    """Return whether a market is closed on a day, one from Monday to Friday."""
    import holidays  # not at the top: it has 330 modules, and most commands ask no calendar
    from holidays.registry import EntityLoader

    known = [*EntityLoader.get_financial_codes()]  # `list_supported_financial` imports all markets
    if code not in known:
        raise invalid(
            "calendar", "a market of the library holidays", code, did_you_mean(code, known)
        )
    closed: dict[int, frozenset[date]] = {}

    def is_closed(day: date) -> bool:
        if day.year not in closed:
            found = holidays.financial_holidays(code, years=day.year)
            closed[day.year] = frozenset(found)
        return day in closed[day.year]

    return is_closed


@dataclass(frozen=True)
class RowCount:
    """A check of a delivery: how many rows it has; another number quarantines it."""

    min: int = 1
    max: int | None = None


def row_count(min: int = 1, max: int | None = None) -> RowCount:
    """Return the check that a delivery has from ``min`` to ``max`` rows."""
    if min < 0 or (max is not None and max < min):
        raise invalid("row_count", "0 <= min <= max", f"min {min}, max {max}")
    return RowCount(min, max)


@dataclass(frozen=True)
class UsualSize:
    """A check of a delivery: its rows and keys, compared with those that are loaded."""

    min_ratio: float


def usual_size(min_ratio: float) -> UsualSize:
    """Return the check that a delivery has this share of the loaded keys, and of usual rows.

    ``min_ratio`` is from 0 to 1; a first delivery is compared with partitions around it.
    """
    if not 0 < min_ratio <= 1:
        raise invalid("usual_size", "a ratio above 0, at most 1", min_ratio)
    return UsualSize(min_ratio)


@dataclass(frozen=True)
class ClientCredentials:
    """A client of OAuth 2 that gets a token for itself; `client_credentials` makes it."""

    token_url: str
    client_id: str
    client_secret: str
    scope: str = ""


def client_credentials(
    token_url: str, *, client_id: str, client_secret: str, scope: str = ""
) -> ClientCredentials:
    """Return the grant by which a client of OAuth 2 gets a token for itself.

    Args:
        token_url: Address of the token service.
        client_id: Environment variable of the client's ID.
        client_secret: Environment variable of its secret.
        scope: Space-separated scopes; default: those of the client.
    """
    if not token_url.startswith(("http://", "https://")):
        raise invalid("token_url", "an address that begins with https:// or http://", token_url)
    return ClientCredentials(token_url, client_id, client_secret, scope)


@dataclass(frozen=True)
class Incremental:
    """The query parameter that asks for new records alone; `incremental` makes it.

    Attributes:
        parameter: Name of the query parameter.
        field: Field of the dataset whose greatest value it has.
        initial: Value of the parameter in the first load.
    """

    parameter: str
    field: str
    initial: str


def incremental(parameter: str, *, field: str, initial: str) -> Incremental:
    """Return the request of records that are new since the partition before.

    Args:
        parameter: Query parameter that gets the greatest value of ``field`` that was loaded, as the
            source wrote it. A source may send the records with that value again.
        field: Field of the dataset that grows with each new record: an integer, date or timestamp.
        initial: Value of the parameter in the first load.
    """
    return Incremental(parameter, field, initial)


@dataclass(frozen=True)
class Document:
    """A document that has several partitions.

    Attributes:
        name: Its path below the URL of the source; may have ``{partition:%Y}``, as an address.
        days: How many days, up to today, it certainly has; 0: all days.
        is_listing: Whether it is read to list partitions.
    """

    name: str
    days: int = 0
    is_listing: bool = True


@dataclass(frozen=True, kw_only=True)
class HttpSource:
    """A source that answers over HTTP; `http_source` makes it."""

    url: str
    reading: Reading
    headers: Mapping[str, str]
    query: Mapping[str, str]
    secret_headers: Mapping[str, str]
    secret_query: Mapping[str, str]
    bearer: str
    basic: tuple[str, str] | None
    oauth: ClientCredentials | None
    paging: Paging | None
    requests_per_second: int
    max_attempts: int
    documents: Sequence[Document] = ()
    incremental: Incremental | None = None
    json_query: Mapping[str, Any] | None = None
    listing: Listing | None = None
    field_list: FieldList | None = None
    concurrent_requests: int = 1


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """A folder with a file for each partition; `file_source` makes it."""

    path: str
    reading: Reading


def pages(parameter: str = "page", *, size: int, start: int = 1, most: int = 1000) -> Paging:
    """Return paging by number: after a page with fewer than ``size`` records comes an empty one."""
    return Paging(kind="page", parameter=parameter, size=size, start=start, most=most)


def offsets(
    parameter: str = "offset",
    *,
    size: int,
    most: int = 1000,
    limit: str = "",
    total: str = "",
    page_total: str = "",
    max_offset: int = 0,
) -> Paging:
    """Return paging by the number of records before a page.

    Args:
        parameter: What asks for it: a query parameter, or of a query in JSON a member.
        size: Records of a full page.
        most: As of `Paging`.
        limit: Of a query in JSON: the member that asks for at most so many records.
        total: Of a query in JSON: the header of answers that has the number of all its records.
        page_total: The header that has the number of records of a page, if there is one.
        max_offset: The offset up to which a query can be paged; 0: any.
    """
    return Paging(
        kind="offset",
        parameter=parameter,
        size=size,
        start=0,
        most=most,
        limit=limit,
        total=total,
        page_total=page_total,
        max_offset=max_offset,
    )


def cursor(parameter: str, *, path: str, most: int = 1000, optional: bool = False) -> Paging:
    """Return paging by a cursor, which an answer has at ``path`` while there are further pages.

    The last page has null or a blank text there. With ``optional`` it may have nothing there.
    """
    return Paging(kind="cursor", parameter=parameter, path=path, most=most, optional=optional)


def next_url(path: str, *, most: int = 1000, optional: bool = False) -> Paging:
    """Return paging by the URL of the next page; path and end are as of `cursor`."""
    return Paging(kind="next_url", path=path, most=most, optional=optional)


def link_header(*, most: int = 1000) -> Paging:
    """Return paging by the header Link with ``rel="next"``."""
    return Paging(kind="link_header", most=most)


def http_source(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    secret_headers: Mapping[str, str] | None = None,
    secret_query: Mapping[str, str] | None = None,
    bearer: str = "",
    basic: tuple[str, str] | None = None,
    oauth: ClientCredentials | None = None,
    paging: Paging | None = None,
    rate: str = "2/s",
    retries: int = 4,
    documents: Sequence[Document] = (),
    incremental: Incremental | None = None,
    json_query: Mapping[str, Any] | None = None,
    listing: Listing | None = None,
    field_list: FieldList | None = None,
    concurrent_requests: int = 1,
    **reading: Unpack[ReadingOptions],
) -> HttpSource:
    """Return a source of documents over HTTP.

    Secrets are named, not given: the environment variable of a name is read when a request is sent.

    Args:
        url: Address; ``{partition:%Y-%m-%d}`` stands for the day, in a notation of `strftime`,
            ``{value}`` for the other value of a partition.
        headers: Headers of requests.
        query: Parameters of the query, which may name the partition, too.
        secret_headers: Environment variables of headers, such as ``{"X-Api-Key": "MY_KEY"}``.
        secret_query: Environment variables of query parameters.
        bearer: Environment variable of a bearer token.
        basic: Environment variables of a user and a password.
        oauth: Client that gets a token, as of `client_credentials`.
        paging: How pages follow; `pages`, `offsets`, `cursor`, `next_url` or `link_header`.
        rate: Requests a second at most, such as ``2/s``.
        retries: Further attempts after a fault that may pass.
        documents: Documents below ``url`` that have several partitions each. They list which
            partitions there are, in place of the calendar.
        incremental: The request of what is new since the partition before, as of `incremental`.
        json_query: A query in JSON, sent by POST, whose texts may have the places ``{partition}``,
            the day of the rows, and ``{value}``. It is paged by `offsets` with a limit and a total:
            as many records must come as the source says. More than one page is read twice.
        listing: List of the partitions of such a query, in place of the calendar.
        field_list: List of its fields, which a load compares with the declared ones.
        concurrent_requests: Pages of such a query that are requested at once.
        reading: How records are read, as of `Reading`: ``format`` and its options, or ``parse``.
    """
    if not url.startswith(("http://", "https://")):
        raise invalid("URL", "an address that begins with https:// or http://", url)
    _require_template(url, query or {})
    names = [*(secret_headers or {}).values(), *(secret_query or {}).values()]
    names += [bearer] if bearer else []
    names += [*basic] if basic else []
    names += [oauth.client_id, oauth.client_secret] if oauth else []
    per_second = requests_per_second(rate, retries, names)
    if oauth and (bearer or basic):
        raise invalid("access", "oauth alone", f"oauth and {'bearer' if bearer else 'basic'}")
    made = reading_of(reading, signature(http_source).parameters)
    others = [incremental.parameter] if incremental else []
    _require_plain(documents, paging, [*(headers or ()), *(query or ()), *names, *others])
    _require_query(json_query, paging, listing or field_list, [*documents, *(query or ()), *others])
    if paging is not None and paging.kind in ("cursor", "next_url") and made.format != "json":
        found_format = made.format or "parse="
        raise invalid("paging", "format json for a cursor or URL in the answer", found_format)
    return HttpSource(
        url=url,
        reading=made,
        headers=headers or {},
        query=query or {},
        secret_headers=secret_headers or {},
        secret_query=secret_query or {},
        bearer=bearer,
        basic=basic,
        oauth=oauth,
        paging=paging,
        requests_per_second=per_second,
        max_attempts=retries + 1,
        documents=documents,
        incremental=incremental,
        json_query=json_query,
        listing=listing,
        field_list=field_list,
        concurrent_requests=concurrent_requests,
    )


def file_source(path: str, **reading: Unpack[ReadingOptions]) -> FileSource:
    """Return a source of files, such as ``in/prices_{partition:%Y%m%d}.csv``.

    A relative path is below the project folder. The other arguments are those of `Reading`.
    """
    _require_template(path, {})
    return FileSource(path=path, reading=reading_of(reading, ("path",)))


def _require_plain(
    documents: Sequence[Document], paging: Paging | None, names: Sequence[str]
) -> None:
    """Make sure that documents need nothing but their addresses."""
    for document in documents:
        _require_template(document.name, {})
    if documents and (paging is not None or names):
        found = "paging" if paging is not None else ", ".join(names)
        raise invalid("documents", "no paging, headers, query and secrets beside them", found)


def _require_query(
    query: Mapping[str, Any] | None, paging: Paging | None, lists: object, others: Sequence[object]
) -> None:
    """Make sure that a query in JSON says how many records it has, and has its parts alone."""
    counts = paging is not None and bool(paging.total and paging.limit)
    if query is None and (lists or counts):
        raise invalid(
            "json_query", "a query beside listing, field_list and total of offsets", "none"
        )
    if query is not None and not counts:
        expected = "offsets(…, limit=, total=) beside a query in JSON"
        raise invalid("paging", expected, "none" if paging is None else paging.kind)
    if query is not None and others:
        expected = "no documents, query and incremental beside a query in JSON"
        raise invalid("json_query", expected, ", ".join(map(str, others)))


def _require_template(url: str, query: Mapping[str, str]) -> None:
    """Make sure that braces of a template are places of the partition."""
    for text in (url, *query.values()):
        if wrong := re.search(r"[{}][^{}]*[{}]?", PLACE_OF_PARTITION.sub("", text)):
            raise invalid("template", "{partition} or {partition:%Y-%m-%d}", wrong[0])
        for place in PLACE_OF_PARTITION.finditer(text):
            if unknown := re.sub(DIRECTIVES, "", place["form"] or "").count("%"):
                expected = "directives of strftime for a day, such as %Y-%m-%d"
                raise invalid("template", expected, f"{place[0]}: {unknown} unknown")


def require_fields(what: str, fields: Sequence[Field], columns: Sequence[str] = ()) -> None:
    """Make sure of the type of each field, and that each column of the table has its own name.

    Args:
        what: The dataset or derived table, for the error.
        fields: Its fields.
        columns: Names of its further columns, which may be those of fields.

    Raises:
        ConfigurationError: The list is empty, has another value, or two columns have one name.
    """
    if not isinstance(fields, list | tuple) or not fields:
        found = "none" if isinstance(fields, list | tuple) else repr(fields)
        raise invalid(f"fields of {what}", "at least one", found)
    if wrong := next((each for each in fields if not isinstance(each, Field)), None):
        raise invalid(f"fields of {what}", 'such as Field("rate", int, "cents")', repr(wrong))
    names = [each.name for each in fields]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise invalid(f"fields of {what}", "each name once", f"{twice} twice")
    for each in fields:
        if each.kind == "decimal" and each.stored_name in {*names, *columns}:
            expected = f"no column {each.stored_name}, which the decimal {each.name} has in SQL"
            raise invalid(f"fields of {what}", expected, each.stored_name, "rename one of them")


@dataclass(frozen=True)
class Dataset:
    """A dataset of one's own: from its source to a table with captures, checks and history.

    Attributes:
        name: Name of its table, and of its asset within the project.
        key: Columns that identify a row; the column of the partition need not be named.
        partitions: Which partitions it has: `Daily`, `Weekly` or `Monthly`.
        fields: Its fields, in the order of the columns.
        source: Where it comes from: `http_source`, `file_source` or `dlt_source`.
        checks: Checks of a whole delivery, which quarantine it: `row_count`, `usual_size`.
        description: What one row is.
        max_reject_ratio: Rejected share of records (0-1) above which a delivery is quarantined.
        licence: Terms under which it is available.
        owners: Dagster's owners, such as ``team:market``.
        grace_hours: Hours after publication until a partition counts as late.
        new_fields: What becomes of fields that the source has and this names not: they are ignored,
            refuse the delivery, or are collected as JSON in the column other_fields.
        missing_fields: What a header without an optional field does: it refuses the delivery, or
            is ignored, so that the column is NULL. Members of JSON and XML may always be left out.
        rule_version: Version of its rules, in place of a hash of the declaration; raise it with
            each change that makes other rows of the same bytes.
    """

    name: str
    key: Sequence[str]
    partitions: Partitions
    fields: Sequence[Field]
    source: HttpSource | FileSource | DltSource
    checks: Sequence[RowCount | UsualSize | Claim] = ()
    description: str = ""
    max_reject_ratio: float = 0.0
    licence: str = "not stated"
    owners: Sequence[str] = field(default=("team:data",))
    grace_hours: int = 12
    new_fields: Literal["ignore", "refuse", "collect"] = "ignore"
    missing_fields: Literal["refuse", "ignore"] = "refuse"
    rule_version: str = ""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            expected = "a name of small letters, digits and _, such as rates_daily"
            raise invalid(f"dataset {self.name!r}", expected, self.name)
        what = f"dataset {self.name!r}"
        self._require_parts(what)
        self._require_fields(what)
        self._require_changes_of_fields(what)
        self._require_key(what)
        self._require_partition(what)
        self._require_growing_field(what)
        if not 0 <= self.max_reject_ratio <= 1:
            raise invalid(f"max_reject_ratio of {what}", "0 to 1", self.max_reject_ratio)
        for check in self.checks:
            if not isinstance(check, RowCount | UsualSize | Claim):
                raise invalid(f"checks of {what}", "row_count(…) or usual_size(…)", repr(check))

    def _require_parts(self, what: str) -> None:
        """Make sure that each part is of its type, as Python does not."""
        require_texts(f"key of {what}", self.key)
        require_texts(f"owners of {what}", self.owners)
        if not isinstance(self.partitions, Partitions):
            expected = "Daily(…), Weekly(…) or Monthly(…)"
            raise invalid(f"partitions of {what}", expected, repr(self.partitions))
        if not isinstance(self.source, HttpSource | FileSource | DltSource):
            expected = "http_source(…), file_source(…) or dlt_source(…)"
            raise invalid(f"source of {what}", expected, repr(self.source))

    def _require_fields(self, what: str) -> None:
        require_fields(what, self.fields, [self.partitions.column])
        subjects = [each for each in self.fields if each.subject]
        reading = self.source.reading
        if subjects and not reading.is_plain:
            raise invalid(
                f"subject of field {subjects[0].name!r}",
                "a source with a format of lines or JSON, as records are cut out of captured bytes",
                ", ".join([reading.format or "parse=", *reading.options]),
                "leave subject out: the field is outside erasure then",
            )
        for each in self.fields if reading.positions else ():
            if each.source_name not in (reading.positions or {}):
                raise invalid(f"positions of {what}", "those of each field", f"no {each.name}")

    def _require_changes_of_fields(self, what: str) -> None:
        """Make sure that the decisions on new and missing fields fit the format."""
        decisions = {
            "new_fields": (self.new_fields, ("ignore", "refuse", "collect"), NAMING_FORMATS),
            "missing_fields": (self.missing_fields, ("refuse", "ignore"), HEADER_FORMATS),
        }
        found = self.source.reading.format
        for name, (value, values, formats) in decisions.items():
            if value not in values:
                remedy = did_you_mean(str(value), values)
                raise invalid(f"{name} of {what}", ", ".join(values), value, remedy)
            if value != values[0] and found not in formats:
                expected = f"one of the formats {', '.join(filter(None, formats))}"
                raise invalid(f"{name} of {what}", expected, found or "parse=")
        if any(each.name == OTHER_FIELDS for each in self.fields if self.collects):
            raise invalid(f"fields of {what}", f"none called {OTHER_FIELDS}", OTHER_FIELDS)

    @property
    def collects(self) -> bool:
        """Whether fields that are not declared are collected."""
        return self.new_fields == "collect"

    @property
    def stored_fields(self) -> Sequence[Field]:
        """Its fields, and the one that collects others, if it does."""
        others = Field(
            OTHER_FIELDS, "json", "fields of the source that are not declared", optional=True
        )
        return [*self.fields, *([others] if self.collects else [])]

    def _require_key(self, what: str) -> None:
        if not self.key:
            raise invalid(f"key of {what}", "at least one field", "none")
        by_name = {each.name: each for each in self.fields}
        for name in self.key:
            field = by_name.get(name)
            if field is None and name != self.partitions.column:
                remedy = did_you_mean(name, by_name)
                raise invalid(f"key of {what}", "names of its fields", name, remedy)
            if field is not None and (field.kind not in KEY_TYPES or field.optional):
                expected = f"required fields of the types {', '.join(KEY_TYPES)}"
                raise invalid(f"key of {what}", expected, name)

    def _require_partition(self, what: str) -> None:
        """Make sure that the records of a partition differ from those of others."""
        column, value_column = self.partitions.column, self.partitions.value_column
        texts = [each.name for each in self.fields if each.kind == "text"]
        if value_column and value_column not in texts:
            remedy = did_you_mean(value_column, texts)
            raise invalid(f"value_column of {what}", "a field that is a text", value_column, remedy)
        if not value_column and "{value}" in repr(self._templates):
            expected = "partitions with value_column and values"
            raise invalid(f"template of {what}", expected, "{value}")
        documents = self.source.documents if isinstance(self.source, HttpSource) else ()
        if value_column and (self.is_incremental or documents):
            expected = "a source without documents and incremental"
            raise invalid(f"value_column of {what}", expected, value_column)
        field = next((each for each in self.fields if each.name == column), None)
        if field is not None and field.kind != "date":
            raise invalid(f"field {column!r}", "a date, as it names partitions", field.kind)
        if self.is_incremental and field is not None:
            raise invalid(
                f"partitions of {what}",
                "a column that is not a field, as a partition has the rows that were new then",
                column,
                "name another column by column= of the partitions",
            )
        if field is None and isinstance(self.source, DltSource) and not self._names_partition:
            raise invalid(
                f"source of {what}",
                "a function with the parameter day, incremental=True, or a field with the day",
                "the same rows for all partitions",
                "let the function take the day, or name the field by column= of the partitions",
            )
        if field is None and not self._names_partition:
            raise invalid(
                f"source of {what}",
                "an address with {partition}, or a field with the day",
                "the same address for all partitions",
                "write {partition} into it, or name the field by column= of the partitions",
            )

    @property
    def is_incremental(self) -> bool:
        """Whether a partition has what is new since the one before."""
        if isinstance(self.source, DltSource):
            return self.source.is_incremental
        return isinstance(self.source, HttpSource) and self.source.incremental is not None

    @property
    def growing_field(self) -> Field | None:
        """The field that says which records of an HTTP source are new."""
        given = self.source.incremental if isinstance(self.source, HttpSource) else None
        return next((each for each in self.fields if given and each.name == given.field), None)

    def _require_growing_field(self, what: str) -> None:
        field = self.growing_field
        is_missing = field is None or field.kind not in GROWING_TYPES or field.optional
        if isinstance(self.source, HttpSource) and self.source.incremental and is_missing:
            expected = f"a required field of the types {', '.join(GROWING_TYPES)}"
            raise invalid(f"incremental of {what}", expected, self.source.incremental.field)

    @property
    def _names_partition(self) -> bool:
        if self.is_incremental:
            return True
        if isinstance(self.source, DltSource):
            return self.source.takes_day
        return any(map(names_partition, self._templates))

    @property
    def _templates(self) -> Sequence[Any]:
        """Templates of a request, or of the path of a file."""
        if isinstance(self.source, HttpSource):
            return [self.source.url, *self.source.query.values(), self.source.json_query]
        return [self.source.path] if isinstance(self.source, FileSource) else ()

    @property
    def has_day_field(self) -> bool:
        """Whether its records have the day of their partition."""
        return any(each.name == self.partitions.column for each in self.fields)

    @property
    def key_columns(self) -> Sequence[str]:
        """The columns of its key, with that of the partition."""
        named = (self.partitions.column, self.partitions.value_column)
        added = [name for name in named if name and name not in self.key]
        return (*added, *self.key)

    @property
    def has_total(self) -> bool:
        """Whether its source says how many records a partition has."""
        return isinstance(self.source, HttpSource) and self.source.json_query is not None
