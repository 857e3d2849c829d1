"""Items of pages counted apart from the code that reads them."""

from collections import Counter
from pathlib import Path

import pytest

from orchestration_project.domains.web.extraction import Page
from orchestration_project.domains.web.item_counts import ItemCounts, count_items
from orchestration_project.domains.web.item_rows import ReadPage, item_rows
from orchestration_project.domains.web.sites import read_site
from orchestration_project.engine.spill import DiskSpill

URL = "https://shop.example/"
SITE = """
site: shop
base_url: https://shop.example
start: [/]
item:
  key: [sku]
  {each}
  fields:
    sku: {field}
"""
CSS = SITE.format(each="each: li", field="{css: i, required: true}")
JSON_PATH = SITE.format(
    each="each_json_path: $.items[*]", field="{json_path: $.sku, required: true}"
)
WHOLE_PAGE = SITE.format(each="", field="{css: i, required: true}")
JSON_LD = SITE.format(each="each_json_ld: Product", field="{json_path: $.sku, required: true}")
LIST = b"<ul><li><i>1</i><li><i></i><li><i>2</i></ul>"


@pytest.mark.parametrize(
    ("site", "body", "content_type", "count"),
    [
        (CSS, LIST, "text/html", 3),
        (CSS, b"<p>none</p>", "text/html", 0),
        (JSON_PATH, b'{"items": [{"sku": "1"}, {"sku": "2"}]}', "application/json", 2),
        (JSON_PATH, b"no JSON", "application/json", None),
        (JSON_PATH, LIST, "text/html", 0),
        (WHOLE_PAGE, LIST, "text/html", 1),
        (JSON_LD, LIST, "text/html", None),
    ],
)
def test_items_are_counted_where_a_rule_selects_elements_or_values(site, body, content_type, count):
    assert count_items(Page(URL, body, content_type), read_site(site).item) == count


def test_items_of_pages_are_read_rejected_or_without_fields(tmp_path: Path):
    pages = [ReadPage(URL, LIST, "text/html", number) for number in (1, 2)]
    _, figures = item_rows(pages, read_site(CSS).item, site="shop", spill=DiskSpill(tmp_path))
    assert figures.counts.page_count == 2
    assert str(figures.counts.balance) == "items: 6 = 4 items + 0 rejects + 2 without_fields"


def test_an_item_that_is_nowhere_is_a_difference():
    counts = ItemCounts()
    counts.add(None, Counter(items=7))
    assert counts.balance.state == "not_counted"
    counts.add(3, Counter(items=1, rejects=1))
    assert counts.balance.difference == 1
