"""The demo's shop in tests, at a time of its clock, and what its crawls loaded."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from orchestration_project.catalog.web import shop_demo
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.tables import web_items
from orchestration_project.settings import load_settings
from tests import databases

PRODUCTS = 20
NEW_LAYOUT = "2026-02-03"
"""Day from which the shop has another layout: prices are in `.amount`."""


class Shop:
    """The demo's shop at a time of its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def at(self, day: str) -> None:
        """Set the day of the clock, and start the shop."""
        self._monkeypatch.setenv("DEMO_CLOCK_NOW", f"{day}T09:00:00+00:00")
        self._program.url()

    def stop(self) -> None:
        """Stop the shop: from now on nothing can be requested."""
        self._program.stop()

    @property
    def _program(self) -> Any:
        return shop_demo(WebSettings.of(load_settings()))


def started(monkeypatch: pytest.MonkeyPatch, products: int = PRODUCTS) -> Iterator[Shop]:
    """Give a shop, and stop it at the end."""
    monkeypatch.setenv("DEMO_SHOP_PRODUCTS", str(products))
    monkeypatch.setenv("DEMO_SHOP_NEW_LAYOUT_FROM", NEW_LAYOUT)
    shop = Shop(monkeypatch)
    yield shop
    shop.stop()


def price_of(number: int, day: int) -> str:
    """Return the price of a product on a day of the month, as the shop has it."""
    cents = 995 + number * 37 + (day if number % 10 == 0 else 0)
    return f"{cents // 100}.{cents % 100:02}"


def items_of(url: str) -> dict[str, dict[str, Any]]:
    """Return the loaded items by key."""
    wanted = select(web_items.c.item_key, web_items.c.payload)
    return {key: json.loads(payload) for key, payload in databases.rows(url, wanted)}
