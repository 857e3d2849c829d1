"""FINRA's Query API on this machine, speaking the wire format of the real one.

A test gives the rows of one partition and changes what it wants to break: `spoil` sees each request
and the reply to it, and returns the reply that is sent.
"""

import base64
import json
import operator
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.faulty_server import Reply, Request

WEEK, TIER = "2025-11-10", "T1"
TOKEN_PATH = "/fip/rest/ews/oauth2/access_token"
MEGABYTES_3 = 3 * 1024 * 1024

Spoil = Callable[[Request, Reply], Reply | Iterable[bytes]]


def record(symbol: str | None, **changes: object) -> dict[str, object]:
    """Return one record, as FINRA has it: a firm's ATS row with 100 shares in one trade."""
    usual: dict[str, object] = {
        "weekStartDate": WEEK,
        "tierIdentifier": TIER,
        "tierDescription": "NMS Tier 1",
        "issueSymbolIdentifier": symbol,
        "issueName": f"{symbol} Inc. Common Stock",
        "firmCRDNumber": 123,
        "MPID": "XATS",
        "marketParticipantName": "XATS, LLC",
        "summaryStartDate": WEEK,
        "totalWeeklyTradeCount": 1,
        "totalWeeklyShareQuantity": 100,
        "totalNotionalSum": 1234.5,
        "productTypeCode": "CQS",
        "summaryTypeCode": "ATS_W_SMBL_FIRM",
        "initialPublishedDate": "2025-12-01",
        "lastUpdateDate": "2025-12-01",
        "lastReportedDate": "2025-11-14",
    }
    return usual | changes


def records(count: int) -> list[dict[str, object]]:
    return [record(f"S{number:06}") for number in range(count)]


def body_of(request: Request) -> dict[str, Any]:
    return json.loads(request.body)


def is_page(request: Request) -> bool:
    """Whether a request is for a page of rows, and not for a probe or something else."""
    return request.method == "POST" and request.headers.get("accept") == "text/plain"


@dataclass
class Finra:
    """Answers as FINRA does."""

    rows: Sequence[Mapping[str, object]]
    published: Mapping[str, Sequence[tuple[str, str]]] = field(
        default_factory=lambda: {"weeklySummary": [(WEEK, TIER)], "weeklySummaryHistoric": []}
    )
    fields: Mapping[str, str] = field(default_factory=dict)
    page_bytes: int = MEGABYTES_3
    largest_offset: int = 500_000
    client: tuple[str, str] | None = None
    spoil: Spoil = lambda _, reply: reply

    def __post_init__(self) -> None:
        self.tokens: list[str] = []
        self.lock = threading.Lock()

    def __call__(self, request: Request) -> Reply | Iterable[bytes]:
        return self.spoil(request, self.answer(request))

    def answer(self, request: Request) -> Reply:
        """Return the reply of a FINRA that is well."""
        url = urlsplit(request.target)
        if url.path == TOKEN_PATH:
            return self._check_and_give_token(request, parse_qs(url.query))
        if self.client and request.headers.get("authorization") != f"Bearer {self.tokens[-1]}":
            return Reply(401, {"Content-Type": "application/json"}, b'{"message":"Unauthorized"}')
        what, _, _, _, dataset = url.path.strip("/").split("/")
        if what == "partitions":
            listed = [{"partitions": list(key)} for key in self.published[dataset]]
            return as_json({"availablePartitions": listed})
        if what == "metadata":
            listed = [{"name": name, "type": kind} for name, kind in self.fields.items()]
            return as_json({"datasetName": dataset.upper(), "fields": listed})
        return self._data(dataset, request, body_of(request))

    def _check_and_give_token(self, request: Request, query: Mapping[str, Sequence[str]]) -> Reply:
        assert self.client is not None
        basic = base64.b64encode(":".join(self.client).encode()).decode()
        if request.headers.get("authorization") != f"Basic {basic}":
            return Reply(401, {}, b'{"error":"invalid_client"}')
        assert query == {"grant_type": ["client_credentials"]}
        with self.lock:
            self.tokens.append(f"t0ken-{len(self.tokens)}")
        return as_json(
            {"access_token": self.tokens[-1], "token_type": "Bearer", "expires_in": "1799"}
        )

    def _data(self, dataset: str, request: Request, query: Mapping[str, Any]) -> Reply:
        if "sortFields" in query and dataset.endswith("Historic"):
            return Reply(400, {}, b'{"statusCode":400,"message":"Sort is not supported"}')
        found = [row for row in self.rows if meets(row, query)]
        for name in reversed(query.get("sortFields", [])):
            found.sort(key=lambda row: in_order(row[name.lstrip("-")]), reverse=name[0] == "-")
        offset, limit = query["offset"], query["limit"]
        if offset > self.largest_offset:
            return Reply(400, {}, b'{"statusCode":400,"message":"Offset exceeds the maximum"}')
        page = found[offset : offset + limit]
        headers = {
            "Record-Total": str(len(found)),
            "Record-Offset": str(offset),
            "Record-Limit": str(limit),
            "Record-Max-Limit": "5000",
            "FINRA-api-request-id": f"id-{offset}",
        }
        if not found:
            return Reply(204, headers)
        if request.headers["accept"] == "application/json":
            picked = [{name: row[name] for name in query["fields"]} for row in page]
            return as_json(picked, headers | {"Total-Records-On-Page": str(len(page))})
        lines = ["|".join(query["fields"])]
        size = 0
        for row in page:
            line = "|".join(text(row[name]) for name in query["fields"])
            size += len(line) + 1
            if size > self.page_bytes:
                break
            lines.append(line)
        headers |= {"Content-Type": "text/plain", "Total-Records-On-Page": str(len(lines) - 1)}
        return Reply(200, headers, "\n".join(lines).encode())


COMPARISONS = {"EQUAL": operator.eq, "LESSER": operator.lt, "GTE": operator.ge}


def meets(row: Mapping[str, Any], query: Mapping[str, Any]) -> bool:
    """Whether a row meets all filters of a query; as in SQL, null meets none."""
    return (
        all(
            row[compare_filter["fieldName"]] is not None
            and COMPARISONS[compare_filter["compareType"]](
                row[compare_filter["fieldName"]], compare_filter["fieldValue"]
            )
            for compare_filter in query["compareFilters"]
        )
        and all(
            date_range_filter["startDate"]
            <= row[date_range_filter["fieldName"]]
            <= date_range_filter["endDate"]
            for date_range_filter in query.get("dateRangeFilters", [])
        )
        and all(
            row[domain_filter["fieldName"]] in domain_filter["values"]
            for domain_filter in query.get("domainFilters", [])
        )
    )


def in_order(value: Any) -> tuple[bool, Any]:
    """Return what a value is sorted by: null comes last, as in PostgreSQL and Oracle."""
    return (value is None, value if value is not None else "")


def text(value: object) -> str:
    return "" if value is None else str(value)


def as_json(content: object, headers: Mapping[str, str] | None = None) -> Reply:
    kind = {"Content-Type": "application/json"}
    return Reply(200, kind | dict(headers or {}), json.dumps(content).encode())
