"""Site files: what is refused with its line; links and items of pages, with known answers."""

import json
from typing import Any

import pytest
import yaml

from orchestration_project.domains.web.extraction import (
    Item,
    Page,
    RejectedItem,
    has_items,
    items,
    links,
    text_of,
)
from orchestration_project.domains.web.processors import ValueProblemError, date, price
from orchestration_project.domains.web.sites import ItemField, Site, read_site
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import PROJECT_ROOT

MINIMAL: dict[str, Any] = {
    "site": "shop",
    "base_url": "https://shop.example",
    "start": ["/"],
    "item": {"key": ["sku"], "fields": {"sku": {"css": ".sku", "required": True}}},
}


def site_of(**changes: Any) -> Site:
    return read_site(yaml.safe_dump({**MINIMAL, **changes}))


def site_with(fields: dict[str, Any], **item: Any) -> Site:
    key = {"sku": {"css": ".sku", "required": True}}
    return site_of(item={"key": ["sku"], "fields": key | fields, **item})


def page_of(body: str, url: str = "https://shop.example/product/7") -> Page:
    return Page(url, body.encode(), "text/html; charset=utf-8")


def expect_payloads(site: Site, page: Page) -> list[Any]:
    found = list(items(page, site.item))
    assert all(isinstance(entry, Item) for entry in found), found
    return [json.loads(entry.payload) for entry in found if isinstance(entry, Item)]


