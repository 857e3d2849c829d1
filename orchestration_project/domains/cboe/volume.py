"""Cboe's daily market volume: its calendar, its yearly files, and the contract of a day.

Cboe publishes a CSV file per year, which grows by a day each evening. Its fields and names were
compared in public clients: `log_pose.market` and a scraper of the Texas Stock Exchange's volume
(2026, address, header, ISO days, totals), the database of a Taiwanese client (column names), and
`01_daily_volume.q` of dpkwhan/dv (names of participants from 2007 to 2019, and which of them are
off exchange). A participant is a name with letters in parentheses. Exchanges were renamed and kept
their letters, so the letters are the key. Letters that begin with D are FINRA's: its Alternative
Display Facility, and Trade Reporting Facilities (TRF) with Nasdaq, NYSE and, until 2013, NSX.
"""

import csv
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta
from functools import cache
from hashlib import sha256
from typing import Any

import holidays
import polars as pl

from orchestration_project.contracts.balance import Conservation, Measure
from orchestration_project.contracts.contract import Claim, Contract
from orchestration_project.contracts.delimited import PLACE, REJECT, Parsed
from orchestration_project.contracts.partitioning import (
    A_DAY,
    NEW_YORK,
    Calendar,
    Partition,
    Partitioning,
    day_or_none,
)
from orchestration_project.contracts.parts import Part
from orchestration_project.contracts.rules import in_ascii
from orchestration_project.contracts.values import QUANTITY, in_table_order
from orchestration_project.errors import SourceError
from orchestration_project.tables.cboe import (
    CODE_FIELD,
    MARKET_VOLUME_FIELDS,
    TAPES,
    market_volume_daily,
    off_exchange_share_daily,
    off_exchange_share_weekly,
)

RECENT = timedelta(days=30)
"""How far back a sensor looks for days that were never loaded."""

FILE_FIELDS = tuple(each.name for each in MARKET_VOLUME_FIELDS if each.name != CODE_FIELD)
BLANKS_OF_DAY = re.compile(r"^([0-9-]+)\s+,")
CODE = re.compile(r"\(([^()]*)\)\s*$")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WORST_NOTIONAL_ROUNDING = 3 * 5_000
"""Half a cent for each tape, in 10^-6 US dollars."""

OFF_EXCHANGE_CODES = ("D", "DB", "DC", "DN", "DQ")


@cache
def _closed_days(year: int) -> frozenset[date]:
    return frozenset(holidays.financial_holidays("NYSE", years=year))


def is_closed(day: date) -> bool:
    """Whether the exchanges keep a holiday on ``day``; on other federal holidays they trade."""
    return day in _closed_days(day.year)


def is_off_exchange(code: pl.Expr) -> pl.Expr:
    """Return whether a participant's code is one of FINRA's facilities."""
    return code.str.starts_with("D")


CALENDAR = Calendar(
    weekday=None, delay_days=1, is_holiday=is_closed, skips_holidays=True, zone=NEW_YORK
)
PARTITIONING = Partitioning("market_volume_daily", CALENDAR, day_column="trade_date")
WEEKS = Partitioning(
    "off_exchange_share_weekly",
    Calendar(weekday=0, delay_days=7, zone=NEW_YORK),
    day_column="week_start",
)


def _excess(amount: str) -> pl.Expr:
    """Return the total of an amount less the sum of its tapes."""
    return pl.col(f"total_{amount}") - pl.sum_horizontal(f"tape_{each}_{amount}" for each in TAPES)


