"""Reads deliveries of tables that are loaded by partitions: rows by key, and rejects."""

import csv
import io
import json
import re
import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Self
from xml.etree import ElementTree
from zipfile import ZipFile

from tests.oracle.inputs import Row, columns_of, fields_of, key_of, place_of

MICROS = 10**6
MAX_UNITS = 2**63 - 1
CUSIP_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*@#"
WEEKLY = "finra_otc_weekly"
DATASETS = (
    *("finra_treasury_weekly", "finra_treasury_daily", "finra_treasury_monthly"),
    *("finra_corporate_market_breadth", "finra_short_interest", "finra_reg_sho_daily"),
    *("finra_threshold_list", "finra_otc_monthly", "finra_ats_blocks", "finra_otc_blocks"),
    "fact_bond_trade_activity",
)
"""Further tables of FINRA, each a dataset."""

METADATA = {"initial_published_date", "last_update_date", "last_reported_date"}
"""Columns whose change alone is one of metadata."""

QUANTITIES = {"share_quantity", "trade_count"}
MARKETS = {"ATS": "ATS", "OTC": "NON_ATS"}
FIRM, SYMBOL, SUMS = "_W_SMBL_FIRM", "_W_SMBL", ("_W_FIRM", "_W_VOL_STATS")


def read_decimal(text: str) -> Decimal | None:
    """Return a number that is whole in units of 10^-6, and has 64 bits in them; None: another."""
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", text, re.ASCII):
        return None
    units = Decimal(text) * MICROS
    return units / MICROS if units == int(units) and abs(units) <= MAX_UNITS else None


def read_units(text: str) -> int | None:
    """Return a number times 10^6; None: another text."""
    number = read_decimal(text)
    return None if number is None else int(number * MICROS)


def read_count(text: str) -> int | None:
    """Return a whole number of 64 bits; None: another text."""
    is_whole = re.fullmatch(r"-?\d+", text, re.ASCII)
    return int(text) if is_whole and abs(int(text)) <= MAX_UNITS else None


def read_day(text: str) -> str | None:
    """Return an ISO day; None: another text."""
    try:
        return date.fromisoformat(text).isoformat() if len(text) == 10 else None
    except ValueError:
        return None


def read_cusip(text: str) -> str | None:
    """Return a CUSIP of nine characters, the last of them a check digit; None: another text."""
    if len(text) != 9 or set(text) - set(CUSIP_LETTERS):
        return None
    weights = (CUSIP_LETTERS.index(text[place]) * (1 + place % 2) for place in range(8))
    total = sum(sum(divmod(weight, 10)) for weight in weights)
    return text if text[8] == str(-total % 10) else None


KINDS: dict[str, tuple[Callable[[str], object], str, str]] = {
    "text": (str, "", ""),
    "cusip": (read_cusip, "not_a_cusip", "not a CUSIP of nine characters"),
    "date": (read_day, "impossible_date", "no date"),
    "integer": (read_count, "not_a_number", "not a number"),
    "decimal": (read_decimal, "not_a_number", "not a number"),
    "units": (read_units, "", ""),
}
"""By kind: a reader of texts, which returns None for others, and the code and text of a reject."""


AMOUNT = "no amount that 64 bits keep exactly"
AMOUNT_OF_SIX = "no number with up to 6 decimals that 64 bits keep exactly"


class RejectError(ValueError):
    """A line breaks the contract; its arguments are a code of one word, and a sentence."""


@dataclass
class Parsed:
    """What a delivery contains: rows by key, rejects, and the number of lines."""

    delivery: Row
    rows: dict[tuple, Row] = field(default_factory=dict)
    rejects: list[Row] = field(default_factory=list)
    line_count: int = 0
    has_unique_keys: bool = True

    def add(self, row: Row, capture: Row) -> None:
        """Add a row of a capture."""
        place = place_of(row, key_of(self.delivery["table_name"]))
        self.has_unique_keys &= place not in self.rows
        self.rows[place] = row | {"capture_id": capture["capture_id"]}

    def read_documents(self, read: Callable[[bytes, Row], Iterable[Row]]) -> Self:
        """Add the rows that ``read`` makes of the captures."""
        for capture in self.delivery["captures"]:
            for row in read(capture["content"], self.delivery):
                self.add(row, capture)
        return self

    def read_lines(self) -> Self:
        """Add the rows and rejects of the lines of the captures."""
        of_delivery = {name: self.delivery[name] for name in ("table_name", "run_id")}
        of_delivery["rejected_at"] = self.delivery["recorded_at"]
        for capture in self.delivery["captures"]:
            (_, _, header), *lines = split_lines(capture["content"])
            is_quoted = header.startswith(b'"')
            names = split_fields(header.decode().lower(), is_quoted)
            for number, offset, content in lines:
                self.line_count += 1
                try:
                    if row := self.read(name_fields(content, names, is_quoted)):
                        self.add(row, capture)
                except RejectError as reject:
                    code, reason = reject.args
                    self.rejects.append(
                        of_delivery
                        | {"capture_id": capture["capture_id"], "record": escape(content)}
                        | {"line_number": number, "byte_offset": offset}
                        | {"reason_code": code, "reason": reason}
                    )
        return self

    def read(self, fields: dict[str, str]) -> Row | None:
        """Return the row of a line of one of FINRA's further datasets."""
        return read_columns(self.delivery["table_name"], fields)


