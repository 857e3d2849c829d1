"""Elements of items proposed by the values of known items, with known answers."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from orchestration_project.domains.web.extraction import Item, Page, items
from orchestration_project.domains.web.proposing import EACH, KnownPage, selecting_of, site_with
from orchestration_project.domains.web.proposing_each import selectors_with_each
from orchestration_project.domains.web.sites import Site, read_site

FIELDS = {
    "sku": {"css": ".sku", "required": True},
    "name": {"css": "h2", "required": True},
    "price": {"css": ".price", "process": "price", "notation": "1.234,56"},
}


def site_of(**item: Any) -> Site:
    declared = {
        "site": "shop",
        "base_url": "https://shop.example",
        "start": ["/"],
        "item": {"each": "article.old", "key": ["sku"], "fields": FIELDS, **item},
    }
    return read_site(yaml.safe_dump(declared))


def payload(n: int) -> dict[str, Any]:
    return {"sku": f"P{n}", "name": f"Lamp {n}", "price": f"{n}.50"}


def page_of(markup: str, numbers: range, frame: str = "<main>{}</main>") -> KnownPage:
    """Return a page of a list; `markup` has the number of an item."""
    body = frame.format("".join(markup.format(n=n) for n in numbers))
    known = {f"P{n}": payload(n) for n in numbers}
    return KnownPage(Page(f"https://shop.example/{numbers}", body.encode(), "text/html"), known)


def proposed(site: Site, *pages: KnownPage) -> Mapping[str, dict[str, str]]:
    found = selectors_with_each(site.item, pages, [])
    return {name: value[0].selector.as_fields for name, value in found.items() if value}


OLD_FIELDS = "<i class=sku>P{n}</i><h2>Lamp {n}</h2><b class=price>{n},50 €</b>"


@pytest.mark.parametrize(
    ("markup", "css"),
    [
        (f"<section class=tile>{OLD_FIELDS}</section>", ".tile"),
        (f"<div class='x4711 tile'><div class=inner>{OLD_FIELDS}</div></div>", ".tile"),
        (f"<section data-testid=product>{OLD_FIELDS}</section>", '[data-testid="product"]'),
        (f"<div itemtype='https://schema.org/Product'>{OLD_FIELDS}</div>", None),
        (f"<section>{OLD_FIELDS}</section>", "body > main > section"),
    ],
)
def test_the_largest_element_around_one_item_is_proposed(markup: str, css: str | None):
    found = proposed(site_of(), page_of(markup, range(1, 9)))
    assert found == {EACH: {"each": css or '[itemtype="https://schema.org/Product"]'}}


def test_fields_that_the_new_elements_lack_are_proposed_with_them():
    markup = "<li class=tile><a class=code>P{n}</a><h2>Lamp {n}</h2><b class=amount>{n},50</b></li>"
    site, pages = site_of(), [page_of(markup, range(1, 9)), page_of(markup, range(9, 17))]
    found = proposed(site, *pages)
    assert found == {
        EACH: {"each": ".tile"},
        "sku": {"css": ".code"},
        "price": {"css": ".amount"},
    }
    changed = site_with(site, found)
    made = [item for page in pages for item in items(page.page, changed.item)]
    assert [entry.key for entry in made if isinstance(entry, Item)] == [
        f"P{n}" for n in range(1, 17)
    ]
    assert selecting_of(site.item, EACH) == {"each": "article.old"}
    [best, *_] = selectors_with_each(site.item, pages, pages[:1])[EACH]
    assert (best.now.agreed_count, best.now.total_count) == (16, 16)
    assert (best.earlier.agreed_count, best.earlier.total_count) == (8, 8)


def test_several_key_fields_are_found_one_by_one():
    site = site_of(key=["sku", "name"])
    markup = "<li class=tile><i class=code>P{n}</i><u class=title>Lamp {n}</u></li>"
    page = page_of(markup, range(1, 6))
    known = {f'["{value["sku"]}","{value["name"]}"]': value for value in page.known.values()}
    found = proposed(site, KnownPage(page.page, known))
    assert found[EACH] == {"each": ".tile"}
    assert (found["sku"], found["name"]) == ({"css": ".code"}, {"css": ".title"})


def test_a_menu_with_the_same_names_is_not_taken_for_the_list():
    menu = "<nav>" + "".join(f"<a class=entry>Lamp {n}</a>" for n in range(1, 9)) + "</nav>"
    markup = f"<section class=tile>{OLD_FIELDS}</section>"
    page = page_of(markup, range(1, 9), frame=f"{menu}<main>{{}}</main>")
    assert proposed(site_of(), page)[EACH] == {"each": ".tile"}


def test_elements_that_are_no_item_count_against_a_candidate():
    markup = f"<div class='box tile'>{OLD_FIELDS}</div><div class=box>advertisement</div>" * 1
    page = page_of(markup, range(1, 9))
    assert proposed(site_of(), page)[EACH] == {"each": ".tile"}


@pytest.mark.parametrize(
    "markup",
    [
        "",
        "<li class=tile>sold out</li>",
        "<li class=tile><i class=sku>Q{n}</i></li>",
    ],
)
def test_without_the_known_values_nothing_is_proposed(markup: str):
    assert selectors_with_each(site_of().item, [page_of(markup, range(1, 9))], []) == {EACH: []}


def test_one_item_of_a_page_has_no_siblings_to_compare():
    page = page_of(f"<section class=tile>{OLD_FIELDS}</section>", range(1, 2))
    assert proposed(site_of(), page) == {}


@pytest.mark.slow
def test_hostile_pages_raise_nothing():
    many = "<div>" * 3_000 + "P1" + "<p>P2" * 3_000
    names = "<b class='a\"]*{}:x' id='\"><script>' itemtype='\"]'>P1</b><b class='a\"'>P2</b>"
    known = {f"P{n}": payload(n) for n in (1, 2)}
    found = [
        proposed(
            site_of(), KnownPage(Page("https://shop.example/", body.encode(), "text/html"), known)
        )
        for body in (many, names, "\0", "<svg><P1:P2>", "[1]")
    ]
    assert "script" not in str([list(proposals.values()) for proposals in found])
