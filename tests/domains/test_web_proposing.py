"""Selectors proposed for a field by values that are known, with known answers."""

import json
from typing import Any

import pytest
import yaml

from orchestration_project.domains.web.extraction import Page
from orchestration_project.domains.web.proposing import (
    KnownPage,
    best_selectors,
    field_with,
    keys_of,
    selecting_of,
    site_with,
)
from orchestration_project.domains.web.sites import Site, read_site

PRICE = {"css": ".price", "process": "price", "notation": "1.234,56", "required": True}


def site_of(fields: dict[str, Any], **item: Any) -> Site:
    key = {"sku": {"css": ".sku", "required": True}}
    declared = {
        "site": "shop",
        "base_url": "https://shop.example",
        "start": ["/"],
        "item": {"key": ["sku"], "fields": key | fields, **item},
    }
    return read_site(yaml.safe_dump(declared))


def known(body: str, items: dict[str, Any], content_type: str = "text/html") -> KnownPage:
    url = f"https://shop.example/{'+'.join(items)}"
    return KnownPage(Page(url, body.encode(), content_type), items)


def products(markup: str, count: int = 6) -> list[KnownPage]:
    """Return a page for each product; `markup` has its number and its price."""
    return [
        known(
            f"<h1>Lamp</h1><i class=sku>P{n}</i>{markup.format(n=n, price=f'{n},50 €')}",
            {f"P{n}": {"sku": f"P{n}", "price": f"{n}.50"}},
        )
        for n in range(1, count + 1)
    ]


def best(site: Site, name: str, pages: list[KnownPage]) -> list[dict[str, str]]:
    return [selector.selector.as_fields for selector in best_selectors(site.item, name, pages, [])]


@pytest.mark.parametrize(
    ("markup", "selecting"),
    [
        ("<b class=amount>{price}</b>", {"css": ".amount"}),
        ("<b class=amount data-testid=cost>{price}</b>", {"css": '[data-testid="cost"]'}),
        ("<b class=amount itemprop=price>{price}</b>", {"css": ".amount"}),
        ("<b itemprop=price>{price}</b>", {"css": '[itemprop="price"]'}),
        (
            "<b itemprop=price content='{price}'>buy</b>",
            {"css": '[itemprop="price"]', "attribute": "content"},
        ),
        ("<b class='x4711 css-1a2b3c4d5'>{price}</b>", {"css": "b:nth-of-type(1)"}),
        ("<b id=item{n}>one</b><b>{price}</b>", {"css": "b:nth-of-type(2)"}),
        ("<div class=box><b class=amount>{price}</b></div>", {"css": ".amount"}),
        ("<b class=old>9,99</b><b class=amount>{price}</b>", {"css": ".amount"}),
        (
            '<script type="application/ld+json">{{"offers": [{{"price": "{price}"}}]}}</script>',
            {"css": 'script[type="application/ld+json"]', "json_path": "$.offers[0].price"},
        ),
    ],
)
def test_the_selector_that_outlasts_most_changes_is_proposed(
    markup: str, selecting: dict[str, str]
):
    assert best(site_of({"price": PRICE}), "price", products(markup))[0] == selecting


def test_a_selector_is_proposed_although_some_values_changed():
    pages = products("<b class=amount>{price}</b>", 10)
    pages[3] = known(pages[3].page.text, {"P4": {"sku": "P4", "price": "99.00"}})
    [first, *_] = best_selectors(site_of({"price": PRICE}).item, "price", pages, pages[:2])
    assert first.selector.css == ".amount"
    assert (first.now.agreed_count, first.now.differing_count, first.now.total_count) == (9, 1, 10)
    assert (first.earlier.agreed_count, first.earlier.total_count) == (2, 2)


@pytest.mark.parametrize(
    "markup", ["", "<b class=amount>sold out</b>", "<b class=amount>{n}{price}</b>"]
)
def test_without_the_known_values_nothing_is_proposed(markup: str):
    assert best(site_of({"price": PRICE}), "price", products(markup)) == []


def test_a_selector_that_finds_no_more_than_the_present_one_is_not_proposed():
    pages = products("<b class='price other'>{price}</b>")
    assert best(site_of({"price": PRICE}), "price", pages) == []


def test_keys_are_found_also_where_other_fields_are_missing():
    site = site_of({"price": PRICE})
    [page] = products("", 1)
    assert keys_of(page.page, site.item) == ["P1"]


def test_items_of_lists_and_fields_of_several_values():
    site = site_of({"tags": {"css": ".tag", "many": True}}, each="li")
    body = "<ul>" + "".join(
        f"<li><i class=sku>P{n}</i><b class=label>t{n}</b><b class=label>all</b></li>"
        for n in range(5)
    )
    items = {f"P{n}": {"sku": f"P{n}", "tags": [f"t{n}", "all"]} for n in range(5)}
    assert best(site, "tags", [known(body, items)])[0] == {"css": ".label"}


def test_members_of_json():
    site = site_of(
        {"sku": {"json_path": "id", "required": True}, "price": {"json_path": "price"}},
        each_json_path="$.items[*]",
    )
    rows = [{"id": f"P{n}", "offer": {"amount": n / 4}} for n in range(1, 6)]
    items = {f"P{n}": {"sku": f"P{n}", "price": str(n / 4)} for n in range(1, 6)}
    page = known(json.dumps({"items": rows}), items, "application/json")
    assert best(site, "price", [page])[0] == {"json_path": "$.offer.amount"}


STEPS = ["div:nth-of-type(1)"] * 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "candidates"),
    [
        (
            "<div>" * 2_000 + "1,50 €",
            [{"css": " > ".join(STEPS[:count])} for count in range(6, 0, -1)],
        ),
        (
            "<b class='a\"]*{}:x ..' id='\"><script>' data-testid='\\'>1,50 €</b>",
            [{"css": "b:nth-of-type(1)"}],
        ),
        ("<script type='application/ld+json'>{</script>", []),
        ("\0", []),
        ("[" * 50_000, []),
    ],
)
def test_hostile_pages_have_plain_candidates_or_none(body: str, candidates: list[dict[str, str]]):
    page = known(f"<i class=sku>P1</i>{body}", {"P1": {"sku": "P1", "price": "1.50"}})
    assert best(site_of({"price": PRICE}), "price", [page]) == candidates


def test_each_candidate_is_tried_once_and_repetitions_leave_room_for_others():
    pages = products("<div class=badge>" * 150 + "<u class=amount>{price}</u>")
    found = best(site_of({"price": PRICE}), "price", pages)
    assert {"css": ".amount"} in found
    assert len({json.dumps(selecting) for selecting in found}) == len(found) == 11


def test_another_selector_keeps_how_a_field_is_processed():
    site = site_of({"price": PRICE | {"attribute": "content"}})
    field = field_with(site.item.fields["price"], {"css": ".amount"})
    assert (field.css, field.attribute, field.process, field.notation) == (
        *(".amount", None, "price"),
        "1.234,56",
    )
    assert field.required
    assert selecting_of(site.item, "price") == {"css": ".price", "attribute": "content"}
    assert site_with(site, {"gone": {"css": ".x"}}) == site
