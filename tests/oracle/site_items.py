"""Recomputes items of the demo's shop from its captured pages, by rules of config/sites/*.yaml."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

from tests.oracle.history import Folded, compare_states
from tests.oracle.inputs import Row, index_rows, place_of
from tests.oracle.mqtt import canonical
from tests.oracle.readers import read_units

PRODUCT = re.compile(r"/product/\d+$")
REQUIRED = {"sku", "name", "price", "currency"}
NUMBERS = ("price", "stock", "weight_g")
"""Fields that are read as numbers, prices or quantities."""

FIELDS: dict[str, tuple[str, Callable[[str], object]]] = {
    "sku": (r"itemprop=sku>(.*?)</i>", str),
    "name": (r"<h1>(.*?)</h1>", str),
    "price": (
        r"<p class=price>[^<\d]*([\d.]+(?:,\d+)?)",
        lambda text: str(Decimal(text.replace(".", "").replace(",", "."))),
    ),
    "currency": (r"itemprop=priceCurrency content=(\w+)", str),
    "rating": (r'ld\+json.*?"ratingValue":\s*([\d.]+)', str),
    "stock": (r"<p class=stock>\s*(\d+) in stock", int),
    "published_on": (r"<time>(.*?)</time>", lambda text: "-".join(reversed(text.split(".")))),
}
"""Pattern of each field of a page, by config/sites/shop.yaml, and what it is read as."""


def read_page(content: bytes) -> Iterator[Row]:
    """Yield the item of a page of the shop, without fields that it lacks."""
    text = content.decode()
    found = {name: re.search(pattern, text, re.DOTALL) for name, (pattern, _) in FIELDS.items()}
    item = {name: FIELDS[name][1](match[1].strip()) for name, match in found.items() if match}
    tags = re.findall(r"<b class=tag>(.*?)</b>", text)
    yield item | ({"tags": tags} if tags else {})


def read_answer(content: bytes) -> Iterator[Row]:
    """Yield the items of an answer of the shop's API, but their brand, which is not recomputed."""
    for product in json.loads(content, parse_float=str)["items"]:
        price, weight = product["price"], re.fullmatch(r"([\d.]+) (k?)g", product.get("weight", ""))
        item = {name: product[name] for name in ("sku", "name", "stock") if name in product}
        item |= {"price": str(price["amount"]), "currency": price["currency"]}
        if weight:
            grams = Decimal(weight[1]) * (1000 if weight[2] else 1)
            item["weight_g"] = format(grams.normalize(), "f")
        yield item | ({"seller": "***"} if product.get("seller", {}).get("email") else {})


def items(deliveries: Sequence[Row]) -> tuple[Folded, set[str]]:
    """Return `web_items` of the latest captures of pages, and the quarantined deliveries."""
    table, quarantined = Folded("web_items"), set()
    pages: dict[str, dict[str, Row]] = {"shop": {}, "shop_api": {}}
    for delivery in deliveries:
        site = delivery["partition_key"]
        if delivery["table_name"] == "web_pages":
            for capture in delivery["captures"]:
                is_item = site == "shop_api" or PRODUCT.search(capture["url"])
                if is_item and capture["content"]:  # an unchanged page, of status 304, has no body
                    pages[site][capture["url"]] = capture
        elif delivery["table_name"] == "web_items":
            rows = [row for page in pages[site].values() for row in read_rows(site, page)]
            if not all(json.loads(row["payload"]).keys() >= REQUIRED for row in rows):
                quarantined.add(delivery["group_id"])
            elif delivery["landed_at"]:
                table.load(delivery, index_rows(rows, ("site", "item_key")))
    return table, quarantined


def read_rows(site: str, page: Row) -> Iterator[Row]:
    """Yield the rows of the items of a captured page."""
    for item in (read_page if site == "shop" else read_answer)(page["content"]):
        place = {"site": site, "item_key": item.get("sku"), "url": page["url"]}
        yield place | {"payload": canonical(item), "capture_id": page["capture_id"]}


def fields_of(row: Row) -> dict[str, list[str]]:
    """Return the values of each field of an item as texts."""
    payload = json.loads(row["payload"])
    return {
        name: value if isinstance(value, list) else [str(value)] for name, value in payload.items()
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
            "currency": json.loads(row["payload"])["currency"] if name == "price" else None,
            "time_value": f"{text}T00:00:00.000000Z" if name == "published_on" else None,
        }
        for row in rows
        for name, texts in fields_of(row).items()
        for position, text in enumerate(texts, start=1)
    ]


def changes(table: Folded) -> list[Row]:
    """Return `web_changes` of items that were replaced: each field with another value."""
    key, rows = ("site", "item_key"), []
    states = index_rows([*table.rows, *table.history], (*key, "known_from"))
    for old in table.history:
        new = states[*place_of(old, key), old["known_to"]]
        before, after = (
            {(name,): {"text": ", ".join(texts)} for name, texts in fields_of(row).items()}
            for row in (old, new)
        )
        for (name,), kind, texts in compare_states(before, after):
            if kind != "unchanged":
                row = {name: old[name] for name in (*key, "change_cause")} | {"field": name}
                row |= {"at": old["known_to"], "kind": kind}
                rows.append(row | {"before": texts[0][1], "after": texts[0][2]})
    return rows
