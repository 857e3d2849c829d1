"""Euro reference rates of the ECB: its calendar, its documents, and the contract of a day."""

import csv
import io
import lzma
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import cache
from hashlib import sha256
from typing import NamedTuple
from xml.parsers import expat

import holidays
import polars as pl

from orchestration_project.contracts.balance import RecordCount
from orchestration_project.contracts.contract import Claim, Contract
from orchestration_project.contracts.delimited import REJECT, Parsed
from orchestration_project.contracts.partitioning import (
    Calendar,
    Partition,
    Partitioning,
    day_or_none,
)
from orchestration_project.contracts.parts import Part
from orchestration_project.contracts.rules import in_ascii
from orchestration_project.errors import SourceError
from orchestration_project.tables.fx import FX_FIELDS, fx_rates_daily

DAILY, LAST_90_DAYS, HISTORY = "eurofxref-daily.xml", "eurofxref-hist-90d.xml", "eurofxref-hist.zip"
RECENT = timedelta(days=85)
"""Days that the document of the last 90 days certainly has, whatever its first day is."""

ARCHIVE = b"PK\x03\x04"
"""First bytes of a zip archive."""

NOT_AVAILABLE = "N/A"
"""A rate that the ECB states as not available; of a blank it states nothing."""

LARGEST_TEXT_BYTES = 64 * 2**20
"""Maximum bytes of an unpacked archive; the whole history takes 6 MiB."""

UNREADABLE_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)
"""Errors of `zipfile` for damaged, encrypted or unsupported archives."""


class Rate(NamedTuple):
    """A rate of one currency on one day, as texts of the document."""

    date: str
    currency: str
    rate: str


@cache
def _closing_days(year: int) -> frozenset[date]:
    return frozenset(holidays.financial_holidays("XECB", years=year))


def is_closing_day(day: date) -> bool:
    """Whether TARGET is closed on ``day``: the ECB publishes no rates then."""
    return day in _closing_days(day.year)


CALENDAR = Calendar(
    weekday=None,
    delay_days=1,
    is_holiday=is_closing_day,
    skips_holidays=True,
    zone="Europe/Berlin",
)
PARTITIONING = Partitioning("fx_rates_daily", CALENDAR, day_column="rate_date")
CONTRACT = Contract(
    fx_rates_daily,
    FX_FIELDS,
    partition_fields=("date",),
    claims=(
        Claim(
            "has_positive_rates",
            "Every rate is above 0, or not available.",
            (pl.col("rate") <= 0).fill_null(value=False),
        ),
    ),
    rule_version="2",
    has_record_total=False,
)


def documents_of(partition: Partition, today: date) -> Sequence[str]:
    """Return the documents that may have a day, in the order in which they are tried."""
    if today - partition.day >= RECENT:
        return (HISTORY,)
    return (DAILY, LAST_90_DAYS) if today - partition.day <= timedelta(days=1) else (LAST_90_DAYS,)


def listings_of(since: date | None, today: date) -> Sequence[str]:
    """Return the smallest document that lists every day from ``since`` on."""
    return (LAST_90_DAYS,) if since is None or today - since <= RECENT else (HISTORY,)


def partitions_in(body: bytes) -> list[Partition]:
    """Return the days that a document has, oldest first.

    Raises:
        SourceError: It is not a document of rates.
    """
    days = {day_or_none(rate.date) for rate in rates_in(body)}
    return sorted(Partition(day) for day in days if day is not None)


def version_in(body: bytes, partition: Partition) -> str | None:
    """Return the state of a day in a document, as a hash of its rates; None: it has no such day.

    Raises:
        SourceError: It is not a document of rates.
    """
    rates = sorted(_rates_of(body, partition.day))
    if not rates:
        return None
    return f"{len(rates)} rates, {sha256(repr(rates).encode()).hexdigest()[:16]}"


def parse(parts: Sequence[Part], partition: Partition) -> Parsed:
    """Return the rates of a day as texts, a line for each; the other days of a document are not.

    Raises:
        SourceError: A part is not a document of rates.
    """
    filtered = Counter[str](dict.fromkeys(("other_days", "not_listed", "blank"), 0))
    every = [rate for part in parts for rate in _listed_in(part.body, filtered)]
    rates = [rate for rate in every if rate.date == partition.day.isoformat()]
    filtered["other_days"] += sum(rate.date != partition.day.isoformat() for rate in every)
    lines = ["date,currency,rate", *(",".join(rate) for rate in rates)]
    rows = pl.DataFrame(rates, dict.fromkeys(Rate._fields, pl.String()), orient="row")
    return Parsed(
        rows.with_columns(
            rate=pl.when(pl.col("rate") == NOT_AVAILABLE).then(pl.lit("")).otherwise("rate"),
            part_number=pl.lit(1, pl.Int64),
            line_number=pl.int_range(2, len(rates) + 2, dtype=pl.Int64),
        ),
        pl.DataFrame(schema=REJECT),
        parts=[Part(1, "\n".join(lines).encode())],
        filtered=filtered,
    )


