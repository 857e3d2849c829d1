"""A source that costs next to nothing: weekly pages made beforehand, served as FINRA would.

`python -m benchmarks.source --rows 100000 --weeks 10` prints its port and sizes. Rows come in an
order shuffled by seed; beside those by symbol and firm there are FINRA's sums of them, as in real
weeks. The weeks differ by date only, so that a few megabytes of pages make millions of rows.

As FINRA's, it lets nobody page beyond an offset, and serves ranges of symbols beside the whole.
"""

import argparse
import asyncio
import json
import socket
import time
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import polars as pl
import uvicorn
from orchestration_demo.aggregates import with_aggregates
from orchestration_demo.market import Market
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestration_project.domains.finra.contract import API_FIELDS, SYMBOL

LAST_WEEK = date(2026, 2, 9)
PAGE_ROWS = 5000
MAX_OFFSET = 500_000
SEED = 20260302
TIERS = ("T1", "T2", "OTCE")
BASE_WEEK = "2026-02-09"
UPDATED = "2026-03-02"
RESTATED = "2026-03-03"
IS_FIRM = pl.col("summaryTypeCode").str.ends_with("_SMBL_FIRM")


Range = tuple[str | None, str | None]
"""From one symbol on, to another one that is left out; None where there is no such bound."""

WHOLE: Range = (None, None)


def weeks(count: int) -> list[date]:
    """Return the last ``count`` weeks that are served, oldest first."""
    return [LAST_WEEK - timedelta(weeks=back) for back in range(count - 1, -1, -1)]


def lines_of_a_week(rows: int) -> pl.DataFrame:
    """Return a week of T1 with ``rows`` rows by symbol and firm, and FINRA's sums of them."""
    market = Market(SEED, round(rows / 0.47))
    week = date.fromisoformat(BASE_WEEK)
    given: Mapping[str, str] = {
        "weekStartDate": BASE_WEEK,
        "tierIdentifier": "T1",
        "tierDescription": "NMS Tier 1",
        "summaryStartDate": BASE_WEEK,
        "initialPublishedDate": UPDATED,
        "lastUpdateDate": UPDATED,
    }
    found = with_aggregates(market.firm_rows("T1", week)).with_columns(
        totalWeeklyTradeCount="trades",
        totalWeeklyShareQuantity="shares",
        totalNotionalSum=(pl.col("cents") / 100).round(2),
        **{name: pl.lit(value) for name, value in given.items()},
    )
    return found.select(API_FIELDS).sample(fraction=1, shuffle=True, seed=SEED)


def pages_of(lines: pl.DataFrame) -> list[bytes]:
    """Return ``lines`` as pages of delimited text."""
    return [
        piece.write_csv(separator="|", quote_style="never").encode()
        for piece in lines.iter_slices(PAGE_ROWS)
    ]


