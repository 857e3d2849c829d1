"""Sites through their jobs: a crawl of the demo's shop, repeats, changes, a new layout, robots."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.definitions import defs
from orchestration_project.domains.web.tables import (
    web_changes,
    web_crawls,
    web_frontier,
    web_item_fields,
    web_items,
    web_items_history,
    web_pages,
    web_robots,
)
from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.tables.spine import captures, rejects
from tests import databases
from tests.assets.conftest import BOTH
from tests.assets.web_shop import (
    POSTGRESQL_SLOW,
    PRODUCTS,
    REQUESTS,
    counted,
    crawl_and_check_success,
    items_of,
    materialize_and_check_success,
    with_budget,
)
from tests.resources.balances import assert_balanced
from tests.runs import check_declared


@pytest.mark.slow
@POSTGRESQL_SLOW
def test_crawls_of_three_days_have_known_items_and_fetch_no_page_twice(url, shop, instance):
    shop.at("2026-02-01")
    # First day: all products are added, politely.
    first = crawl_and_check_success(instance, "2026-02-01")
    assert first["shop_pages"]["crawl_outcome"] == "complete"
    assert first["shop_pages"]["request_count"] == REQUESTS
    assert first["shop_items"]["rows_added"] == PRODUCTS
    assert items_of(url)["P0010"] == {
        "sku": "P0010",
        "name": "Product 10",
        "price": "13.66",
        "currency": "EUR",
        "rating": "0.50",
        "stock": 3,
        "published_on": "2026-01-11",
        "tags": ["tag-1", "tag-0"],
    }
    assert shop.politeness == {
        "requests": REQUESTS,
        "disallowed": 0,
        "without_contact": 0,
        "above_rate": 0,
        "most_requests_of_a_product": 1,
    }
    refused = select(web_frontier.c.url, web_frontier.c.verdict, web_frontier.c.reason).where(
        web_frontier.c.verdict != "page"
    )
    assert databases.rows(url, refused) == [
        (
            "http://shop.demo/product/9001",
            "disallowed",
            "robots.txt of http://shop.demo disallows it",
        )
    ]
    assert counted(url, web_pages) == REQUESTS
    assert counted(url, web_robots) == 1

    # Each field of an item has its typed value.
    first_values = web_item_fields.c.position == 1
    wanted = select(web_item_fields).where(web_item_fields.c.item_key == "P0010", first_values)
    fields = {row[2]: row[4:] for row in databases.rows(url, wanted)}
    assert fields["price"] == ("13.66", 13_660_000, "EUR", None)
    assert fields["stock"] == ("3", 3_000_000, None, None)
    assert fields["published_on"] == ("2026-01-11", None, None, datetime(2026, 1, 11, tzinfo=UTC))
    assert fields["tags"] == ("tag-1", None, None, None)
    [(rates, seconds)] = databases.rows(url, select(web_crawls.c.fill_rates, web_crawls.c.seconds))
    assert json.loads(rates) == dict.fromkeys(fields, 1.0)
    assert seconds > 0
    assert first["changes"]["changed_count"] == 0
    assert "shop" in str(first["crawls"]["latest_crawls"].records)

    assert_balanced(url, "web_crawls", "web_items", "web_pages")

    # Same day again: no page is requested, and no row changes.
    before = counted(url, captures)
    again = crawl_and_check_success(instance, "2026-02-01")
    assert shop.politeness["requests"] == REQUESTS
    assert again["shop_pages"]["request_count"] == REQUESTS
    assert items_of(url).keys() == {f"P{number:04}" for number in range(1, PRODUCTS + 1)}
    assert counted(url, web_items_history) == 0
    assert counted(url, captures) == before == REQUESTS
    of_items = select(web_items.c.item_key, captures.c.url).join(
        captures, captures.c.capture_id == web_items.c.capture_id
    )
    assert ("P0010", "http://shop.demo/product/10") in databases.rows(url, of_items)
    assert len(databases.rows(url, of_items)) == PRODUCTS

    # Second day: a tenth of the prices changed.
    shop.at("2026-02-02")
    second = crawl_and_check_success(instance, "2026-02-02")
    assert second["shop_items"]["rows_changed"] == PRODUCTS // 10
    assert items_of(url)["P0010"]["price"] == "13.67"
    assert items_of(url)["P0011"]["price"] == "14.02"
    assert second["changes"]["changed_count"] == PRODUCTS // 10
    columns = [column for column in web_changes.c if column.name != "at"]
    wanted = select(*columns).where(web_changes.c.item_key == "P0010")
    assert databases.rows(url, wanted) == [
        ("shop", "P0010", "price", "changed", "13.66", "13.67", "source")
    ]
    unchanged = web_pages.c.verdict == "unchanged"
    assert counted(url, web_pages, unchanged) == REQUESTS - PRODUCTS // 10

    shop.at("2026-02-03")  # another layout: no price is found
    third = crawl_and_check_success(instance, "2026-02-03", succeeds=False)
    assert third["shop_pages"]["crawl_outcome"] == "complete"
    assert "shop_items" not in third
    assert len(items_of(url)) == PRODUCTS
    is_missing = rejects.c.reason_code == "missing"
    for _ in range(2):  # a repetition records the same lines once
        assert counted(url, rejects, is_missing) == PRODUCTS
        crawl_and_check_success(instance, "2026-02-03", succeeds=False)
    of_rejects = rejects.join(captures, captures.c.capture_id == rejects.c.capture_id)
    assert counted(url, of_rejects) == PRODUCTS


@pytest.mark.slow
def test_a_crawl_that_ends_by_its_budget_is_partial_and_removes_no_item(url, shop, instance):
    shop.at("2026-02-01")
    crawl_and_check_success(instance, "2026-02-01")
    shop.at("2026-02-02")
    materialize_and_check_success(instance, with_budget(requests=12), "2026-02-02")
    assert shop.politeness["requests"] == 12
    outcome = select(web_crawls.c.day, web_crawls.c.outcome).order_by(web_crawls.c.day)
    assert [each for _, each in databases.rows(url, outcome)] == ["complete", "budget"]
    assert len(items_of(url)) == PRODUCTS


@pytest.mark.slow
@BOTH
def test_links_beyond_the_limit_of_urls_are_left_out_with_a_reason(url, shop, instance):
    shop.at("2026-02-01")
    limits = {"urls": 10, "cost": Decimal(1), "cost_per_request": Decimal("0.002")}
    site = with_budget(**limits)
    materialize_and_check_success(instance, site, "2026-02-01")
    columns = web_crawls.c
    wanted = select(columns.outcome, columns.reason, columns.url_count, columns.cost)
    left_out = 2 * 20 + 1 + 2 - 10  # products, one that is disallowed, and both lists
    reason = f"the limit of urls is reached; {left_out} links are left out"
    assert databases.rows(url, wanted) == [("budget", reason, 10, 10 * 2_000)]
    assert len(items_of(url)) == 10 - 2
    materialize_and_check_success(instance, site, "2026-02-01")
    assert databases.rows(url, wanted) == [("budget", reason, 10, 10 * 2_000)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"cost": Decimal("0.01"), "cost_per_request": Decimal("0.002")}, "the limit of cost"),
        ({"requests": 5}, "the limit of requests"),
    ],
)
def test_a_crawl_ends_by_each_limit_and_says_which(url, shop, instance, limits, reason):
    shop.at("2026-02-01")
    materialize_and_check_success(instance, with_budget(**limits), "2026-02-01")
    [(outcome, found, count)] = databases.rows(
        url, select(web_crawls.c.outcome, web_crawls.c.reason, web_crawls.c.request_count)
    )
    assert (outcome, found[: len(reason)], count) == ("budget", reason, 5)


def test_a_broken_site_file_is_a_failing_check_with_its_line(
    url, instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "sites"
    folder.mkdir()
    (folder / "broken.yaml").write_text("site: broken\nbase_url: nowhere\nstart: [/]\nitem: 1\n")
    monkeypatch.setenv("WEB_SITES_DIR", str(folder))
    result = defs.resolve_job_def("web_check_sites").execute_in_process(instance=instance)
    [found] = result.get_asset_check_evaluations()
    assert not found.passed
    assert "broken.yaml: line 2: base_url: expected scheme" in str(found.metadata["found"].value)


def expect_declared_checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    found = {
        evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()
    }
    assert all(check_declared(value.metadata) for value in found.values())
    return found


@pytest.mark.slow
def test_a_new_layout_is_drift_that_quarantines_and_a_replay_may_allow_it(url, shop, instance):
    shop.at("2026-02-01")
    first = run_of(instance, "web_shop", "2026-02-01")
    assert first.success
    assert all(value.passed for value in expect_declared_checks(first).values())
    before = items_of(url)

    shop.at("2026-02-03")  # another layout: no price is found
    second = run_of(instance, "web_shop", "2026-02-03")
    assert not second.success
    found = expect_declared_checks(second)
    failed = {name for name, value in found.items() if not value.passed}
    assert failed == {"rejects_are_few", "item_count_is_usual", "fields_are_filled"}
    fill = found["fields_are_filled"].metadata
    assert fill["found"].value == "price 100% to 0%"
    assert "web_propose_selectors" in str(fill["what_to_do"].value)
    count = found["item_count_is_usual"].metadata
    assert (count["expected"].value, count["found"].value) == (
        "28 to 52 items, by earlier crawls: 1",
        "0 items",
    )
    assert items_of(url) == before

    declaration = (PROJECT_ROOT / "config/sites" / "shop.yaml").read_text()
    without = declaration.replace("price, currency]", "currency]").replace(
        'css: .price, process: price, notation: "1.234,56", required: true', "css: .price"
    )
    assert without != declaration
    config = {"site": "shop", "declaration": without, "dry_run": False}
    refused = replay(instance, config)
    assert not refused.success
    assert not expect_declared_checks(refused)["fields_are_filled"].passed
    assert items_of(url) == before
    allowed = replay(instance, config | {"allow_drift": True})
    assert allowed.success
    assert "price" not in items_of(url)["P0001"]
    assert (
        expect_declared_checks(allowed)["fields_are_filled"].severity == dg.AssetCheckSeverity.WARN
    )


def run_of(instance: dg.DagsterInstance, job: str, day: str) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance, partition_key=day, raise_on_error=False
    )


def replay(instance: dg.DagsterInstance, config: Mapping[str, Any]) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("web_replay").execute_in_process(
        instance=instance,
        run_config={"ops": {"replay_web_items": {"config": config}}},
        raise_on_error=False,
    )