CURRENCY_OF_RATE = re.compile(rb"""<Cube\s[^>]*\bcurrency\s*=""")
ARCHIVE_END, ARCHIVE_END_BYTES = b"PK\x05\x06", 22


def count_rates(body: bytes) -> RecordCount:
    """Count the rates of a document: elements that name a currency, or cells that are not blank.

    The first line and the first column of an archive's CSV file name currencies and days. Of other
    bytes none are counted: `parse` refuses them.
    """
    if not body.startswith(ARCHIVE):
        end = body.rfind(b">") + 1
        is_rest_blank = not body[end:].strip()
        rate_count = len(CURRENCY_OF_RATE.findall(body))
        return rate_count, len(body) if is_rest_blank else end
    try:
        text = _unpacked(body)
    except SourceError:
        return 0, 0
    cells = (cell for line in text.splitlines()[1:] for cell in line.split(",")[1:])
    return sum(bool(cell.strip()) for cell in cells), _archive_end(body)


def _archive_end(body: bytes) -> int:
    """Return where an archive with its comment ends."""
    start = body.rfind(ARCHIVE_END)
    comment = body[start + ARCHIVE_END_BYTES - 2 : start + ARCHIVE_END_BYTES]
    return start + ARCHIVE_END_BYTES + int.from_bytes(comment, "little")


def _rates_of(body: bytes, day: date) -> list[Rate]:
    return [rate for rate in rates_in(body) if rate.date == day.isoformat()]


def rates_in(body: bytes) -> Iterator[Rate]:
    """Yield the rates of a document: XML, or the zipped CSV of the whole history.

    A currency that is not available on a day has the rate N/A; one that is blank has none. The
    history writes N/A also for days before a currency's first rate and after its last one, on which
    other documents do not list it: these are left out.

    Raises:
        SourceError: It is neither, or is damaged.
    """
    return _listed_in(body, Counter())


def _listed_in(body: bytes, filtered: Counter[str]) -> Iterator[Rate]:
    """Yield the rates of a document; count those that are left out by the reason."""
    is_archive = body.startswith(ARCHIVE)
    return _rates_of_archive(body, filtered) if is_archive else _rates_of_xml(body, filtered)


def _rates_of_archive(body: bytes, filtered: Counter[str]) -> Iterator[Rate]:
    reader = csv.reader(io.StringIO(_unpacked(body)), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if header[:1] != ["Date"]:
            raise _not_rates("a first column Date", in_ascii(",".join(header).encode(), 200))
        days = [
            [
                Rate(row[0].strip(), currency, rate.strip())
                for currency, rate in zip(header[1:], row[1:], strict=True)
                if currency and rate.strip()
            ]
            for row in reader
        ]
    except (csv.Error, ValueError) as error:
        raise _not_rates("lines with as many fields as the header", str(error)) from error
    yield from _while_listed(days, filtered)


def _while_listed(days: Sequence[Sequence[Rate]], filtered: Counter[str]) -> Iterator[Rate]:
    """Yield the rates of consecutive days, N/A only between two rates of its currency."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, rates in enumerate(days):
        for rate in rates:
            if rate.rate != NOT_AVAILABLE:
                first.setdefault(rate.currency, number)
                last[rate.currency] = number
    for number, rates in enumerate(days):
        for rate in rates:
            if first.get(rate.currency, len(days)) <= number <= last.get(rate.currency, -1):
                yield rate
            else:
                filtered["not_listed"] += 1


def _unpacked(body: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            names = [name for name in archive.namelist() if name.endswith(".csv")]
            if len(names) != 1 or archive.getinfo(names[0]).file_size > LARGEST_TEXT_BYTES:
                raise _not_rates(
                    f"one CSV file of at most {LARGEST_TEXT_BYTES} bytes", ", ".join(names)[:200]
                )
            with archive.open(names[0]) as file:
                return file.read(LARGEST_TEXT_BYTES).decode("ascii")
    except UNREADABLE_ARCHIVE as error:
        raise _not_rates("a zip archive with one CSV file in ASCII", str(error)) from error


def _rates_of_xml(body: bytes, filtered: Counter[str]) -> Iterator[Rate]:
    """Yield the rates of nested elements ``Cube time``, ``Cube currency rate``."""
    found: list[Rate] = []
    day = ""

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal day
        texts = {key: value.strip() for key, value in attributes.items()}
        day = texts.get("time", day)
        if name == "Cube" and "currency" in texts:
            rate = texts.get("rate", "")
            if rate:
                found.append(Rate(day, texts["currency"], rate))
            else:
                filtered["blank"] += 1

    def refuse(*_: object) -> None:
        raise _not_rates("XML without a document type", "a DOCTYPE")

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise _not_rates("an XML document of the ECB", f"{error}: {in_ascii(body, 100)}") from error
    if not found:
        raise _not_rates("elements Cube with currency and rate", in_ascii(body, 200))
    yield from found


def _not_rates(expected: str, found: str) -> SourceError:
    return SourceError(
        "the answer is not a document of euro reference rates",
        expected=expected,
        found=found,
        remedy="see what answers at FX_API_URL; if the ECB changed its format, report it",
    )
