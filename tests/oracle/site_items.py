"""Recomputes items of the demo's shop from its captured pages, by the rules of sites/*.yaml."""

import json
import re
from collections.abc import Callable, Sequence
from decimal import Decimal

from tests.oracle.archive import Capture, Delivery, Row
from tests.oracle.history import Table
from tests.oracle.mqtt import canonical

KEY = ("site", "item_key")
PRODUCT = re.compile(r"/product/\d+$")
REQUIRED = ("sku", "name", "price", "currency")


def first(pattern: str, text: str) -> str | None:
    """Return the first group of a pattern without blanks around it; None: it does not occur."""
    found = re.search(pattern, text, re.DOTALL)
    return found[1].strip() if found else None


def read_price(text: str | None) -> str | None:
    """Return a price such as 1.234,56 as an exact decimal."""
    number = first(r"([\d.]+(?:,\d+)?)", text or "")
    return number and str(Decimal(number.replace(".", "").replace(",", ".")))


def read_page(content: bytes) -> list[Row]:
    """Return the item of a page by sites/shop.yaml; a field without value is left out."""
    text = content.decode()
    data = first(r"<script type=\"?application/ld\+json\"?>(.*?)</script>", text)
    rating = data and first(r'"ratingValue":\s*([\d.]+)', data)
    stock = first(r"<p class=stock>\s*(\d+) in stock", text)
    day = first(r"<time>(.*?)</time>", text)
    item = {
        "sku": first(r"itemprop=sku>(.*?)</i>", text),
        "name": first(r"<h1>(.*?)</h1>", text),
        "price": read_price(first(r"<p class=price>(.*?)<", text)),
        "currency": first(r"itemprop=priceCurrency content=(\w+)", text),
        "rating": rating,
        "stock": None if stock is None else int(stock),
        "published_on": day and "-".join(reversed(day.split("."))),
        "tags": re.findall(r"<b class=tag>(.*?)</b>", text) or None,
    }
    return [{name: value for name, value in item.items() if value is not None}]


def read_answer(content: bytes) -> list[Row]:
    """Return the items of an answer of the shop's API, by sites/shop_api.yaml, without the brand.

    Its key is chosen by similarity of names, which is not recomputed.
    """
    items = []
    for product in json.loads(content, parse_float=str)["items"]:
        weight = re.fullmatch(r"([\d.]+) (k?g)", product.get("weight") or "")
        item = {
            "sku": product["sku"],
            "name": product["name"],
            "price": str(product["price"]["amount"]),
            "currency": product["price"]["currency"],
            "stock": product.get("stock"),
            "weight_g": weight and grams(weight[1], weight[2]),
            "seller": "***" if product.get("seller", {}).get("email") else None,
        }
        items.append({name: value for name, value in item.items() if value is not None})
    return items


def grams(number: str, unit: str) -> str:
    """Return a weight in grams without needless decimals."""
    value = Decimal(number) * (1000 if unit == "kg" else 1)
    return format(value.normalize(), "f")


READERS: dict[str, Callable[[bytes], list[Row]]] = {"shop": read_page, "shop_api": read_answer}


def items(deliveries: Sequence[Delivery]) -> tuple[Table, set[str]]:
    """Return `web_items` with its history, and the deliveries that are quarantined.

    Each crawl loads the items of the latest capture of each page.
    """
    table, quarantined = Table(KEY), set()
    pages: dict[tuple[str, str], Capture] = {}
    for delivery in deliveries:
        site = delivery.partition_key
        if delivery.table_name == "web_pages":
            for capture in delivery.captures:
                is_item = site == "shop_api" or PRODUCT.search(capture.url)
                if is_item and capture.content:  # an unchanged page, of status 304, has no body
                    pages[site, capture.url] = capture
        elif delivery.table_name == "web_items":
            rows = read_items(site, pages)
            if rows is None:
                quarantined.add(delivery.group_id)
            elif delivery.landed_at:
                table.load(
                    rows,
                    delivery.landed_at,
                    delivery.rule_version,
                    lambda row, site=site: row["site"] == site,
                )
    return table, quarantined


def read_items(site: str, pages: dict[tuple[str, str], Capture]) -> dict[tuple, Row] | None:
    """Return the items of a site's pages by key; None: one lacks a required field."""
    rows = {}
    for (of_site, url), capture in pages.items():
        for item in READERS[site](capture.content) if of_site == site else []:
            if any(name not in item for name in REQUIRED):
                return None
            rows[site, item["sku"]] = {
                "site": site,
                "item_key": item["sku"],
                "url": url,
                "payload": canonical(item),
                "capture_id": capture.capture_id,
            }
    return rows


def without_brand(row: Row) -> Row:
    """Return an exported item without its brand."""
    payload = json.loads(row["payload"])
    payload.pop("brand", None)
    return row | {"payload": canonical(payload)}
