"""The vendors' HTTP: paths, parameters, refusals with status 200, and faults that travel there."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from orchestration_demo.access import RateLimit, RefusedError
from orchestration_demo.clock import Clock
from orchestration_demo.memory import Memory
from orchestration_demo.prices import spelling
from orchestration_demo.prices.answer import PriceAnswer, price_answer
from orchestration_demo.prices.book import Listed, PriceBook
from orchestration_demo.prices.chart import chart, no_chart
from orchestration_demo.prices.faults import NULL_SESSIONS
from orchestration_demo.prices.series import series
from orchestration_demo.prices.sessions import begun, is_under_way, position
from orchestration_demo.publication import new_york_day

PREMIUM = "premium"
"""How a premium key begins; any other is a free one."""

_COMPACT_SESSIONS = 100
_ADJUSTED = "TIME_SERIES_DAILY_ADJUSTED"
_FUNCTIONS = ("TIME_SERIES_DAILY", _ADJUSTED)
_WEB_PAGE = "<!DOCTYPE html><html><body><h1>We will be back soon</h1></body></html>"
_PLANS = "any of the premium plans at https://www.alphavantage.co/premium/"
_THANKS = "Thank you for using Alpha Vantage!"

_BLAMED = "OTHER"
"""Symbol that a mixed-up response names."""

_TOO_FAST: dict[str, Callable[[], Response]] = {
    "alpha_vantage": lambda: JSONResponse(
        {"Note": f"{_THANKS} Our standard API call frequency is 5 calls per minute."}
    ),
    "yahoo": lambda: PlainTextResponse("Too Many Requests", 429),
}


class Vendors:
    """Alpha Vantage at /query and Yahoo's chart at /v8/finance/chart, with the same prices."""

    def __init__(
        self, book: PriceBook, memory: Memory, clock: Clock, requests_per_day: int
    ) -> None:
        self._book = book
        self._memory = memory
        self._clock = clock
        self._requests_per_day = requests_per_day
        self._requests: Counter[date] = Counter()
        self._rate = RateLimit(1 if requests_per_day else 0)
        self._by_yahoo = _by(book, spelling.yahoo)
        self._by_alpha_vantage = _by(book, spelling.alpha_vantage)
        self.routes = [
            Route("/query", self._query),
            Route("/v8/finance/chart/{symbol}", self._chart),
        ]

    async def _query(self, request: Request) -> Response:
        requested = request.query_params
        key, function = requested.get("apikey", ""), requested.get("function", "")
        symbol, size = requested.get("symbol", ""), requested.get("outputsize", "compact")
        if refused := self._refusal(key) or _premium(key, function, size):
            return JSONResponse(refused)
        now = self._clock.now()
        listed = self._known(self._by_alpha_vantage, symbol, now)
        if listed is None or function not in _FUNCTIONS:
            said = "Invalid API call. Please retry or visit the documentation for"
            return JSONResponse({"Error Message": f"{said} {function}."})
        if fault := self._fault(listed, "alpha_vantage"):
            return fault
        return await run_in_threadpool(
            self._series, listed, symbol, now, size, is_adjusted=function == _ADJUSTED
        )

    def _series(
        self, listed: Listed, symbol: str, now: datetime, size: str, *, is_adjusted: bool
    ) -> Response:
        last = begun(now)
        first = 0 if size == "full" else max(0, last - _COMPACT_SESSIONS)
        body = series(
            _BLAMED if listed.fault == "other" else symbol,
            self._answer(listed, first, last, now),
            is_adjusted=is_adjusted,
            size=size,
            without=self._null_day(listed),
        )
        return Response(body, media_type="application/json")

    async def _chart(self, request: Request) -> Response:
        symbol, now = request.path_params["symbol"], self._clock.now()
        listed = self._known(self._by_yahoo, symbol, now)
        if listed is None:
            body = no_chart("Not Found", "No data found, symbol may be delisted")
            return Response(body, 404, media_type="application/json")
        if fault := self._fault(listed, "yahoo"):
            return fault
        try:
            since, until = (
                datetime.fromtimestamp(int(request.query_params[name]), UTC)
                for name in ("period1", "period2")
            )
        except (KeyError, ValueError, OverflowError, OSError):
            body = no_chart("Bad Request", "Invalid input - period1 or period2")
            return Response(body, 400, media_type="application/json")
        return await run_in_threadpool(self._charted, listed, symbol, now, since, until)

    def _charted(
        self, listed: Listed, symbol: str, now: datetime, since: datetime, until: datetime
    ) -> Response:
        first = position(new_york_day(since))
        last = min(position(new_york_day(until)), begun(now))
        if first >= last:
            body = no_chart("Bad Request", "Data doesn't exist for startDate and endDate")
            return Response(body, 400, media_type="application/json")
        everything = self._answer(listed, first, begun(now), now)
        body = chart(
            _BLAMED if listed.fault == "other" else symbol,
            PriceAnswer(
                first, last, everything.history, everything.later_splits, everything.adjustment
            ),
            empty_day=self._null_day(listed),
        )
        return Response(body, media_type="application/json")

    def _known(self, by_spelling: dict[str, Listed], symbol: str, now: datetime) -> Listed | None:
        listed = by_spelling.get(symbol)
        is_known = listed is not None and self._book.knows(listed.symbol, new_york_day(now))
        return listed if is_known else None

    def _answer(self, listed: Listed, first: int, last: int, now: datetime) -> PriceAnswer:
        history = self._book.history(listed.symbol, new_york_day(now))
        return price_answer(history, first, last, is_under_way=is_under_way(now))

    def _null_day(self, listed: Listed) -> int | None:
        has_it = listed.fault == "nulls"
        return position(self._book.anchor) - NULL_SESSIONS if has_it else None

    def _refusal(self, key: str) -> dict[str, str] | None:
        """Return why a request to Alpha Vantage is refused, whatever it requests; count it."""
        if not key:
            return {"Error Message": "the parameter apikey is invalid or missing."}
        if key.startswith(PREMIUM) or not self._requests_per_day:
            return None
        try:
            self._rate.check()
        except RefusedError:
            return {
                "Information": f"{_THANKS} Please consider spreading out your free API requests "
                f"more sparingly (1 request per second). You may subscribe to {_PLANS} to lift the "
                f"free key rate limit ({self._requests_per_day} requests per day)"
            }
        today = new_york_day(self._clock.now())
        if self._requests[today] >= self._requests_per_day:
            return {
                "Information": f"We have detected your API key as {key} and our standard API rate "
                f"limit is {self._requests_per_day} requests per day. Please subscribe to {_PLANS}"
            }
        self._requests[today] += 1
        return None

    def _fault(self, listed: Listed, vendor: str) -> Response | None:
        """Return what a symbol with a fault meets in the place of prices, once for each vendor."""
        answers: dict[str | None, Callable[[], Response]] = {
            "throttled": _TOO_FAST[vendor],
            "web_page": lambda: HTMLResponse(_WEB_PAGE),
            "empty": lambda: JSONResponse({}),
        }
        answer = answers.get(listed.fault)
        if answer and self._memory.serve_once(f"{listed.fault} {vendor}"):
            return answer()
        return None


def _by(book: PriceBook, spell: Callable[[str], str]) -> dict[str, Listed]:
    """Return what is listed by a vendor's spelling of it."""
    return {spell(symbol): listed for symbol, listed in book.listed.items()}


def _premium(key: str, function: str, size: str) -> dict[str, str] | None:
    """Return why a free key is refused what only premium ones have."""
    if key.startswith(PREMIUM) or (size != "full" and function != _ADJUSTED):
        return None
    said = "The outputsize=full parameter value is a premium feature for this endpoint."
    if function == _ADJUSTED:
        said = "This is a premium endpoint."
    return {"Information": f"{_THANKS} {said} You may subscribe to {_PLANS}"}
