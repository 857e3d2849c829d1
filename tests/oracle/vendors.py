"""Reads the documents of the ECB, of Cboe, and of a vendor of prices."""

import csv
import io
import json
import re
import struct
from collections import Counter
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from xml.etree import ElementTree
from zipfile import ZipFile

from tests.oracle.archive import Row
from tests.oracle.delimited import MICROS, Parsed, read_count, read_decimal, read_units

CUBE = "{http://www.ecb.int/vocabulary/2002-08-01/eurofxref}Cube"
TAPES = {"A": "tape_a", "B": "tape_b", "C": "tape_c", "all": "total"}
PRICES = ("open", "high", "low", "close")


def parse_rates(delivery: Row) -> Parsed:
    """Return the ECB's rates of the delivery's day; a rate that is not available is NULL."""
    parsed, day = Parsed(), delivery["partition_key"]
    for capture in delivery["captures"]:
        read = read_csv if capture["content"].startswith(b"PK") else read_xml
        for currency, rate in read(capture["content"], day):
            parsed.rows[day, currency] = {
                "rate_date": day,
                "currency_code": currency,
                "rate": None if rate == "N/A" else read_units(rate),
                "capture_id": capture["capture_id"],
            }
    return parsed


def read_xml(content: bytes, day: str) -> list[tuple[str, str]]:
    """Return currencies and rates of a day of an XML document."""
    return [
        (rate.attrib["currency"], rate.attrib["rate"])
        for cube in ElementTree.fromstring(content).iter(CUBE)  # noqa: S314 - captured bytes
        if cube.get("time") == day
        for rate in cube
    ]


def read_csv(content: bytes, day: str) -> list[tuple[str, str]]:
    """Return currencies and rates of a day of the zipped wide CSV; its last column is empty.

    N/A is a rate that is not available only between two rates of its currency: before the first
    and after the last one the currency is not quoted.
    """
    with ZipFile(io.BytesIO(content)) as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    names, *days = [[text.strip() for text in line.split(",")] for line in lines]
    rates = []
    for place, currency in enumerate(names[1:], start=1):
        quoted = [texts[0] for texts in days if texts[place] != "N/A"]
        if currency and quoted and min(quoted) <= day <= max(quoted):
            rates += [(currency, texts[place]) for texts in days if texts[0] == day]
    return rates


def parse_volume(delivery: Row) -> Parsed:
    """Return the rows of the delivery's day from Cboe's file of its year."""
    parsed, day = Parsed(), delivery["partition_key"]
    for capture in delivery["captures"]:
        for line in csv.DictReader(io.StringIO(capture["content"].decode())):
            if line["Day"] == day:
                name = line["Market Participant"].strip()
                code = name.rpartition("(")[2].rstrip(")")
                row = {"trade_date": day, "participant_code": code, "participant_name": name}
                for tape, prefix in TAPES.items():
                    title = "Total" if tape == "all" else f"Tape {tape}"
                    row[f"{prefix}_share_quantity"] = read_decimal(line[f"{title} Shares"])
                    row[f"{prefix}_notional_usd"] = read_units(line[f"{title} Notional"])
                    row[f"{prefix}_trade_count"] = read_count(line[f"{title} Trade Count"])
                parsed.rows[day, code] = row | {"capture_id": capture["capture_id"]}
    return parsed


def parse_prices(delivery: Row) -> Parsed:
    """Return the days of the delivery's scope from Yahoo's chart."""
    parsed, scope = Parsed(), json.loads(delivery["scope"])["trade_date"]
    for capture in delivery["captures"]:
        [chart] = json.loads(capture["content"])["chart"]["result"]
        for row in read_chart(chart):
            if scope["first"] <= row["trade_date"] <= scope["last"]:
                place = {"symbol": delivery["partition_key"], "source": delivery["source"]}
                row |= place | {"capture_id": capture["capture_id"]}
                parsed.rows[row["symbol"], row["trade_date"]] = row
    return parsed


def read_chart(chart: Row) -> list[Row]:
    """Return the days of a chart, each with the splits after it."""
    quotes, offset = chart["indicators"]["quote"][0], chart["meta"]["gmtoffset"]
    adjusted = chart["indicators"]["adjclose"][0]["adjclose"]
    dividends, splits = (
        {
            day_of(event["date"], offset): event
            for event in chart.get("events", {}).get(name, {}).values()
        }
        for name in ("dividends", "splits")
    )
    ratios = {
        day: Fraction(split["numerator"]) / Fraction(split["denominator"])
        for day, split in sorted(splits.items())
    }
    rows = []
    for index, moment in enumerate(chart["timestamp"]):
        day = day_of(moment, offset)
        later = [f"{split} {float(ratio):g}" for split, ratio in ratios.items() if split > day]
        rows.append(
            {
                "trade_date": day,
                **{name: read_price(quotes[name][index]) for name in PRICES},
                "adjusted_close": read_price(adjusted[index]),
                "volume": Decimal(quotes["volume"][index]),
                "dividend": read_price(dividends[day]["amount"]) if day in dividends else 0,
                "split_ratio": int(ratios.get(day, 1) * MICROS),
                "later_splits": ", ".join(later) or "none",
            }
        )
    return rows


SPELLINGS = {
    r"([A-Z0-9]+)": (r"\1", r"\1"),
    r"([A-Z]+)\.([A-D])": (r"\1-\2", r"\1-\2"),
    r"([A-Z]+)[$p]([A-Z])": (r"\1-P\2", r"\1-P-\2"),
    r"([A-Z]+)\.U": (r"\1-UN", r"\1-U"),
    r"([A-Z]+)\.WS?": (r"\1-WT", r"\1-WS"),
}
"""Yahoo's and Alpha Vantage's spellings of FINRA's symbols, of docs/how-to/load-prices.md."""


def spell_symbols(symbols: list[str]) -> list[Row]:
    """Return `prices_symbol_spellings` without reasons; of two equal spellings there is none."""
    rows = []
    for place, vendor in enumerate(("yahoo", "alpha_vantage")):
        spelled = {symbol: spell(symbol, place) for symbol in symbols}
        counts = Counter(spelled.values())
        rows += [
            {
                "vendor": vendor,
                "symbol": symbol,
                "vendor_symbol": spelling if counts[spelling] == 1 else None,
                "is_override": False,
            }
            for symbol, spelling in spelled.items()
        ]
    return rows


def spell(symbol: str, place: int) -> str | None:
    """Return how a vendor spells a symbol; None: no rule says it."""
    for pattern, texts in SPELLINGS.items():
        if match := re.fullmatch(pattern, symbol):
            return match.expand(texts[place])
    return None


def day_of(moment: int, offset: int) -> str:
    """Return the day in New York of an epoch with the exchange's offset."""
    return datetime.fromtimestamp(moment + offset, UTC).date().isoformat()


def read_price(number: float) -> int:
    """Return a price x 10^6: a 32-bit fraction is the shortest equal decimal, then rounded."""
    bits = struct.pack("f", number)
    text = repr(number)
    if struct.unpack("f", bits)[0] == number:
        texts = (f"{number:.{digits}g}" for digits in range(1, 10))
        text = next(text for text in texts if struct.pack("f", float(text)) == bits)
    return int((Decimal(text) * MICROS).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