CONTRACT = Contract(
    market_volume_daily,
    MARKET_VOLUME_FIELDS,
    partition_fields=("Day",),
    claims=(
        Claim(
            "has_totals_of_shares_and_trades",
            "Total shares and total trades are the sums of the tapes.",
            (_excess("share_quantity") != 0) | (_excess("trade_count") != 0),
        ),
        Claim(
            "has_totals_of_notional",
            "Total notional is the sum of the tapes, within half a cent for each.",
            _excess("notional_usd").abs() > WORST_NOTIONAL_ROUNDING,
            only_warns=True,
        ),
        Claim(
            "has_known_off_exchange_codes",
            f"A code that begins with D is one of {', '.join(OFF_EXCHANGE_CODES)}.",
            is_off_exchange(pl.col("participant_code"))
            & ~pl.col("participant_code").is_in(OFF_EXCHANGE_CODES),
            only_warns=True,
        ),
    ),
    rule_version="2",
    has_record_total=False,
)


def file_of(year: int) -> str:
    """Return the name of a year's file."""
    return f"market_history_{year}.csv"


def documents_of(partition: Partition, today: date) -> Sequence[str]:
    """Return the file that may have a day."""
    return (file_of(partition.day.year),)


def listings_of(since: date | None, today: date) -> Sequence[str]:
    """Return the files of all years from ``since`` to that of the last session before ``today``."""
    last = today - A_DAY
    while not CALENDAR.names(last) or is_closed(last):
        last -= A_DAY
    first = last.year if since is None else min(since.year, last.year)
    return [file_of(year) for year in range(first, last.year + 1)]


def partitions_in(body: bytes) -> list[Partition]:
    """Return the days that a file has, oldest first.

    Raises:
        SourceError: It is not a year's file of market volume.
    """
    days = {line[:10] for line in _lines(body)}
    return sorted(Partition(date.fromisoformat(each)) for each in days)


def version_in(body: bytes, partition: Partition) -> str | None:
    """Return the state of a day in a file, as a hash of its lines; None: it has no such day.

    Raises:
        SourceError: It is not a year's file of market volume.
    """
    lines = sorted(line for _, line in _of_day(_lines(body), partition.day))
    if not lines:
        return None
    return f"{len(lines)} lines, {sha256(chr(10).join(lines).encode()).hexdigest()[:16]}"


def parse(parts: Sequence[Part], partition: Partition) -> Parsed:
    """Return the lines of a day as texts; the other days of a file are not.

    Raises:
        SourceError: A part is not a year's file of market volume.
    """
    rows: list[tuple[int | str, ...]] = []
    rejects: list[tuple[int | str, ...]] = []
    other_day_count = 0
    for part in parts:
        lines = _lines(part.body)
        other_day_count += sum(not line.startswith(partition.day.isoformat()) for line in lines)
        for number, line in _of_day(lines, partition.day):
            found = _fields_of(line)
            if len(found) == len(FILE_FIELDS):
                day, name, *amounts = found
                code = CODE.search(name)
                rows.append(
                    (part.part_number, number, day, code[1] if code else "", name, *amounts)
                )
            else:
                reason = f"the line has {len(found)} fields, the header has {len(FILE_FIELDS)}"
                rejects.append((part.part_number, number, "wrong_field_count", reason))
    names = [each.name for each in MARKET_VOLUME_FIELDS]
    return Parsed(
        pl.DataFrame(rows, PLACE | dict.fromkeys(names, pl.String()), orient="row"),
        pl.DataFrame(rejects, REJECT, orient="row"),
        filtered={"other_days": other_day_count},
    )


def _of_day(lines: Sequence[str], day: date) -> list[tuple[int, str]]:
    """Return the lines of a day, each with its number in the file."""
    name = day.isoformat()
    return [(number, line) for number, line in enumerate(lines, 2) if line.startswith(name)]


