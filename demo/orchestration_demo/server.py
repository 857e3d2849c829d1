"""FINRA's Query API over HTTP: paths, headers, status codes, and the faults that travel there."""

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

import polars as pl
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from orchestration_demo import faults
from orchestration_demo.access import RateLimit, RefusedError, Tokens
from orchestration_demo.clock import Clock
from orchestration_demo.fields import PARTITION_FIELDS, Dataset, dataset, metadata
from orchestration_demo.fixed_income import FixedIncome, Issue
from orchestration_demo.market import Market
from orchestration_demo.memory import Memory
from orchestration_demo.pages import Page, json_page, text_page
from orchestration_demo.publication import new_york_day
from orchestration_demo.query import (
    MAX_LIMIT,
    BadRequestError,
    Query,
    Selection,
    page_of,
    parse_query,
)
from orchestration_demo.source import Source

log = logging.getLogger("demo")

GATEWAY_TIMEOUT_BODY = "<html><body><h1>504 Gateway Time-out</h1></body></html>"


class QueryApi:
    """The API as an ASGI application, with ``others`` that are served beside it.

    ``last_request`` is the monotonic time of the latest request.
    """

    def __init__(
        self,
        *,
        market: Market,
        memory: Memory,
        clock: Clock,
        latency_seconds: float,
        requests_per_second: int,
        others: Sequence[Route] = (),
    ) -> None:
        self.last_request = time.monotonic()
        self._memory = memory
        self._clock = clock
        self._latency_seconds = latency_seconds
        self._weekly = Source(market, memory.anchor)
        self._fixed_income = FixedIncome(market, memory.anchor)
        self._tokens = Tokens()
        self._rate = RateLimit(requests_per_second)
        dataset_path = "group/{group}/name/{name}"
        self._app = Starlette(
            routes=[
                Route("/health", self._health),
                Route(f"/data/{dataset_path}", self._data, methods=["GET", "POST"]),
                Route(f"/partitions/{dataset_path}", self._partitions),
                Route(f"/metadata/{dataset_path}", self._metadata),
                Route("/fip/rest/ews/oauth2/access_token", self._token, methods=["POST"]),
                *others,
            ],
            exception_handlers={
                BadRequestError: _bad_request,
                RefusedError: _refused,
                HTTPException: _not_served,
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and note when."""
        self.last_request = time.monotonic()
        await self._app(scope, receive, send)
        self.last_request = time.monotonic()

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "source": "demo"})

    async def _partitions(self, request: Request) -> Response:
        requested = await self._admitted(request)
        available = self._of(requested).available(requested, new_york_day(self._clock.now()))
        return JSONResponse({"availablePartitions": [{"partitions": each} for each in available]})

    async def _metadata(self, request: Request) -> Response:
        requested = await self._admitted(request)
        today = new_york_day(self._clock.now())
        listed = faults.fields_on(today, self._memory.anchor, requested.fields)
        return JSONResponse(metadata(requested, listed))

    async def _token(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode("latin-1"))
        grant_type = request.query_params.get("grant_type") or form.get("grant_type", [""])[0]
        return JSONResponse(
            self._tokens.issue(request.headers.get("Authorization", ""), grant_type)
        )

    async def _data(self, request: Request) -> Response:
        self._rate.check()
        requested = await self._admitted(request)
        query = await _query(requested, request)
        today = new_york_day(self._clock.now())
        editions = self._of(requested).editions(requested, query.selection, today)
        where = self._place(query, editions)
        if fault := self._fault(where):
            return fault
        is_json = "application/json" in request.headers.get("Accept", "")
        return await run_in_threadpool(self._answer, requested, query, editions, where, is_json)

    def _answer(
        self,
        requested: Dataset,
        query: Query,
        editions: tuple[Any, ...],
        where: faults.Place | None,
        is_json: bool,
    ) -> Response:
        """Return the page of ``query`` that is requested."""
        found = self._of(requested).select(requested, query.selection, editions)
        rows = found.slice(query.offset, query.limit)
        if where:
            rows = rows.head(faults.page_length(where, query.offset, rows.height))
        page = _page(rows, query, is_json)
        log.info(
            "data %s total=%d page=%d+%d",
            where,
            found.height,
            query.offset,
            page.records,
            extra={"event": "demo_data_served"},
        )
        return _page_response(page, query, found.height, is_json)

    async def _admitted(self, request: Request) -> Dataset:
        """Return the dataset in the path, for a caller who may ask, after the source's latency."""
        self._tokens.check(request.headers.get("Authorization"))
        group, name = request.path_params["group"], request.path_params["name"]
        found = dataset(group, name)
        if found is None:
            raise RefusedError(404, f"Unknown dataset: {group}/{name}")
        await asyncio.sleep(self._latency_seconds)
        return found

    def _of(self, requested: Dataset) -> Source | FixedIncome:
        is_weekly = requested.partition_fields == PARTITION_FIELDS
        return self._weekly if is_weekly else self._fixed_income

    def _place(self, query: Query, editions: tuple[Any, ...]) -> faults.Place | None:
        """Return where a page of a single partition lies; faults hit nothing else."""
        if len(editions) != 1 or query.limit < faults.PAGE_LIMIT:
            return None
        if isinstance(editions[0], Issue):
            return self._fixed_income.place(editions[0])
        return faults.place(self._memory.anchor, editions[0].tier, editions[0].week)

    def _fault(self, where: faults.Place | None) -> Response | None:
        """Return the failure that the first page of ``where`` meets, once in the folder's life."""
        throttled = faults.THROTTLED.get(where) if where else None
        if throttled and self._memory.serve_once(throttled):
            log.info("fault: 429 for %s", where, extra={"event": "demo_fault_throttled"})
            return _error(429, "Too many requests", {"Retry-After": "1"})
        if where == faults.GATEWAY_TIMEOUT and self._memory.serve_once("gateway_timeout"):
            log.info("fault: 504 for %s", where, extra={"event": "demo_fault_timed_out"})
            return HTMLResponse(GATEWAY_TIMEOUT_BODY, status_code=504)
        return None


async def _query(requested: Dataset, request: Request) -> Query:
    """Return what is requested; a GET's filters are ignored, as FINRA ignores them."""
    if request.method == "POST":
        return parse_query(requested, await request.body())
    return page_of(Selection(tuple(requested.fields)), request.query_params)


def _page(rows: pl.DataFrame, query: Query, is_json: bool) -> Page:
    return json_page(rows) if is_json else text_page(rows, query.delimiter, query.is_quoted)


def _page_response(page: Page, query: Query, total: int, is_json: bool) -> Response:
    """Return ``page`` with the headers that callers page by."""
    headers = _headers(f"{query} {total}") | {
        "Record-Total": str(total),
        "Record-Offset": str(query.offset),
        "Record-Limit": str(query.limit),
        "Record-Max-Limit": str(MAX_LIMIT),
        "Total-Records-On-Page": str(page.records or ""),
    }
    if not page.records and not is_json:
        return Response(status_code=204, headers=headers)
    media_type = "application/json" if is_json else "text/plain"
    return Response(page.body, headers=headers, media_type=media_type)


def _headers(answer: str) -> dict[str, str]:
    """Ours follows from the answer, as all demo data does; FINRA's differs with each request."""
    return {"FINRA-api-request-id": str(uuid.uuid5(uuid.NAMESPACE_OID, answer))}


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    log.info("answered %d: %s", status, message, extra={"event": "demo_request_rejected"})
    body = {"statusCode": status, "message": message}
    return JSONResponse(body, status_code=status, headers=_headers(message) | (headers or {}))


async def _bad_request(request: Request, error: Exception) -> Response:
    return _error(400, str(error))


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, RefusedError):
        raise error
    return _error(error.status, str(error), error.headers)


async def _not_served(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _error(error.status_code, error.detail)
