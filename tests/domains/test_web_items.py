"""Fields of items as rows, their fill rates, and changes between two loads."""

import json
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
import yaml

from orchestration_project.domains.web.changes import item_changes
from orchestration_project.domains.web.figures import figures_of_payloads
from orchestration_project.domains.web.item_fields import field_rows
from orchestration_project.domains.web.sites import ItemRule, read_site

FIELDS = {
    "sku": {"css": ".sku", "required": True},
    "price": {"css": ".price", "process": "price"},
    "stock": {"css": ".stock", "process": "integer"},
    "weight": {"css": ".weight", "process": "quantity", "unit": "g"},
    "seen": {"css": "time", "process": "date", "format": "%d.%m.%Y"},
    "tags": {"css": ".tag", "many": True},
}


@pytest.fixture(scope="module")
def rule() -> ItemRule:
    declared = {
        "site": "shop",
        "base_url": "https://shop.example",
        "start": ["/"],
        "item": {"key": ["sku"], "fields": FIELDS},
    }
    return read_site(yaml.safe_dump(declared)).item


def items(*payloads: dict[str, Any]) -> pl.DataFrame:
    rows = [("shop", payload["sku"], json.dumps(payload)) for payload in payloads]
    return pl.DataFrame(rows, ["site", "item_key", "payload"], orient="row")


NO_ITEMS = items({"sku": "A"}).clear()


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        ({"price": "1234.50", "currency": "EUR"}, ("price", "1234.50", 1_234_500_000, "EUR", None)),
        (
            {"price": "-0.000001", "price_currency": "USD", "currency": "EUR"},
            ("price", "-0.000001", -1, "USD", None),
        ),
        ({"price": "1.0000001"}, ("price", "1.0000001", None, None, None)),
        ({"price": "1000000000001"}, ("price", "1000000000001", None, None, None)),
        ({"price": "9" * 30, "currency": "EUR"}, ("price", "9" * 30, None, None, None)),
        ({"price": "1.00", "currency": "euros"}, ("price", "1.00", 1_000_000, None, None)),
        (
            {"price": {"amount": "2.50", "currency": "CHF"}},
            ("price", '{"amount":"2.50","currency":"CHF"}', 2_500_000, "CHF", None),
        ),
        ({"stock": 7, "currency": "EUR"}, ("stock", "7", 7_000_000, None, None)),
        ({"weight": "60.5", "currency": "EUR"}, ("weight", "60.5", 60_500_000, None, None)),
        (
            {"seen": "2026-02-03"},
            ("seen", "2026-02-03", None, None, datetime(2026, 2, 3, tzinfo=UTC)),
        ),
        (
            {"seen": "2026-02-03T01:00:00+02:00"},
            (
                "seen",
                "2026-02-03T01:00:00+02:00",
                None,
                None,
                datetime(2026, 2, 2, 23, tzinfo=UTC),
            ),
        ),
        (
            {"seen": "0001-01-01T00:00:00+02:00"},
            ("seen", "0001-01-01T00:00:00+02:00", None, None, None),
        ),
    ],
)
def test_a_value_is_text_and_exact_amount_or_time(
    rule: ItemRule, payload: dict[str, Any], found: tuple[Any, ...]
):
    made = field_rows(items({"sku": "A", **payload}), rule)
    shown = made.select("field", "text_value", "amount", "currency", "time_value")
    assert found in shown.rows()


def test_values_of_a_list_have_positions(rule: ItemRule):
    made = field_rows(items({"sku": "A", "tags": ["x", "y"]}), rule)
    assert made.filter(pl.col("field") == "tags").select("position", "text_value").rows() == [
        (1, "x"),
        (2, "y"),
    ]


def test_fill_rates_are_shares_of_items_by_field(rule: ItemRule):
    payloads = [{"sku": "A", "price": "1"}, {"sku": "B"}, {"sku": "C"}]
    figures = figures_of_payloads([json.dumps(payload) for payload in payloads])
    rates = figures.fill_rates(rule.fields)
    assert rates == {
        "price": 0.3333,
        "seen": 0.0,
        "sku": 1.0,
        "stock": 0.0,
        "tags": 0.0,
        "weight": 0.0,
    }
    assert figures_of_payloads([]).fill_rates(rule.fields) == {}


def test_changes_name_fields_with_both_values_and_whole_items():
    replaced = items(
        {"sku": "A", "price": "1.00", "tags": ["x"]}, {"sku": "B"}, {"sku": "D", "stock": 1}
    )
    written = items(
        {"sku": "A", "price": "2.00", "tags": ["x", "y"]}, {"sku": "C"}, {"sku": "D", "seen": "s"}
    )
    assert item_changes(replaced, written, with_added=True).rows() == [
        ("shop", "A", "price", "changed", "1.00", "2.00"),
        ("shop", "A", "tags", "changed", '["x"]', '["x","y"]'),
        ("shop", "B", "", "removed", None, None),
        ("shop", "C", "", "added", None, None),
        ("shop", "D", "seen", "changed", None, "s"),
        ("shop", "D", "stock", "changed", "1", None),
    ]
    assert item_changes(NO_ITEMS, written, with_added=False).is_empty()
