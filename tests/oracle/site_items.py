"""Recomputes items of the demo's shop from its captured pages, by the rules of sites/*.yaml."""

import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal

from tests.oracle.archive import Row, index_rows, place_of
from tests.oracle.delimited import read_units
from tests.oracle.history import Folded, difference
from tests.oracle.mqtt import canonical

PRODUCT = re.compile(r"/product/\d+$")
REQUIRED = {"sku", "name", "price", "currency"}
NUMBERS = ("price", "stock", "weight_g")
"""Fields that are read as numbers, prices or quantities."""


def first(pattern: str, text: str) -> str | None:
    """Return the first group of a pattern without blanks around it; None: it does not occur."""
    match = re.search(pattern, text, re.DOTALL)
    return match[1].strip() if match else None


def read_page(content: bytes) -> list[Row]:
    """Return the item of a page by sites/shop.yaml."""
    text = content.decode()
    linked = first(r"<script type=\"?application/ld\+json\"?>(.*?)</script>", text)
    stock = first(r"<p class=stock>\s*(\d+) in stock", text)
    day = first(r"<time>(.*?)</time>", text)
    price = first(r"([\d.]+(?:,\d+)?)", first(r"<p class=price>(.*?)<", text) or "")
    return [
        {
            "sku": first(r"itemprop=sku>(.*?)</i>", text),
            "name": first(r"<h1>(.*?)</h1>", text),
            "price": price and str(Decimal(price.replace(".", "").replace(",", "."))),
            "currency": first(r"itemprop=priceCurrency content=(\w+)", text),
            "rating": first(r'"ratingValue":\s*([\d.]+)', linked or ""),
            "stock": None if stock is None else int(stock),
            "published_on": day and "-".join(reversed(day.split("."))),
            "tags": re.findall(r"<b class=tag>(.*?)</b>", text) or None,
        }
    ]


def read_answer(content: bytes) -> list[Row]:
    """Return the items of an answer of the shop's API, by sites/shop_api.yaml, without the brand.

    Its key is chosen by similarity of names, which is not recomputed.
    """
    return [
        {
            "sku": product["sku"],
            "name": product["name"],
            "price": str(product["price"]["amount"]),
            "currency": product["price"]["currency"],
            "stock": product.get("stock"),
            "weight_g": grams(product.get("weight") or ""),
            "seller": "***" if product.get("seller", {}).get("email") else None,
        }
        for product in json.loads(content, parse_float=str)["items"]
    ]


def grams(text: str) -> str | None:
    """Return a weight in grams without needless decimals."""
    weight = re.fullmatch(r"([\d.]+) (k?g)", text)
    factor = 1000 if text.endswith("kg") else 1
    return weight and format((Decimal(weight[1]) * factor).normalize(), "f")


READERS: dict[str, Callable[[bytes], list[Row]]] = {"shop": read_page, "shop_api": read_answer}


def items(deliveries: Sequence[Row]) -> tuple[Folded, set[str]]:
    """Return `web_items` with its history, and the deliveries that are quarantined.

    Each crawl loads the items of the latest capture of each page.
    """
    table, quarantined = Folded("web_items"), set()
    pages: dict[tuple[str, str], Row] = {}
    for delivery in deliveries:
        site = delivery["partition_key"]
        if delivery["table_name"] == "web_pages":
            for capture in delivery["captures"]:
                is_item = site == "shop_api" or PRODUCT.search(capture["url"])
                if is_item and capture["content"]:  # an unchanged page, of status 304, has no body
                    pages[site, capture["url"]] = capture
        elif delivery["table_name"] == "web_items":
            rows = read_items(site, pages)
            if rows is None:
                quarantined.add(delivery["group_id"])
            elif delivery["landed_at"]:
                table.load(delivery, rows, lambda row, site=site: row["site"] == site)
    return table, quarantined


def read_items(site: str, pages: dict[tuple[str, str], Row]) -> dict[tuple, Row] | None:
    """Return the items of a site's pages by key; None: one lacks a required field."""
    rows = {}
    for capture in (capture for (of_site, _), capture in pages.items() if of_site == site):
        for item in READERS[site](capture["content"]):
            payload = {name: value for name, value in item.items() if value is not None}
            if not payload.keys() >= REQUIRED:
                return None
            place = {"site": site, "item_key": item["sku"], "url": capture["url"]}
            row = place | {"payload": canonical(payload), "capture_id": capture["capture_id"]}
            rows[site, item["sku"]] = row
    return rows


def fields_of(row: Row) -> dict[str, list[str]]:
    """Return the values of each field of an item as texts."""
    payload = json.loads(row["payload"])
    fields = {
        name: value if isinstance(value, list) else [value] for name, value in payload.items()
    }
    return {
        name: [value if isinstance(value, str) else canonical(value) for value in values]
        for name, values in fields.items()
    }


def item_fields(rows: Sequence[Row]) -> list[Row]:
    """Return `web_item_fields`; the kind of a value is that of the field's rule."""
    return [
        {
            **{name: row[name] for name in ("site", "item_key")},
            "field": name,
            "position": position,
            "text_value": text,
            "amount": read_units(text) if name in NUMBERS else None,
            "currency": fields["currency"][0] if name == "price" else None,
            "time_value": f"{text}T00:00:00.000000Z" if name == "published_on" else None,
        }
        for row in rows
        for fields in [fields_of(row)]
        for name, texts in fields.items()
        for position, text in enumerate(texts, start=1)
    ]


def changes(table: Folded) -> list[Row]:
    """Return `web_changes` of items that were replaced: each field with another value."""
    key = ("site", "item_key")
    states = index_rows([*table.rows, *table.history], (*key, "known_from"))
    rows = []
    for old in table.history:
        new = states[*place_of(old, key), old["known_to"]]
        before, after = (
            [{"field": name, "text": ", ".join(texts)} for name, texts in fields_of(row).items()]
            for row in (old, new)
        )
        rows += [
            {
                **{name: old[name] for name in (*key, "change_cause")},
                "at": old["known_to"],
                "field": change["field"],
                "kind": change["change"],
                "before": change["old_text"],
                "after": change["new_text"],
            }
            for change in difference(before, after, ["field"])
        ]
    return rows
