"""Rows of fields follow the items that a load changes, and are those of all items."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from sqlalchemy import select, text

from orchestration_project.domains.web import item_rows
from orchestration_project.domains.web.sites import Site, read_site
from orchestration_project.domains.web.tables import web_item_fields
from tests import databases
from tests.assets.test_web_operation import site_of
from tests.assets.web_shop import POSTGRESQL_SLOW, materialize_and_check_success
from tests.faulty_server import Reply

LOG = "CREATE TABLE deleted_fields (item_key TEXT)"
TRIGGER = (
    "CREATE TRIGGER log_deleted AFTER DELETE ON web_item_fields "
    "BEGIN INSERT INTO deleted_fields VALUES (old.item_key); END"
)


def site(price: Mapping[str, Any], name: str = "small") -> Site:
    declared = {
        "site": name,
        "base_url": "http://shop.demo",
        "start": ["/"],
        "item": {
            "each": "li",
            "key": ["sku"],
            "fields": {
                "sku": {"css": "i", "required": True},
                "price": {"css": "b", **price},
                "tags": {"css": "u", "many": True},
            },
        },
        "politeness": {"requests_per_second": 1000},
    }
    return read_site(yaml.safe_dump(declared))


def page(prices: Mapping[str, str], tags: str = "<u>a</u>") -> Reply:
    rows = "".join(f"<li><i>{key}</i><b>{price}</b>{tags}</li>" for key, price in prices.items())
    return Reply(headers={"Content-Type": "text/html"}, body=rows.encode())


def fields(url: str, site: str = "small") -> dict[tuple[str, str, int], tuple[str, int | None]]:
    columns = (
        *("item_key", "field", "position"),
        *("text_value", "amount"),
    )
    wanted = select(*(web_item_fields.c[name] for name in columns))
    rows = databases.rows(url, wanted.where(web_item_fields.c.site == site))
    return {(key, field, position): (value, amount) for key, field, position, value, amount in rows}


def expected(prices: Mapping[str, str], *, scale: int | None = 10**6) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for key, price in prices.items():
        found[key, "sku", 1] = (key, None)
        found[key, "price", 1] = (price, int(price) * scale if scale else None)
        found[key, "tags", 1] = ("a", None)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("held_items", [pytest.param(100, marks=pytest.mark.slow), 4])
@POSTGRESQL_SLOW
def test_a_load_replaces_the_fields_of_changed_items_alone(
    url: str, instance: Any, monkeypatch: pytest.MonkeyPatch, held_items: int
):
    monkeypatch.setattr(item_rows, "MAX_HELD_ITEMS", held_items)  # more are loaded in ranges
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-02-01T09:00:00+00:00")
    is_logged = url.startswith("sqlite")
    prices = {f"P{n}": str(n) for n in range(1, 10)}
    replies = {"/": page(prices)}
    priced = site({"process": "price"})
    with site_of(replies, {}) as (_, access):
        materialize_and_check_success(instance, site({}, "other"), "2026-02-01", web=access)
        materialize_and_check_success(instance, priced, "2026-02-01", web=access)
        assert fields(url) == expected(prices)
        if is_logged:
            databases.execute(url, text(LOG), text(TRIGGER))
        prices |= {"P3": "30", "P10": "10"}
        del prices["P9"]
        replies["/"] = page(prices)
        materialize_and_check_success(instance, priced, "2026-02-02", web=access)
        assert fields(url) == expected(prices)
        if is_logged:
            deleted = databases.rows(url, text("SELECT DISTINCT item_key FROM deleted_fields"))
            assert sorted(deleted) == [("P3",), ("P9",)]
        materialize_and_check_success(
            instance, site({}), "2026-02-03", web=access
        )  # other rules, the same payloads
        assert fields(url) == expected(prices, scale=None)
    assert len(fields(url, "other")) == 27
