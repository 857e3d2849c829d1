"""Pages of the shop as an ASGI application, which counts impolite requests."""

import hashlib
import time
from collections import Counter, deque
from datetime import date

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from orchestration_demo.clock import Clock
from orchestration_demo.shop.machine_readable import MachineReadable, price_cents
from orchestration_demo.shop.members import Members
from orchestration_demo.shop.showroom import showroom_routes

PER_LIST = 20
PREVIEW = 9_001
"""Product that robots.txt disallows, although the first list links to it."""

ROBOTS = f"User-agent: *\nDisallow: /product/{PREVIEW}\nDisallow: /basket\n"
PATHS = (
    *("/product/", "/catalogue", "/basket", "/api/", "/sitemap", "/feed", "/search"),
    *("/login", "/members", "/showroom"),
)


class Shop:
    """The shop.

    Args:
        product_count: Number of products.
        new_layout_from: Day of the clock from which pages have another layout.
        requests_per_second: Requests within a second above which they count as impolite.
        clock: Decides the day: prices of each tenth product change with it.

    ``last_request`` is the monotonic time of the latest request.
    """

    def __init__(
        self, *, product_count: int, new_layout_from: date, requests_per_second: int, clock: Clock
    ) -> None:
        self.last_request = time.monotonic()
        self._product_count = product_count
        self._new_layout_from = new_layout_from
        self._limit = requests_per_second
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._arrivals: deque[float] = deque()
        self._app = Starlette(
            routes=[
                Route("/robots.txt", lambda _: PlainTextResponse(ROBOTS)),
                Route("/catalogue", self._list),
                Route("/product/{number:int}", self._product),
                Route("/basket", lambda _: PlainTextResponse("0 products")),
                Route("/politeness", self._politeness),
                *MachineReadable(product_count, lambda: self._today).routes,
                *Members().routes,
                *showroom_routes(),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and count it."""
        self.last_request = time.monotonic()
        if scope["type"] == "http" and scope["path"].startswith(PATHS):
            self._count(scope["path"], dict(scope["headers"]))
        await self._app(scope, receive, send)

    def _count(self, path: str, headers: dict[bytes, bytes]) -> None:
        self._counts["requests"] += 1
        self._counts[path] += 1
        self._counts["disallowed"] += path in (f"/product/{PREVIEW}", "/basket")
        self._counts["without_contact"] += b"(+" not in headers.get(b"user-agent", b"")
        self._arrivals.append(self.last_request)
        while self._arrivals[0] <= self.last_request - 1:
            self._arrivals.popleft()
        self._counts["above_rate"] += len(self._arrivals) > self._limit

    def _politeness(self, _: Request) -> Response:
        names = ("requests", "disallowed", "without_contact", "above_rate")
        repeated = max(
            (count for path, count in self._counts.items() if path.startswith("/product/")),
            default=0,
        )
        counts = {name: self._counts[name] for name in names}
        return JSONResponse({**counts, "most_requests_of_a_product": repeated})

    @property
    def _today(self) -> date:
        return self._clock.now().date()

    @property
    def _is_new(self) -> bool:
        return self._today >= self._new_layout_from

    def _list(self, request: Request) -> Response:
        text = request.query_params.get("page", "1")
        page = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 1
        first = (page - 1) * PER_LIST + 1
        last = min(first + PER_LIST, self._product_count + 1)
        numbers = [*range(first, last), *([PREVIEW] if page == 1 else [])]
        products = "\n".join(
            f'<article class=product><a href="/product/{each}">Product {each}</a></article>'
            for each in numbers
        )
        following = page * PER_LIST < self._product_count
        link = f'<a rel=next href="?page={page + 1}">next</a>' if following else ""
        return self._answer(
            request, f"<h1>Catalogue</h1>{products}{link}<a href=/basket>basket</a>"
        )

    def _product(self, request: Request) -> Response:
        number = request.path_params["number"]
        if not 1 <= number <= self._product_count and number != PREVIEW:
            return HTMLResponse("<h1>no such product</h1>", 404)
        cents = price_cents(number, self._today)
        euros = f"{cents // 100:,}".replace(",", ".") + f",{cents % 100:02}"
        price = "amount" if self._is_new else "price"
        rating = f'{{"aggregateRating": {{"ratingValue": {number % 5}.50}}}}'
        published = date.fromordinal(date(2026, 1, 1).toordinal() + number % 300)
        return self._answer(
            request,
            f"""<h1>Product {number}</h1><i itemprop=sku>P{number:04}</i>
<p class={price}>{euros} €<meta itemprop=priceCurrency content=EUR></p>
<p class=stock>{number % 7} in stock</p><time>{published:%d.%m.%Y}</time>
<b class=tag>tag-{number % 3}</b><b class=tag>tag-{number % 5}</b>
<script type="application/ld+json">{rating}</script>
""",
        )

    def _answer(self, request: Request, body: str) -> Response:
        page = f"<!doctype html><meta charset=utf-8><title>Shop</title>{body}"
        etag = f'"{hashlib.sha256(page.encode()).hexdigest()[:16]}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"etag": etag})
        return HTMLResponse(page, headers={"etag": etag})