def read_columns(table: str, fields: dict[str, str], names: Iterable[str] = ()) -> Row:
    """Return the columns of a line, or these, that have a field in the header or may be NULL."""
    row: Row = {}
    for name, column in columns_of(table).items():
        source = next((field for field in fields_of(name) if field.lower() in fields), "")
        if (names and name not in names) or not (source or "NULL" in column):
            continue
        text = fields.get(source.lower(), "")
        read, code, expected = KINDS[column["kind"]]
        if column["kind"] == "units" or ("NULL" in column and code == "not_a_number"):
            code, expected = "not_an_amount", AMOUNT if table == WEEKLY else AMOUNT_OF_SIX
        is_null = not text and "NULL" in column
        row[name] = None if is_null else read(text)
        if row[name] is None and not is_null:
            raise RejectError(code, f"{source} is {expected}: {text}")
    return row


@dataclass
class ParsedWeek(Parsed):
    """A week with FINRA's totals, and the sums of its lines, by market and symbol."""

    totals: dict[tuple, list] = field(default_factory=dict)
    sums: dict[tuple, list] = field(default_factory=lambda: defaultdict(lambda: [Decimal(), 0]))

    def is_quarantined(self, max_reject_ratio: Fraction) -> bool:
        """Return whether a blocking audit fails: unique keys, few rejects, or FINRA's totals."""
        has_few_rejects = len(self.rejects) <= max_reject_ratio * self.line_count
        return not (self.has_unique_keys and has_few_rejects and self.sums == self.totals)

    def read(self, fields: dict[str, str]) -> Row | None:
        """Return the row of a line of a firm; a line of a symbol is its total."""
        symbol, code = fields["issuesymbolidentifier"], fields["summarytypecode"]
        if not symbol and not code.endswith(SUMS):
            raise RejectError("blank_symbol", "issueSymbolIdentifier is blank")
        market = MARKETS.get(code[:3])
        if market is None or code[3:] not in (FIRM, SYMBOL, *SUMS):
            raise RejectError("unknown_summary_type", f"summaryTypeCode is unknown: {code}")
        if code[3:] in SUMS:
            return None
        quantities = read_columns(WEEKLY, fields, QUANTITIES)
        if code[3:] == SYMBOL:
            self.totals[market, symbol] = list(quantities.values())
            return None
        total = self.sums[market, symbol]  # also of a row that another rule rejects
        total[:] = map(sum, zip(total, quantities.values(), strict=True))
        if not (fields["mpid"] or fields["firmcrdnumber"] or fields["marketparticipantname"]):
            reason = "MPID, firmCRDNumber and marketParticipantName are all blank"
            raise RejectError("missing_venue", reason)
        row = read_columns(WEEKLY, fields)
        crd, monday = row["firm_crd_number"], date.fromisoformat(row["week_start"])
        unlisted = f"CRD:{crd}" if crd is not None else f"NAME:{row['participant_name']}"
        row |= {"market": market, "venue_id": row["mpid"] or unlisted}
        return row | {"week_end": (monday + timedelta(days=4)).isoformat()}


