"""Pages as bytes: whole records, and never more than 3 MB of them."""

import json

import polars as pl
from orchestration_demo.pages import MAX_PAGE_BYTES, json_page, text_page

WIDE = pl.DataFrame({"number": range(5_000), "text": ["x" * 1_000] * 5_000})


def test_delimited_text_ends_after_the_last_line_that_fits():
    page = text_page(WIDE, ",", is_quoted=True)
    header, *lines = page.body.decode().splitlines()
    assert header == '"number","text"'
    assert lines == [f'{number},"{"x" * 1_000}"' for number in range(page.records)]
    assert MAX_PAGE_BYTES - 1_100 < len(page.body) <= MAX_PAGE_BYTES


def test_json_ends_after_the_last_record_that_fits():
    page = json_page(WIDE)
    assert [record["number"] for record in json.loads(page.body)] == list(range(page.records))
    assert MAX_PAGE_BYTES - 1_100 < len(page.body) <= MAX_PAGE_BYTES


def test_a_blank_text_differs_from_a_missing_one():
    page = text_page(pl.DataFrame({"text": ["", None]}), ",", is_quoted=True)
    assert page.body == b'"text"\n""\n\n'
