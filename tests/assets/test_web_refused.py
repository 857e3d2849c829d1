"""Crawls of a server in the place of the shop: block and login pages, and JSON that changes."""

import json
from typing import Any

import dagster as dg
import pytest
import yaml
from sqlalchemy import select

from orchestration_project.assets import web
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import read_site
from orchestration_project.domains.web.tables import web_crawls, web_items, web_pages
from orchestration_project.resources.web.access import WebAccess
from orchestration_project.settings import load_settings
from tests import databases
from tests.assets.web_shop import POSTGRESQL_SLOW
from tests.faulty_server import FaultyServer, Reply, Request
from tests.resources.definitions import RESOURCES

SITE = {
    "site": "shop",
    "base_url": "http://shop.demo",
    "start": ["/"],
    "follow": [{"css": "a", "pattern": r"^/p/\d+$"}],
    "item": {
        "pages": r"/p/\d+$",
        "key": ["sku"],
        "fields": {"sku": {"css": ".sku", "required": True}},
    },
    "politeness": {"requests_per_second": 1000},
}
FORM = "<form><label>Log in</label><input name=user><input type=password name=p></form>"
LINKS = "".join(f"<a href=/p/{number}>{number}</a>" for number in range(1, 4))
SHOP_PAGE = f"<title>Lamp 1</title>{FORM}<h1>Lamp 1</h1><i class=sku>P1</i>{'brass lamp ' * 90}"


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("answer", "verdict", "reason"),
    [
        (
            "<title>Just a moment...</title><div id=challenge-running></div>",
            "blocked",
            "/p/2 answered a block page: its title is 'Just a moment...'",
        ),
        (
            f"<title>Log in</title>{FORM}",
            "login",
            "/p/2 answered a login page: its title is 'Log in'",
        ),
    ],
)
def test_a_block_or_login_page_of_status_200_ends_the_crawl(
    url: str, instance: dg.DagsterInstance, answer: str, verdict: str, reason: str
):
    bodies = {"/": LINKS, "/p/1": SHOP_PAGE, "/p/2": answer, "/p/3": SHOP_PAGE}

    def reply(request: Request) -> Reply:
        if request.target not in bodies:
            return Reply(404)
        html = {"Content-Type": "text/html"}
        return Reply(200, html, f"<!doctype html>{bodies[request.target]}".encode())

    with FaultyServer(reply) as server:
        access: Any = WebAccess(WebSettings.of(load_settings()), lambda: server.url)
        result = dg.materialize(
            [web.build_site_assets(read_site(yaml.safe_dump(SITE)))],
            instance=instance,
            partition_key="2026-02-01",
            resources={**RESOURCES, "web": access},
            raise_on_error=False,
        )
        requested = [request.target for request in server.requests]
    assert result.success
    assert requested == ["/robots.txt", "/", "/p/1", "/p/2"]
    checks = {
        evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()
    }
    assert {name for name, check in checks.items() if not check.passed} == {"is_not_blocked"}
    found = checks["is_not_blocked"].metadata["found"].value
    assert str(found).endswith(reason)
    verdicts = select(web_pages.c.url, web_pages.c.verdict).order_by(web_pages.c.url)
    assert databases.rows(url, verdicts) == [
        ("http://shop.demo/", "page"),
        ("http://shop.demo/p/1", "page"),
        ("http://shop.demo/p/2", verdict),
    ]
    assert databases.rows(url, select(web_crawls.c.outcome)) == [("blocked",)]
    assert databases.rows(url, select(web_items.c.item_key)) == [("P1",)]


API = {
    "site": "shop",
    "base_url": "http://shop.demo",
    "start": ["/api"],
    "item": {
        "each_json_path": "$.items[*]",
        "key": ["sku"],
        "fields": {
            "sku": {"json_path": "sku", "required": True},
            "price": {"json_path": "price"},
            "stock": {"json_path": "stock"},
        },
    },
    "politeness": {"requests_per_second": 1000},
}


@pytest.mark.slow
@POSTGRESQL_SLOW
def test_other_members_of_json_warn_and_more_items_are_loaded(
    url: str, instance: dg.DagsterInstance
):
    answers = {
        "2026-02-01": [{"sku": f"P{n}", "price": "1.00", "stock": n} for n in range(10)],
        "2026-02-02": [{"sku": f"P{n}", "price": "1.00", "amount": n} for n in range(10)],
        "2026-02-03": [{"sku": f"P{n}", "price": "1.00", "amount": n} for n in range(30)],
    }
    rows: list[Any] = []

    def reply(request: Request) -> Reply:
        if request.target != "/api":
            return Reply(404)
        return Reply(200, {"Content-Type": "text/json"}, json.dumps({"items": rows}).encode())

    site = read_site(yaml.safe_dump(API))
    results: list[Any] = []
    with FaultyServer(reply) as server:
        access: Any = WebAccess(WebSettings.of(load_settings()), lambda: server.url)
        for day, rows in answers.items():  # noqa: B007 - the server sends them
            results.append(
                dg.materialize(
                    [web.build_site_assets(site)],
                    instance=instance,
                    partition_key=day,
                    resources={**RESOURCES, "web": access},
                    raise_on_error=False,
                )
            )
    first, second, third = (
        {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}
        for result in results
    )
    assert [result.success for result in results] == [True, False, False]
    assert all(value.passed for value in first.values())
    members = second["json_members_are_known"]
    assert not members.passed
    assert members.severity == dg.AssetCheckSeverity.WARN
    found = "new: $.items[*].amount; vanished: $.items[*].stock"
    assert members.metadata["found"].value == found
    assert not second["fields_are_filled"].passed  # stock is a field
    assert third["item_count_is_usual"].severity == dg.AssetCheckSeverity.WARN
    assert third["item_count_is_usual"].metadata["expected"].value == (
        "5 to 15 items, by earlier crawls: 1"
    )
    assert len(databases.rows(url, select(web_items.c.item_key))) == 10