def test_the_shipped_site_is_valid():
    site = read_site((PROJECT_ROOT / "config/sites" / "shop.yaml").read_text())
    assert (site.site, site.item.key, site.budget.requests) == ("shop", ["sku"], 1000)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("price, notation", "cost, notation", "line 17: item.fields.price.process"),
        ("pages: /product", "pages: (?=/product", "line 12: item.pages: expected a regular"),
        ("h1", '"h1[["', "line 16: item.fields.name.css: expected a CSS selector"),
        ("key: [sku]", "key: [stock]", "line 11: item: expected key 'stock' among the required"),
        ("http://shop.demo", "ftp://shop.demo", "line 4: base_url: expected scheme and host"),
        ("budget", "bugdet", "line 35: bugdet: unknown name"),
        ("minimum: 0", "minimum: x", "line 25: item.json_schema: expected a JSON Schema"),
        ("$.aggregateRating", "$..aggregateRating", "line 21: item.fields.rating.json_path"),
        ("site: shop", "site: shop\nsite: shop", "line 4: invalid YAML: site stands there twice"),
        ("rel_next: true", "rel_next: false", "line 10: paging: expected either rel_next"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(old: str, new: str, problem: str):
    text = (PROJECT_ROOT / "config/sites" / "shop.yaml").read_text()
    assert old in text
    with pytest.raises(ConfigurationError, match="invalid site file") as refused:
        read_site(text.replace(old, new, 1))
    assert problem in str(refused.value.found)


def test_a_schema_elsewhere_is_not_fetched():
    reference = {"$ref": "https://elsewhere.example/schema.json"}
    with pytest.raises(ConfigurationError) as refused:
        site_with({}, json_schema=reference)
    assert "item.json_schema" in str(refused.value.found)


@pytest.mark.parametrize(
    ("text", "notation", "expected"),
    [
        ("1,234.50", "1,234.56", "1234.50"),
        ("1.234,50 €", "1.234,56", "1234.50"),
        ("EUR 1 234,50", "1 234,56", "1234.50"),
        ("$0.10", "1,234.56", "0.10"),
        ("-3", "1,234.56", "-3"),
        ("12.345", "1.234,56", "12345"),
        ("99999999999999999999.01", "1,234.56", "99999999999999999999.01"),
    ],
)
def test_a_price_is_an_exact_decimal(text: str, notation: str, expected: str):
    assert price(text, notation) == expected


@pytest.mark.parametrize(
    ("text", "notation"),
    [
        *(("1.234,50", "1,234.56"), ("12,34", "1,234.56"), ("1,23,456", "1,234.56")),
        *(("free", "1,234.56"), ("", "1,234.56"), ("1e5", "1,234.56"), ("1.2.3,4", "1.234,56")),
        *(("1,234.50 or 2", "1,234.56"), ("\u0661\u0662", "1,234.56"), ("NaN", "1,234.56")),
        ("9" * 31, "1,234.56"),
    ],
)
def test_a_price_in_another_notation_is_refused(text: str, notation: str):
    with pytest.raises(ValueProblemError, match="expected a price such as"):
        price(text, notation)


def test_dates_are_iso_by_their_declared_format():
    assert date(" 02.11.2026 ", "%d.%m.%Y") == "2026-11-02"
    assert date("11/02/2026 5:30 PM", "%m/%d/%Y %I:%M %p") == "2026-11-02T17:30:00"
    assert date("2026-11-02T17:30:00+0100", "%Y-%m-%dT%H:%M:%S%z") == "2026-11-02T17:30:00+01:00"
    for text in ("31.02.2026", "2026-11-02", ""):
        with pytest.raises(ValueProblemError, match="expected a date"):
            date(text, "%d.%m.%Y")


def test_fields_are_selected_by_css_json_path_and_regex():
    site = site_with(
        {
            "name": {"css": "h1"},
            "link": {"css": "a.more", "attribute": "href"},
            "tags": {"css": ".tag", "many": True},
            "rating": {"css": "script", "json_path": "$.rating.values[1]"},
            "stock": {"css": ".stock", "regex": r"(\d+) left", "process": "integer"},
            "codes": {"regex": r"code-\d+", "many": True},
            "absent": {"css": ".absent"},
        }
    )
    body = """<h1> A
      lamp </h1><i class=sku>P1</i><a class=more href="/m?a=b">x</a><b class=tag>one</b>
      <b class=tag> </b><b class=tag>two</b><p class=stock>only 12 left!</p>
      <script>{"rating": {"values": [1.0, 4.50]}}</script><!-- code-1 code-22 -->"""
    assert expect_payloads(site, page_of(body)) == [
        {
            "sku": "P1",
            "name": "A lamp",
            "link": "/m?a=b",
            "tags": ["one", "two"],
            "rating": "4.50",
            "stock": 12,
            "codes": ["code-1", "code-22"],
        }
    ]


def test_items_of_a_list_and_of_json():
    listed = site_with({"price": {"css": ".price", "process": "price"}}, each="li")
    body = "<ul><li><i class=sku>A</i><b class=price>$1.00</b><li><i class=sku>B</i></ul>"
    assert expect_payloads(listed, page_of(body)) == [{"sku": "A", "price": "1.00"}, {"sku": "B"}]
    of_json = site_of(
        item={
            "key": ["id"],
            "each_json_path": "$.items[*]",
            "fields": {
                "id": {"json_path": "id", "required": True},
                "price": {"json_path": "price.amount", "process": "price"},
            },
        }
    )
    text = b'{"items": [{"id": 7, "price": {"amount": 0.10}}, {"id": "x"}]}'
    page = Page("https://shop.example/api", text, "application/json")
    assert expect_payloads(of_json, page) == [{"id": "7", "price": "0.10"}, {"id": "x"}]


@pytest.mark.parametrize(
    ("body", "reason_code", "reason"),
    [
        ("<i class=name>x</i>", "missing", "sku: expected a value, found none"),
        ("<i class=sku>A</i><i class=name>x</i><b class=n>1,5</b>", "value", "n: expected a whole"),
        ("<i class=sku>A</i><i class=name>x</i><i class=day>2026-02-30</i>", "schema", "day"),
        ("<i class=sku>A</i><i class=name>%s</i>" % ("x" * 100_001), "value", "up to 100000"),
    ],
)
def test_an_item_that_breaks_a_rule_is_rejected_with_its_reason(
    body: str, reason_code: str, reason: str
):
    site = site_with(
        {
            "name": {"css": ".name"},
            "n": {"css": ".n", "process": "integer"},
            "day": {"css": ".day"},
        },
        json_schema={"properties": {"day": {"type": "string", "format": "date"}}},
    )
    [found] = items(page_of(body), site.item)
    assert isinstance(found, RejectedItem)
    assert found.reason_code == reason_code
    assert reason in found.reason


def test_broken_json_is_a_reject_and_a_page_without_fields_has_no_item():
    site = site_with({})
    [found] = items(Page("https://shop.example/", b"{" * 100_000, "text/json"), site.item)
    assert isinstance(found, RejectedItem)
    assert found.reason_code == "json"
    assert list(items(page_of("<p>sold out</p>"), site.item)) == []


def test_texts_of_json_that_no_database_stores_are_replaced():
    site = site_with({})
    rule = site.item.model_copy(
        update={"fields": {"sku": ItemField(json_path="id", required=True)}}
    )
    body = rb'{"id": "a\u0000b\ud800c"}'
    [found] = items(Page("https://shop.example/", body, "text/json"), rule)
    assert isinstance(found, Item)
    assert (found.key, found.payload) == ("a\ufffdb?c", '{"sku":"a\ufffdb?c"}')


def test_links_are_those_of_paging_and_rules():
    site = site_of(
        follow=[{"css": "a", "pattern": r"^/p/\d+$", "max_depth": 2}], paging={"rel_next": True}
    )
    body = """<a href=/p/1>1</a><a href=" /p/22 ">2</a><a href=/q/3>3</a><a>4</a>
      <a rel="nofollow next" href="?page=2">next</a>"""
    found = [(link.href, link.max_depth) for link in links(page_of(body), site)]
    assert found == [("?page=2", None), ("/p/1", 2), ("/p/22", 2)]


def test_only_pages_that_the_rule_names_have_items():
    rule = site_with({}, pages=r"/product/\d+$").item
    assert has_items("https://shop.example/product/7", rule)
    assert not has_items("https://shop.example/product/7/reviews", rule)
    assert has_items("https://shop.example/any", site_with({}).item)


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("Köln".encode(), "text/html", "Köln"),
        ("Köln".encode("latin-1"), "text/html; charset=iso-8859-1", "Köln"),
        (b"<meta charset=windows-1252>K\xf6ln", "text/html", "<meta charset=windows-1252>Köln"),
        ("Köln".encode("utf-16"), "text/html; charset=utf-8", "Köln"),
        ("Köln".encode(), "text/html; charset=unicode-escape", "Köln"),
        ("Köln".encode(), "text/html; charset=no-such-charset", "Köln"),
        (b"K\xf6ln", "text/html; charset=utf-8", "K\ufffdln"),
    ],
)
def test_a_charset_counts_only_where_it_fits(body: bytes, content_type: str, text: str):
    assert text_of(body, content_type) == text


def test_a_pattern_that_backtracks_elsewhere_takes_linear_time():
    site = site_with({"name": {"css": ".name", "regex": "(a+)+$"}})
    body = f"<i class=sku>A</i><i class=name>{'a' * 50_000}!</i>"
    assert expect_payloads(site, page_of(body)) == [{"sku": "A"}]
