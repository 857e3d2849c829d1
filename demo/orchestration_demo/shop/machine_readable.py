"""Routes of the shop for machines: a JSON API with cursor, sitemaps, a feed and a search."""

import gzip
import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

ORIGIN = "http://shop.demo"
"""Name of the shop in site files, wherever its server is."""

BRANDS = ("Acme", "ACME Corp.", "Bolt and Sons", "Unbranded")
MAX_LIMIT = 100
MAX_FOUND = 10


def price_cents(number: int, day: date) -> int:
    """Return the price of a product; that of each tenth one changes by day."""
    return 995 + number * 37 + (day.day if number % 10 == 0 else 0)


class MachineReadable:
    """Routes for machines.

    Args:
        product_count: Number of products.
        today: Returns the day of the shop's clock.
    """

    def __init__(self, product_count: int, today: Callable[[], date]) -> None:
        self._product_count = product_count
        self._today = today

    @property
    def routes(self) -> Sequence[Route]:
        """The routes."""
        return [
            Route("/api/products", self._api),
            Route("/sitemap.xml", self._sitemap_index),
            Route("/sitemap-products.xml.gz", self._sitemap),
            Route("/sitemap-entities.xml", self._sitemap_with_entities),
            Route("/feed.rss", self._feed),
            Route("/search", self._search),
        ]

    def _api(self, request: Request) -> Response:
        """Return products behind a cursor, and the cursor of the next ones."""
        text = request.query_params.get("limit", "20")
        limit = min(int(text), MAX_LIMIT) if text.isascii() and text.isdigit() else 20
        try:
            after = int(urlsafe_b64decode(request.query_params.get("cursor", "") or "MA=="))
        except (Error, ValueError):
            return JSONResponse({"error": "invalid cursor"}, 400)
        last = min(after + max(limit, 1), self._product_count)
        cursor = urlsafe_b64encode(str(last).encode()).decode()
        return _answer(
            request,
            json.dumps(
                {
                    "items": [self._product(each) for each in range(after + 1, last + 1)],
                    "next_cursor": cursor if last < self._product_count else None,
                }
            ),
            "application/json",
        )

    def _product(self, number: int) -> dict[str, Any]:
        return {
            "sku": f"P{number:04}",
            "name": f"Product {number}",
            "price": {"amount": price_cents(number, self._today()) / 100, "currency": "EUR"},
            "stock": number % 7,
            "weight": f"{number % 5}.5 kg" if number % 2 else f"{number} g",
            "brand": BRANDS[number % len(BRANDS)],
            "seller": {"email": f"seller-{number % 3}@example.org"},
        }

    def _sitemap_index(self, request: Request) -> Response:
        entry = f"<sitemap><loc>{ORIGIN}/sitemap-products.xml.gz</loc></sitemap>"
        return _answer(request, _xml("sitemapindex", entry), "application/xml")

    def _sitemap(self, request: Request) -> Response:
        urls = [f"{ORIGIN}/product/{each}" for each in range(1, self._product_count + 1)]
        entries = "".join(
            f"<url><loc>{url}</loc></url>" for url in [*urls, "http://elsewhere.demo/product/1"]
        )
        body = gzip.compress(_xml("urlset", entries).encode(), mtime=0)
        return _answer(request, body, "application/gzip")

    def _sitemap_with_entities(self, request: Request) -> Response:
        body = (
            '<!DOCTYPE urlset [<!ENTITY a "/product/1">]><urlset><url><loc>&a;</loc></url></urlset>'
        )
        return _answer(request, body, "application/xml")

    def _feed(self, request: Request) -> Response:
        items = "".join(f"<item><link>{ORIGIN}/product/{each}</link></item>" for each in (1, 2))
        body = f'<rss version="2.0"><channel><link>{ORIGIN}/</link>{items}</channel></rss>'
        return _answer(request, body, "application/rss+xml")

    def _search(self, request: Request) -> Response:
        term = request.query_params.get("q", "")
        names = ((each, f"Product {each}") for each in range(1, self._product_count + 1))
        found = [each for each, name in names if term and name.endswith(term)][:MAX_FOUND]
        links = "".join(
            f'<article class=product><a href="/product/{each}">Product {each}</a></article>'
            for each in found
        )
        return HTMLResponse(f"<!doctype html><meta charset=utf-8><h1>Results</h1>{links}")


def _xml(root: str, entries: str) -> str:
    namespace = "http://www.sitemaps.org/schemas/sitemap/0.9"
    return f'<?xml version="1.0" encoding="UTF-8"?><{root} xmlns="{namespace}">{entries}</{root}>'


def _answer(request: Request, body: str | bytes, media_type: str) -> Response:
    """Return a body, or 304 if the client has it."""
    content = body.encode() if isinstance(body, str) else body
    etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"etag": etag})
    return Response(content, media_type=media_type, headers={"etag": etag})
