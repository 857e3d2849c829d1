"""A vendor that costs little: charts of any symbol, each made once, with another name in it.

`python -m benchmarks.price_source` prints its port. Some histories of the demo's market stand for
all symbols; a range is cut out of one when it is requested first.
"""

import json
import socket
from datetime import UTC, date, datetime
from functools import lru_cache
from zlib import crc32

import uvicorn
from orchestration_demo.market import Market
from orchestration_demo.prices.answer import price_answer
from orchestration_demo.prices.book import PriceBook
from orchestration_demo.prices.chart import chart
from orchestration_demo.prices.sessions import position
from orchestration_demo.publication import new_york_day
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SEED, ROWS_PER_WEEK = 20_260_302, 6_000
ANCHOR = date(2026, 3, 2)
HISTORIES = 16
NAME = "NAMEOFASYMBOL"


class Charts:
    """Serves `/v8/finance/chart/{symbol}`."""

    def __init__(self) -> None:
        self._book = PriceBook(Market(SEED, ROWS_PER_WEEK), ANCHOR)
        usual = [each.symbol for each in self._book.listed.values() if each.fault is None]
        self._histories = [self._book.history(symbol, ANCHOR) for symbol in usual[:HISTORIES]]
        self._body = lru_cache(maxsize=4 * HISTORIES)(self._made)
        self.app = Starlette(routes=[Route("/v8/finance/chart/{symbol}", self._chart)])

    async def _chart(self, request: Request) -> Response:
        symbol = request.path_params["symbol"]
        first, last = (
            position(new_york_day(datetime.fromtimestamp(int(request.query_params[name]), UTC)))
            for name in ("period1", "period2")
        )
        number = crc32(symbol.encode()) % HISTORIES
        body = await run_in_threadpool(self._body, number, first, last)
        named = body.replace(NAME.encode(), symbol.encode(), 1)
        return Response(named, media_type="application/json")

    def _made(self, number: int, first: int, last: int) -> bytes:
        days = price_answer(self._histories[number], first, last, is_under_way=False)
        return chart(NAME, days, empty_day=None)


def main() -> None:
    """Serve until killed."""
    app = Charts().app
    listener = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
