"""Drift: bands of item counts, falls of fill rates, members of JSON, with known answers."""

import json

import pytest

from orchestration_project.domains.web.drift import Baseline, band_of, drift_audits, members_of
from orchestration_project.domains.web.extraction import Item, Page, RejectedItem
from orchestration_project.domains.web.figures import ItemFigures, figures_of
from orchestration_project.engine.contracts.audits import Audit

FIELDS = ["sku", "price", "rating"]


def figures(count: int, *, with_price: int, with_rating: int) -> ItemFigures:
    """Return the figures of items; those without price are rejects."""
    found = []
    for number in range(count):
        payload = {"sku": str(number)}
        payload |= {"price": "1.00"} if number < with_price else {}
        payload |= {"rating": "5"} if number < with_rating else {}
        text = json.dumps(payload)
        is_item = number < with_price
        found.append(
            Item(str(number), text) if is_item else RejectedItem("missing", "price: none", text)
        )
    return figures_of(found)


def audits(now: ItemFigures, baseline: Baseline, *, is_complete: bool = True) -> dict[str, Audit]:
    found = drift_audits(now, frozenset(), baseline, FIELDS, is_complete=is_complete)
    return {field.name: field for field in found}


@pytest.mark.parametrize(
    ("counts", "band"),
    [
        ([400], (280, 520)),
        ([10, 10], (5, 15)),
        ([0], (0, 5)),
        ([100, 100, 160, 40], (0, 277)),
        ([1000, 1001, 999, 1002], (700, 1300)),
        ([200, 400, 400, 400], (140, 520)),
        ([800, 400, 400, 400], (280, 1040)),
    ],
)
def test_the_band_is_as_wide_as_earlier_crawls_vary_and_has_the_latest(
    counts: list[int], band: tuple[int, int]
):
    assert band_of(counts) == band


@pytest.mark.parametrize(
    ("count", "outcome", "severity"),
    [
        *((279, "failed", "error"), (280, "passed", "error"), (520, "passed", "error")),
        (521, "failed", "warning"),
    ],
)
def test_fewer_items_quarantine_and_more_warn(count: int, outcome: str, severity: str):
    now = figures(count, with_price=count, with_rating=count)
    found = audits(now, Baseline(counts=[400]))["item_count_is_usual"]
    assert (found.outcome, found.severity) == (outcome, severity)
    assert (found.expected, found.found) == (
        "280 to 520 items, by earlier crawls: 1",
        f"{count} items",
    )


def test_the_count_of_a_first_or_partial_crawl_is_not_judged():
    now = figures(3, with_price=3, with_rating=3)
    assert audits(now, Baseline())["item_count_is_usual"].outcome == "not_applicable"
    partial = audits(now, Baseline(counts=[400]), is_complete=False)
    assert partial["item_count_is_usual"].outcome == "not_applicable"


def test_a_field_that_fell_is_named_with_both_shares():
    before = figures(100, with_price=100, with_rating=60)
    now = figures(100, with_price=0, with_rating=41)
    found = audits(now, Baseline(loaded=before))["fields_are_filled"]
    assert found.blocks
    assert found.found == "price 100% to 0%"
    assert list(found.offenders) == [{"field": "price", "share_before": 1.0, "share_after": 0.0}]
    now = figures(100, with_price=100, with_rating=41)
    assert audits(now, Baseline(loaded=before))["fields_are_filled"].outcome == "passed"
    few = figures(4, with_price=0, with_rating=0)
    assert audits(few, Baseline(loaded=before))["fields_are_filled"].outcome == "not_applicable"


def test_members_of_json_are_paths_in_bodies_and_scripts():
    body = b'{"items": [{"id": 1}, {"price": {"amount": 2}}], "next": null}'
    assert members_of(Page("u", body, "application/json")) == {
        *("$.items", "$.items[*].id", "$.items[*].price", "$.items[*].price.amount", "$.next"),
    }
    html = b'<script type="application/ld+json">{"a": {"b": 1}}</script><script>{"c": 1}</script>'
    assert members_of(Page("u", html, "text/html")) == {"$.a", "$.a.b"}
    for broken in (b"{", b"[" * 100_000, b'"text"'):
        assert members_of(Page("u", broken, "application/json")) == frozenset()


def test_new_and_vanished_members_warn():
    baseline = Baseline(members=frozenset({"$.a", "$.b"}), sampled={"u"})
    now = ItemFigures()
    [*_, found] = drift_audits(now, frozenset({"$.a", "$.c"}), baseline, [], is_complete=True)
    assert (found.outcome, found.severity) == ("failed", "warning")
    assert found.found == "new: $.c; vanished: $.b"
    [*_, found] = drift_audits(now, frozenset({"$.a", "$.b"}), baseline, [], is_complete=True)
    assert found.outcome == "passed"