def _lines(body: bytes) -> list[str]:
    """Return the lines below the header.

    Raises:
        SourceError: The header is another one, a line does not begin with a day of the same year
            as all others, or the last line is cut.
    """
    try:
        text = body.removeprefix(BYTE_ORDER_MARK).decode()
    except UnicodeDecodeError as error:
        raise _not_volume("text in UTF-8", str(error)) from error
    header, *lines = text.split("\n")
    if _fields_of(header.removesuffix("\r")) != list(FILE_FIELDS):
        raise _not_volume(f"a header {','.join(FILE_FIELDS)}", in_ascii(body, 200))
    if lines and not lines[-1]:
        lines.pop()
    elif lines and len(_fields_of(lines[-1])) < len(FILE_FIELDS):
        raise _not_volume("a whole last line", f"{lines[-1]!a}, without its end")
    lines = [BLANKS_OF_DAY.sub(r"\1,", line.strip()) for line in lines]
    wrong = next((each for each in lines if not _begins_with_day(each)), None)
    if wrong is not None:
        raise _not_volume("lines that begin with a day, yyyy-mm-dd", ascii(wrong[:200]))
    years = sorted({line[:4] for line in lines})
    if len(years) != 1:
        raise _not_volume("days of one year", ", ".join(years) or "no day")
    return lines


def _fields_of(line: str) -> list[str]:
    """Return the fields of a line; none of one that `csv` refuses, such as more than 128 KiB."""
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _begins_with_day(line: str) -> bool:
    return line[10:11] == "," and day_or_none(line[:10]) is not None


def _not_volume(expected: str, found: str) -> SourceError:
    return SourceError(
        "the answer is not a file of Cboe's market volume",
        expected=expected,
        found=found,
        remedy="see what answers at CBOE_API_URL; if Cboe changed its format, report it",
    )


AMOUNTS = {"share_quantity": "share", "notional_usd": "notional", "trade_count": "trade"}
"""Measured amounts, and the name of the ratio of each."""

SUMS = tuple(f"{side}_{amount}" for amount in AMOUNTS for side in ("exchange", "off_exchange"))
WEEK_DAYS = 5


def monday_of(day: date) -> date:
    """Return the Monday of the week that holds ``day``."""
    return day - timedelta(days=day.weekday())


def week_days(week_start: date) -> list[date]:
    """Return the days from Monday to Friday of a week."""
    return [week_start + number * A_DAY for number in range(WEEK_DAYS)]


def session_days(week_start: date) -> list[date]:
    """Return the days of a week on which the exchanges trade."""
    return [each for each in week_days(week_start) if not is_closed(each)]


def off_exchange_daily(rows: pl.DataFrame) -> pl.DataFrame:
    """Return `off_exchange_share_daily` of a day, by its rows of `market_volume_daily`."""
    is_off = is_off_exchange(pl.col("participant_code"))
    sides = {"exchange": ~is_off, "off_exchange": is_off}
    scopes = {each.upper(): f"tape_{each}" for each in TAPES} | {"all": "total"}
    by_tape = [
        rows.group_by("trade_date")
        .agg(
            pl.col(f"{scope}_{amount}").filter(of_side).sum().alias(f"{side}_{amount}")
            for amount in AMOUNTS
            for side, of_side in sides.items()
        )
        .with_columns(tape=pl.lit(tape))
        for tape, scope in scopes.items()
    ]
    unloaded = pl.lit(None, pl.Datetime("us", "UTC"))  # the load writes its own time
    return in_table_order(
        pl.concat(by_tape).with_columns(*_ratios(), known_from=unloaded), off_exchange_share_daily
    )


CONSERVATION = Conservation(
    source=market_volume_daily,
    derived=off_exchange_share_daily,
    partition=["trade_date"],
    measures=[
        Measure(
            name,
            [f"{scope}_{amount}" for scope in (*(f"tape_{tape}" for tape in TAPES), "total")],
            [f"{side}_{amount}" for side in ("exchange", "off_exchange")],
        )
        for name, amount in {"shares": "share_quantity", "trades": "trade_count"}.items()
    ],
)
"""Shares and trades of the tapes and of all of them are those on and off exchange."""


