"""Documents as they were received, read without code of the project, and their rows."""

import csv
import io
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from tests.gold.arithmetic import Row, as_values

MARKETS = {"ATS_W_SMBL_FIRM": "ATS", "OTC_W_SMBL_FIRM": "NON_ATS"}
DELIMITER = "|"


class Document(NamedTuple):
    """Bytes that a source sent for a partition."""

    partition: str
    group: str
    content: str


class Database:
    """The local state of a program, read from outside."""

    def __init__(self, state_dir: Path, name: str) -> None:
        self._artifacts = state_dir / "artifacts"
        self._connection = sqlite3.connect(f"file:{state_dir}/{name}.sqlite?mode=ro", uri=True)
        self._connection.row_factory = sqlite3.Row

    def close(self) -> None:
        self._connection.close()

    def rows(self, table: str) -> list[Row]:
        """Return all rows of a table or view."""
        found = self._connection.execute(f"SELECT * FROM {table}")  # noqa: S608
        return [as_values(dict(document)) for document in found]

    def times(self, table: str, *key: str) -> dict[Any, datetime]:
        """Return when each part of a table was loaded: no document says it."""
        found: dict[Any, datetime] = {}
        for row in self.rows(table):
            place = tuple(row[name] for name in key)
            found[place] = max(found.get(place, row["known_from"]), row["known_from"])
        return found

    def documents(self, dataset: str) -> Iterator[Document]:
        """Yield the documents of a dataset."""
        query = "SELECT * FROM captures JOIN blobs USING (sha256) WHERE dataset = ?"
        for row in self._connection.execute(f"{query} ORDER BY part_number", [dataset]):
            stored = (self._artifacts / row["storage_uri"]).read_bytes()
            first = row["byte_offset"] or 0  # of several in one file
            packed = pa.BufferReader(stored[first : first + row["stored_byte_count"]])
            content = pa.CompressedInputStream(packed, "zstd").read().decode()
            yield Document(row["partition_key"], row["group_id"], content)


def _lines(content: str) -> Iterator[dict[str, str]]:
    header, *lines = content.removesuffix("\n").split("\n")
    for line in lines:
        yield dict(zip(header.split(DELIMITER), line.split(DELIMITER), strict=True))


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def _scaled(text: str | None) -> int | None:
    return int(Decimal(text) * 10**6) if text else None


def _venue(line: dict[str, str]) -> str | None:
    crd, name = line.get("firmCRDNumber"), line["marketParticipantName"]
    if line["MPID"]:
        return line["MPID"]
    if crd:
        return f"CRD:{crd}"
    if name == "De Minimis Firms":
        return "CRD:0"
    return f"NAME:{name}" if name else None


def _weekly_row(line: dict[str, str], week: date, tier: str, market: str) -> Row | None:
    """Return the row of a line; None: it lacks a symbol or venue, or has a day that is none."""
    venue, symbol = _venue(line), line["issueSymbolIdentifier"]
    try:
        updated = _day(line["lastUpdateDate"])
        _day(line.get("lastReportedDate"))
    except ValueError:
        return None
    if not venue or not symbol:
        return None
    return {
        "week_start": week,
        "tier": tier,
        "market": market,
        "symbol": symbol,
        "venue_id": venue,
        "mpid": line["MPID"] or None,
        "firm_crd_number": int(line["firmCRDNumber"]) if line.get("firmCRDNumber") else None,
        "participant_name": line["marketParticipantName"] or None,
        "issue_name": line["issueName"] or None,
        "share_quantity": int(line["totalWeeklyShareQuantity"]),
        "trade_count": int(line["totalWeeklyTradeCount"]),
        "notional_usd": _scaled(line.get("totalNotionalSum")),
        "last_update_date": updated,
    }


def weekly_of_pages(
    documents: Iterable[Document], loaded: Collection[tuple[date, str]]
) -> list[Row]:
    """Return the firms' rows of the pages of loaded weeks and tiers."""
    found = []
    for document in documents:
        tier, monday = document.partition.split("|")
        week = date.fromisoformat(monday)
        if (week, tier) in loaded:
            found += [
                _weekly_row(line, week, tier, MARKETS[line["summaryTypeCode"]])
                for line in _lines(document.content)
                if line["summaryTypeCode"] in MARKETS
            ]
    return [row for row in found if row is not None]


def weekly_of_file(content: str, tier: str, market: str) -> list[Row]:
    """Return the rows of a downloaded file, whose week is 35 days before its publication."""
    found = []
    for line in _lines(content):
        week = date.fromisoformat(line["lastUpdateDate"]) - timedelta(days=35)
        found.append(_weekly_row(line, week, tier, market))
    return [row for row in found if row is not None]


def short_sales(documents: Iterable[Document]) -> list[Row]:
    return [
        {
            "trade_date": _day(line["tradeReportDate"]),
            "symbol": line["securitiesInformationProcessorSymbolIdentifier"],
            "short_quantity": Decimal(line["shortParQuantity"]),
            "short_exempt_quantity": Decimal(line["shortExemptParQuantity"]),
            "total_quantity": Decimal(line["totalParQuantity"]),
        }
        for document in documents
        for line in _lines(document.content)
    ]


def short_interest(documents: Iterable[Document]) -> list[Row]:
    return [
        {
            "settlement_date": _day(line["settlementDate"]),
            "symbol": line["symbolCode"],
            "short_quantity": int(line["currentShortPositionQuantity"]),
        }
        for document in documents
        for line in _lines(document.content)
    ]


def prices(documents: Iterable[Document]) -> list[Row]:
    """Return the daily prices of answers of a chart; a day without a close has none.

    The vendor widens numbers of 32 bits: 78.22 comes as 78.220001.
    """
    found = []
    for document in documents:
        [result] = json.loads(document.content, parse_float=Decimal)["chart"]["result"]
        [quote] = result["indicators"]["quote"]
        splits = {
            _day_in_new_york(value["date"]): Decimal(value["numerator"])
            / Decimal(value["denominator"])
            for value in result.get("events", {}).get("splits", {}).values()
        }
        for at, close, volume in zip(
            result["timestamp"], quote["close"], quote["volume"], strict=True
        ):
            day = _day_in_new_york(at)
            if close is not None:
                found.append(
                    {
                        "trade_date": day,
                        "symbol": document.partition,
                        "close": int(Decimal(str(np.float32(close))) * 10**6),
                        "volume": volume,
                        "split_ratio": int(splits.get(day, Decimal(1)) * 10**6),
                    }
                )
    return found


def _day_in_new_york(at: int) -> date:
    return datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo("America/New_York")).date()


def market_volume(documents: Iterable[Document]) -> list[Row]:
    """Return the rows of each partition's day: a file has all days of a year."""
    found = []
    for document in documents:
        for line in csv.DictReader(io.StringIO(document.content)):
            if line["Day"] != document.partition:
                continue
            row: Row = {
                "trade_date": date.fromisoformat(line["Day"]),
                "participant_name": line["Market Participant"],
            }
            for scope in ("Tape A", "Tape B", "Tape C", "Total"):
                name = scope.lower().replace(" ", "_")
                row[f"{name}_share_quantity"] = int(line[f"{scope} Shares"])
                row[f"{name}_notional_usd"] = _scaled(line[f"{scope} Notional"])
                row[f"{name}_trade_count"] = int(line[f"{scope} Trade Count"])
            found.append(row)
    return found