def split_lines(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, first byte and bytes of the lines that are not empty, the header first."""
    offset = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    for number, raw in enumerate(content[offset:].split(b"\n"), start=1):
        if text := raw.removesuffix(b"\r"):
            yield number, offset, text
        offset += len(raw) + 1


def name_fields(content: bytes, names: list[str], is_quoted: bool) -> dict[str, str]:
    """Return the texts of a line by the names of the header."""
    try:
        texts = split_fields(content.decode(), is_quoted)
    except UnicodeDecodeError:
        raise RejectError("not_utf8", "the line is not UTF-8") from None
    if len(texts) != len(names):
        reason = f"the line has {len(texts)} fields, the header has {len(names)}"
        raise RejectError("field_count", reason)
    return dict(zip(names, texts, strict=True))


def split_fields(text: str, is_quoted: bool) -> list[str]:
    """Return the fields of a line, trimmed of all whitespace, including no-break spaces."""
    texts = next(csv.reader([text], delimiter="|")) if is_quoted else text.split("|")
    return [text.strip() for text in texts]


def escape(content: bytes) -> str:
    """Return bytes as text, outside printable ASCII with backslash escapes."""
    texts = (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in content)
    return "".join(text.replace("\\", "\\\\") if text == "\\" else text for text in texts)


def read_rates(content: bytes, delivery: Row) -> Iterator[Row]:
    """Yield the ECB's rates of the delivery's day, of XML or the zipped CSV; N/A is NULL."""
    day, rates = delivery["partition_key"], []
    if content.startswith(b"PK"):
        with ZipFile(io.BytesIO(content)) as archive:
            lines = archive.read(archive.namelist()[0]).decode().splitlines()
        names, *days = [[text.strip() for text in line.split(",")] for line in lines]
        for place, currency in enumerate(names[1:], start=1):  # the last column is empty
            quoted = [texts[0] for texts in days if texts[place] != "N/A"]
            if currency and quoted and min(quoted) <= day <= max(quoted):
                rates += [(currency, texts[place]) for texts in days if texts[0] == day]
    else:
        for cube in ElementTree.fromstring(content).iter(CUBE):  # noqa: S314 - captured bytes
            if cube.get("time") == day:
                rates += [(rate.attrib["currency"], rate.attrib["rate"]) for rate in cube]
    for currency, text in rates:
        yield {"rate_date": day, "currency_code": currency, "rate": read_units(text)}


CUBE = "{http://www.ecb.int/vocabulary/2002-08-01/eurofxref}Cube"
TAPES = {"Tape A": "tape_a", "Tape B": "tape_b", "Tape C": "tape_c", "Total": "total"}
PRICES = ("open", "high", "low", "close")


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


def read_price(number: float) -> int:
    """Return a price x 10^6: a 32-bit fraction is the shortest equal decimal, then rounded."""
    bits, text = struct.pack("f", number), repr(number)
    if struct.unpack("f", bits)[0] == number:
        texts = (f"{number:.{digits}g}" for digits in range(1, 10))
        text = next(text for text in texts if struct.pack("f", float(text)) == bits)
    return int((Decimal(text) * MICROS).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


PARSERS: dict[str, Callable[[Row], Parsed]] = {
    WEEKLY: lambda delivery: ParsedWeek(delivery).read_lines(),
    **dict.fromkeys(DATASETS, lambda delivery: Parsed(delivery).read_lines()),
    "fx_rates_daily": lambda delivery: Parsed(delivery).read_documents(read_rates),
    "market_volume_daily": lambda delivery: Parsed(delivery).read_documents(read_volume),
    "prices_daily": lambda delivery: Parsed(delivery).read_documents(read_chart),
}
"""Readers of deliveries by table."""


def partition_of(row: Row, key: Sequence[str]) -> str:
    """Return a row's partition: day or symbol, or tier and day; of settlement, a half-month."""
    first = str(row[key[0]])
    if key[0] == "settlement_date":
        return first[:8] + ("01" if first[8:] <= "15" else "16")
    return f"{row['tier']}|{first}" if "tier" in row else first


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
TWICE = "another symbol would be spelled {} too"


def spell_symbols(symbols: list[str], overrides: Mapping[str, dict[str, str]]) -> list[Row]:
    """Return `prices_symbol_spellings`; an override of a vendor goes before the rules."""
    rows = []
    for place, vendor in enumerate(("yahoo", "alpha_vantage")):
        spelled = dict.fromkeys(symbols, "")
        for pattern, texts in reversed(SPELLINGS.items()):  # the first rule counts
            matches = (re.fullmatch(pattern, symbol) for symbol in symbols)
            spelled |= {match[0]: match.expand(texts[place]) for match in matches if match}
        spelled |= {symbol: text for symbol, text in overrides[vendor].items() if symbol in spelled}
        counts = Counter(spelled.values())
        for symbol, spelling in spelled.items():
            is_override = symbol in overrides[vendor]
            reason = TWICE.format(spelling) if counts[spelling] > 1 else None
            reason = reason if spelling else FORBIDDEN if is_override else UNKNOWN
            row = {"vendor": vendor, "symbol": symbol, "is_override": is_override, "reason": reason}
            rows.append(row | {"vendor_symbol": None if reason else spelling})
    return rows