def off_exchange_weekly(
    days: pl.DataFrame, tiers: pl.DataFrame, *, week_start: date
) -> pl.DataFrame:
    """Return `off_exchange_share_weekly` of a week.

    Args:
        days: Its rows of `off_exchange_share_daily`; at least those of one day.
        tiers: A row for each loaded one of FINRA's tiers T1 and T2: ats_share_quantity,
            non_ats_share_quantity, published_at, known_from.
        week_start: Its Monday.
    """
    sessions = len(session_days(week_start))
    finra = ("ats_share_quantity", "non_ats_share_quantity")
    has_finra = pl.lit(len(tiers) == len(NMS_TIERS)) & (pl.col("tape") == "all")
    is_whole = pl.col("day_count") == sessions
    known_from = max(filter(None, [*days["known_from"], *tiers["known_from"]]), default=None)
    published_at = max(filter(None, tiers["published_at"]), default=None)
    return in_table_order(
        days.group_by("tape")
        .agg(day_count=pl.len().cast(pl.Int64), **{name: pl.col(name).sum() for name in SUMS})
        .with_columns(
            *_ratios(),
            *(
                pl.when(has_finra).then(pl.lit(tiers[name].sum(), QUANTITY)).alias(f"finra_{name}")
                for name in finra
            ),
            week_start=pl.lit(week_start),
            session_count=pl.lit(sessions, pl.Int64),
            known_from=pl.lit(known_from, pl.Datetime("us", "UTC")),
            published_at=pl.lit(published_at, pl.Datetime("us", "UTC")),
            is_stale=False,
        )
        .with_columns(
            _ratio(pl.when(is_whole).then(f"finra_{name}"), _all_of("share_quantity")).alias(
                f"finra_{name.removesuffix('_quantity')}_ratio"
            )
            for name in finra
        ),
        off_exchange_share_weekly,
    )


def _ratios() -> list[pl.Expr]:
    return [
        _ratio(
            pl.col(f"off_exchange_{amount}"),
            _all_of(amount),
        ).alias(f"off_exchange_{name}_ratio")
        for amount, name in AMOUNTS.items()
    ]


def _all_of(amount: str) -> pl.Expr:
    """Return an amount on and off exchange, as a float: of notional it may exceed 64 bits."""
    return pl.sum_horizontal(
        pl.col(f"{side}_{amount}").cast(pl.Float64) for side in ("exchange", "off_exchange")
    )


def _ratio(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """Return a part of a whole as a float, NULL where the whole is 0."""
    return pl.when(whole > 0).then(part.cast(pl.Float64) / whole.cast(pl.Float64))


GOLD_VERSION = "1"
"""Version of the definition of `off_exchange_weekly`; another one makes every week out of date."""

NMS_TIERS = ("T1", "T2")
TIERS = (*NMS_TIERS, "OTCE")
"""FINRA's tiers; a load of any marks the week stale, so each is part of its version."""


class Weekly:
    """A week is made of its loaded days, and of FINRA's tiers of that week."""

    def required(self, key: str) -> list[str]:
        """Return the mark of a week with a loaded day."""
        return [f"week {key}"]

    def inputs(self, key: str) -> list[str]:
        """Return the days of a week, and FINRA's tiers of it."""
        days = [each.isoformat() for each in week_days(date.fromisoformat(key))]
        return [*days, *(f"{tier}|{key}" for tier in TIERS)]

    def reached(self, key: str, *, asked: Collection[str], landed: Mapping[str, Any]) -> list[str]:
        """Return the week: no other has anything of it."""
        return [key]

    def candidates(self, landed: Mapping[str, Any]) -> list[str]:
        """Return the weeks of which a day is loaded."""
        return sorted(each.removeprefix("week ") for each in landed if each.startswith("week "))

    def version(self, key: str, landed: Mapping[str, Any]) -> str:
        """Return what a week would be derived of now, in words."""
        names = " ".join(f"{each}#{landed[each]}" for each in self.inputs(key) if each in landed)
        return f"off exchange {GOLD_VERSION}: {names}"


def landed_inputs(days: Mapping[str, int], tiers: Mapping[str, int]) -> dict[str, int]:
    """Return the inputs of weeks, each with its last change, and a mark of weeks with a day."""
    weeks = {f"week {monday_of(date.fromisoformat(key))}": 0 for key in days}
    return {**days, **tiers, **weeks}
