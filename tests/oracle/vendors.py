"""Reads the documents of the ECB, of Cboe, and of a vendor of prices."""

import csv
import io
import json
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from xml.etree import ElementTree
from zipfile import ZipFile

from tests.oracle.archive import Row
from tests.oracle.delimited import MICROS, Parsed, read_count, read_decimal, read_units

CUBE = "{http://www.ecb.int/vocabulary/2002-08-01/eurofxref}Cube"
TAPES = {"Tape A": "tape_a", "Tape B": "tape_b", "Tape C": "tape_c", "Total": "total"}
PRICES = ("open", "high", "low", "close")


def parse_documents(read: Callable[[bytes, Row], Iterable[Row]], delivery: Row) -> Parsed:
    """Return the rows that ``read`` makes of the captures of a delivery."""
    parsed = Parsed(delivery)
    for capture in delivery["captures"]:
        for row in read(capture["content"], delivery):
            parsed.add(row, capture)
    return parsed


def read_rates(content: bytes, delivery: Row) -> Iterator[Row]:
    """Yield the ECB's rates of the delivery's day; a rate that is not available is NULL."""
    day, read = delivery["partition_key"], read_csv if content.startswith(b"PK") else read_xml
    for currency, text in read(content, day):
        rate = None if text == "N/A" else read_units(text)
        yield {"rate_date": day, "currency_code": currency, "rate": rate}


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


def read_volume(content: bytes, delivery: Row) -> Iterator[Row]:
    """Yield the rows of the delivery's day from Cboe's file of its year."""
    for line in csv.DictReader(io.StringIO(content.decode())):
        if line["Day"] == delivery["partition_key"]:
            name = line["Market Participant"].strip()
            code = name.rpartition("(")[2].rstrip(")")
            row: Row = {"trade_date": line["Day"], "participant_code": code}
            row["participant_name"] = name
            for title, prefix in TAPES.items():
                row[f"{prefix}_share_quantity"] = read_decimal(line[f"{title} Shares"])
                row[f"{prefix}_notional_usd"] = read_units(line[f"{title} Notional"])
                row[f"{prefix}_trade_count"] = read_count(line[f"{title} Trade Count"])
            yield row


def read_chart(content: bytes, delivery: Row) -> Iterator[Row]:
    """Yield the days of the delivery's scope from Yahoo's chart, each with the splits after it."""
    [chart] = json.loads(content)["chart"]["result"]
    scope = json.loads(delivery["scope"])["trade_date"]
    quotes, adjusted = (chart["indicators"][name][0] for name in ("quote", "adjclose"))
    dividends, splits = (events_of(chart, name) for name in ("dividends", "splits"))
    ratios = {
        day: Fraction(split["numerator"]) / Fraction(split["denominator"])
        for day, split in sorted(splits.items())
    }
    for index, moment in enumerate(chart["timestamp"]):
        day = day_of(moment, chart)
        if scope["first"] <= day <= scope["last"]:
            later = [f"{split} {float(ratio):g}" for split, ratio in ratios.items() if split > day]
            yield {
                "symbol": delivery["partition_key"],
                "trade_date": day,
                **{name: read_price(quotes[name][index]) for name in PRICES},
                "adjusted_close": read_price(adjusted["adjclose"][index]),
                "volume": Decimal(quotes["volume"][index]),
                "dividend": read_price(dividends[day]["amount"]) if day in dividends else 0,
                "split_ratio": int(ratios.get(day, 1) * MICROS),
                "later_splits": ", ".join(later) or "none",
                "source": delivery["source"],
            }


def events_of(chart: Row, name: str) -> dict[str, Row]:
    """Return dividends or splits of a chart by day."""
    events = chart.get("events", {}).get(name, {}).values()
    return {day_of(event["date"], chart): event for event in events}


def day_of(moment: int, chart: Row) -> str:
    """Return the day of an epoch at the exchange of a chart."""
    return datetime.fromtimestamp(moment + chart["meta"]["gmtoffset"], UTC).date().isoformat()


SPELLINGS = {
    r"([A-Z0-9]+)": (r"\1", r"\1"),
    r"([A-Z]+)\.([A-D])": (r"\1-\2", r"\1-\2"),
    r"([A-Z]+)[$p]([A-Z])": (r"\1-P\2", r"\1-P-\2"),
    r"([A-Z]+)\.U": (r"\1-UN", r"\1-U"),
    r"([A-Z]+)\.WS?": (r"\1-WT", r"\1-WS"),
}
"""Yahoo's and Alpha Vantage's spellings of FINRA's symbols, of docs/how-to/load-prices.md."""

FORBIDDEN = "the file of symbols says not to ask for it"
UNKNOWN = "no rule says for sure how the vendor spells it"


def spell_symbols(symbols: list[str], overrides: Mapping[str, dict[str, str]]) -> list[Row]:
    """Return `prices_symbol_spellings`; an override of a vendor goes before the rules."""
    rows = []
    for place, vendor in enumerate(("yahoo", "alpha_vantage")):
        spelled = {symbol: spell(symbol, place) for symbol in symbols}
        spelled |= {symbol: text for symbol, text in overrides[vendor].items() if symbol in spelled}
        counts = Counter(spelled.values())
        for symbol, spelling in spelled.items():
            is_override, reason = symbol in overrides[vendor], None
            if not spelling:
                reason = FORBIDDEN if is_override else UNKNOWN
            elif counts[spelling] > 1:
                reason = f"another symbol would be spelled {spelling} too"
            row = {"vendor": vendor, "symbol": symbol, "is_override": is_override, "reason": reason}
            rows.append(row | {"vendor_symbol": None if reason else spelling})
    return rows


def spell(symbol: str, place: int) -> str | None:
    """Return how a vendor spells a symbol; None: no rule says it."""
    for pattern, texts in SPELLINGS.items():
        if match := re.fullmatch(pattern, symbol):
            return match.expand(texts[place])
    return None


def read_price(number: float) -> int:
    """Return a price x 10^6: a 32-bit fraction is the shortest equal decimal, then rounded."""
    bits = struct.pack("f", number)
    text = repr(number)
    if struct.unpack("f", bits)[0] == number:
        texts = (f"{number:.{digits}g}" for digits in range(1, 10))
        text = next(text for text in texts if struct.pack("f", float(text)) == bits)
    return int((Decimal(text) * MICROS).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
