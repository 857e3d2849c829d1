"""Deliveries of FINRA's weekly data as FINRA writes them, for tests of what reads them."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl

from orchestration_project.domains.finra.audits import checked_week
from orchestration_project.domains.finra.contract import (
    API_FIELDS,
    FILE_FIELDS,
    WeekRows,
    check_week,
)
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.parts import Part

WEEK = date(2025, 11, 10)

RECORD = {
    "weekStartDate": "2025-11-10",
    "tierIdentifier": "T1",
    "tierDescription": "NMS Tier 1",
    "issueSymbolIdentifier": "AAPL",
    "issueName": "Apple Inc. Common Stock",
    "firmCRDNumber": "",
    "MPID": "UBSA",
    "marketParticipantName": "UBSA UBS ATS",
    "summaryStartDate": "2025-11-10",
    "totalWeeklyTradeCount": "20",
    "totalWeeklyShareQuantity": "1000",
    "totalNotionalSum": "250000.25",
    "productTypeCode": "NMS",
    "summaryTypeCode": "ATS_W_SMBL_FIRM",
    "initialPublishedDate": "2025-12-01",
    "lastUpdateDate": "2025-12-02",
    "lastReportedDate": "2025-11-28",
}
"""A firm row that keeps the contract."""

FIRM = {"summaryTypeCode": "OTC_W_SMBL_FIRM", "MPID": "", "firmCRDNumber": "7654"}
"""Fields of a row of a firm outside an ATS."""

TOTAL = {"summaryTypeCode": "ATS_W_SMBL", "MPID": "", "marketParticipantName": ""}
"""Fields of FINRA's own sum for a symbol."""


def line(*changes: dict[str, str], **more: str) -> str:
    """Return `RECORD` with changes as a line."""
    record = dict(RECORD)
    for change in (*changes, more):
        record |= change
    return "|".join(record[name] for name in API_FIELDS)


def quantities(symbol: str, shares: str, trades: str = "1") -> dict[str, str]:
    """Return the fields for a symbol's shares and trades."""
    return {
        "issueSymbolIdentifier": symbol,
        "totalWeeklyShareQuantity": shares,
        "totalWeeklyTradeCount": trades,
    }


def page(*lines: str, number: int = 1) -> Part:
    """Return a page of the Query API."""
    return Part(number, "\n".join(["|".join(API_FIELDS), *lines]).encode())


def file(*lines: str, market: str = "ATS", number: int = 1) -> Part:
    """Return a downloaded file."""
    return Part(number, "\n".join(["|".join(FILE_FIELDS), *lines]).encode(), market)


def checked(*lines: str, tier: str = "T1") -> WeekRows:
    """Return one page of ``lines`` after its contract."""
    return check_week([page(*lines)], week_start=WEEK, tier=tier)


class Listed(list[pl.DataFrame]):
    """A shelf in memory."""

    def put(self, frame: pl.DataFrame) -> int:
        self.append(frame)
        return len(self) - 1

    def get(self, number: int) -> pl.DataFrame:
        return self[number]


def audited_week(parts: Sequence[Part], **more: Any) -> Validated:
    """Return what `checked_week` makes of parts that come at once."""
    return checked_week([parts], Listed(), **more)