class Source:
    """Serves `/partitions`, the probes, and pages of all weeks and tiers, whole or by symbols."""

    def __init__(self, rows: int, count: int, latency_seconds: float, restated: float) -> None:
        lines = lines_of_a_week(rows)
        self.line_count = len(lines)
        self._symbols = lines[SYMBOL].fill_null("").sort()  # blank ones are the smallest
        self._serve(lines, UPDATED)
        self._weeks = weeks(count)
        self._latency_seconds = latency_seconds
        self._restated = restated
        self._lines = lines
        self.firm_rows = len(lines.filter(IS_FIRM))
        self._pages_asked_at: list[float] = []
        self._probe_count = 0
        self.app = Starlette(
            routes=[
                Route("/partitions/group/{group}/name/{dataset}", self._partitions),
                Route("/data/group/{group}/name/{dataset}", self._data, methods=["POST"]),
                Route("/restate", self._restate, methods=["POST"]),
                Route("/figures", self._figures),
            ]
        )

    async def _restate(self, _: Request) -> Response:
        """From now on a share of the rows says one share more, in all weeks."""
        every = round(1 / self._restated)
        shares = pl.col("totalWeeklyShareQuantity")
        chosen = IS_FIRM & (pl.int_range(pl.len()) % every == 0)
        firm = self._lines.with_columns(shares + chosen.cast(pl.Int64))
        self._serve(_with_totals(firm, self._lines), RESTATED)
        return Response(status_code=204)

    def _serve(self, lines: pl.DataFrame, updated: str) -> None:
        self._served, self._updated = lines, updated
        self._pages = {WHOLE: pages_of(lines.head(MAX_OFFSET + PAGE_ROWS))}

    def _pages_of(self, range_: Range) -> list[bytes]:
        """Return the pages of a range, its lines shuffled as all are; they are made once."""
        if range_ not in self._pages:
            start, end = range_
            symbol = pl.col(SYMBOL).fill_null("")
            is_before = True if end is None else symbol < end
            self._pages[range_] = pages_of(self._served.filter(symbol >= (start or ""), is_before))
        return self._pages[range_]

    def _places(self, range_: Range) -> tuple[int, int]:
        """Return where a range begins and ends in the order of symbols."""
        start, end = range_
        first = 0 if start is None else self._symbols.search_sorted(start, "left")
        last = self.line_count if end is None else self._symbols.search_sorted(end, "left")
        return first, last

    async def _figures(self, _: Request) -> Response:
        """Requests since the previous call, and their cost for the server."""
        pages, self._pages_asked_at = self._pages_asked_at, []
        probes, self._probe_count = self._probe_count, 0
        return JSONResponse(
            {
                "pages": len(pages),
                "probes": probes,
                "most_pages_in_a_second": most_in_a_second(pages),
                "cpu_seconds": time.process_time(),
            }
        )

    async def _partitions(self, request: Request) -> Response:
        listed = [[week.isoformat(), tier] for week in self._weeks for tier in TIERS]
        is_current = request.path_params["dataset"] == "weeklySummary"
        return JSONResponse(
            {"availablePartitions": [{"partitions": each} for each in listed if is_current]}
        )

    async def _data(self, request: Request) -> Response:
        arrived = time.monotonic()
        await asyncio.sleep(self._latency_seconds)
        requested = json.loads(await request.body())
        filters = {each["fieldName"]: each["fieldValue"] for each in requested["compareFilters"]}
        range_, offset = _range_in(requested), requested.get("offset", 0)
        if offset > MAX_OFFSET:
            return Response(f"offset {offset} exceeds the maximum of {MAX_OFFSET}", 400)
        first, last = self._places(range_)
        headers = {"Record-Total": str(max(last - first, 0))}
        if requested["limit"] == 1 and len(requested["fields"]) == 1:
            self._probe_count += 1
            symbols = self._symbols[first + offset : last][:1]
            found = [{"lastUpdateDate": self._updated, SYMBOL: each} for each in symbols]
            return JSONResponse(found, headers=headers)
        self._pages_asked_at.append(arrived)
        page = self._pages_of(range_)[offset // PAGE_ROWS]
        body = page.replace(BASE_WEEK.encode(), filters["weekStartDate"].encode())
        tier = filters["tierIdentifier"].encode()
        return Response(body.replace(b"|T1|", b"|" + tier + b"|"), 200, headers, "text/plain")


def _range_in(requested: Mapping[str, Any]) -> Range:
    bounds = {
        each["compareType"]: each["fieldValue"]
        for each in requested["compareFilters"]
        if each["fieldName"] == SYMBOL
    }
    return bounds.get("GTE"), bounds.get("LESSER")


def most_in_a_second(moments: list[float]) -> int:
    """Return how many of ``moments``, in seconds, fall into the fullest second."""
    ordered, first, most = sorted(moments), 0, 0
    for last, moment in enumerate(ordered):
        while ordered[first] <= moment - 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def _with_totals(firm: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """Return ``firm`` with FINRA's sums by symbol made right again."""
    shares, symbol = "totalWeeklyShareQuantity", "issueSymbolIdentifier"
    code = pl.col("summaryTypeCode")
    sums = (
        firm.filter(code.str.ends_with("_SMBL_FIRM"))
        .group_by(symbol, code.str.strip_suffix("_FIRM"))
        .agg(pl.col(shares).sum().alias("sum"))
    )
    joined = firm.join(sums, on=[symbol, "summaryTypeCode"], how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("sum", shares).alias(shares)).select(before.columns)


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--weeks", type=int, required=True)
    parser.add_argument("--latency-seconds", type=float, default=0.0)
    parser.add_argument("--restated", type=float, default=0.01)
    requested = parser.parse_args()
    source = Source(requested.rows, requested.weeks, requested.latency_seconds, requested.restated)
    listener = socket.create_server(("127.0.0.1", 0))
    told = {"port": listener.getsockname()[1], "lines": source.line_count}
    print(json.dumps({**told, "firm_rows": source.firm_rows}), flush=True)
    config = uvicorn.Config(source.app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
