"""Logins of crawls through their assets: members' pages, a planted password, failures."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from orchestration_demo.shop.members import MEMBER_PAGES, WRONG_PASSWORD
from sqlalchemy import select

from orchestration_project.assets import web
from orchestration_project.catalog.web import shop_demo
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import read_site
from orchestration_project.domains.web.tables import web_crawls, web_frontier, web_items, web_pages
from orchestration_project.settings import load_settings
from tests import databases
from tests.assets.conftest import BOTH
from tests.resources.definitions import RESOURCES
from tests.secrets_planted import Planted, below, in_postgresql

DAY = "2026-02-01"
PLANTED = Planted()


@pytest.fixture
def shop(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setenv("DEMO_CLOCK_NOW", f"{DAY}T09:00:00+00:00")
    monkeypatch.setenv("WEB_LOGIN_SHOP_USER", "crawler")
    yield monkeypatch
    shop_demo(WebSettings.of(load_settings())).stop()


def crawl(
    instance: dg.DagsterInstance, start: str = "/members", **login: Any
) -> dg.ExecuteInProcessResult:
    declared = {
        "site": "members",
        "base_url": "http://shop.demo",
        "start": [start],
        "follow": [{"css": "a.member"}],
        "login": {
            "url": "/login",
            "form": "#login",
            "user": "WEB_LOGIN_SHOP_USER",
            "password": "WEB_LOGIN_SHOP_PASSWORD",
            "signed_in": "a[href='/logout']",
            **login,
        },
        "item": {
            "key": ["sku"],
            "each": ".sku",
            "fields": {"sku": {"regex": r"M\d+", "required": True}},
        },
        "politeness": {"requests_per_second": 100, "concurrency": 4},
    }
    made = web.build_site_assets(read_site(yaml.safe_dump(declared)))
    return dg.materialize(
        [made],
        instance=instance,
        partition_key=DAY,
        resources=RESOURCES,
        raise_on_error=False,
    )


def outcome_of(url: str) -> tuple[str, str | None, int]:
    columns = web_crawls.c
    [row] = databases.rows(url, select(columns.outcome, columns.reason, columns.request_count))
    return tuple(row)


@pytest.mark.slow
@BOTH
def test_a_crawl_logs_in_and_its_password_is_stored_nowhere(url, shop, instance, tmp_path, capfd):
    secret = tmp_path / "password"
    secret.write_text(PLANTED.secret("password") + "\n")
    secret.chmod(0o600)
    shop.setenv("WEB_LOGIN_SHOP_PASSWORD_FILE", str(secret))
    result = crawl(instance)
    assert result.success
    login_requests = 3  # the form, its answer, and the page to which that redirects
    assert outcome_of(url) == ("complete", None, login_requests + 1 + MEMBER_PAGES)
    keys = {key for (key,) in databases.rows(url, select(web_items.c.item_key))}
    assert keys == {f"M{number}" for number in range(1, MEMBER_PAGES + 1)}
    pages = [each for (each,) in databases.rows(url, select(web_pages.c.url))]
    assert not any("login" in page for page in pages)
    assert crawl(instance).success
    assert outcome_of(url)[2] == login_requests + 1 + MEMBER_PAGES  # nothing is left: no login
    secret.unlink()
    events = json.dumps([str(event) for event in result.all_events])
    stored = [*below(tmp_path), ("events", events), ("log", "".join(capfd.readouterr()))]
    stored += in_postgresql(url) if url.startswith("postgresql") else ()
    assert any("M5</i>" in str(content) for _, content in stored)  # captures are among it
    assert PLANTED.leaks(stored) == {}


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("password", "login", "reason"),
    [
        (WRONG_PASSWORD, {}, "expected a[href='/logout'] in the page after it"),
        (None, {}, "expected the settings WEB_LOGIN_SHOP_PASSWORD"),
        ("a-password", {"url": "/basket"}, "robots.txt of http://shop.demo disallows it"),
    ],
)
def test_a_failed_login_ends_the_crawl_as_login(
    url, shop, instance, tmp_path: Path, password: str | None, login: dict[str, Any], reason: str
):
    if password:
        shop.setenv("WEB_LOGIN_SHOP_PASSWORD", password)
    result = crawl(instance, **login)
    [check] = [
        evaluation
        for evaluation in result.get_asset_check_evaluations()
        if evaluation.check_name == "is_not_blocked"
    ]
    assert not check.passed
    outcome, found, _ = outcome_of(url)
    assert outcome == "login"
    assert str(found).startswith("the login failed: ")
    assert reason in str(found)
    assert databases.rows(url, select(web_pages)) == []
    assert not any(WRONG_PASSWORD in str(content) for _, content in below(tmp_path))


def test_a_session_that_ends_ends_the_crawl_as_login(url, shop, instance):
    shop.setenv("WEB_LOGIN_SHOP_PASSWORD", "a-password")
    assert crawl(instance, start="/members/expired").success
    reason = "http://shop.demo/members/expired answered 200 at http://shop.demo/login"
    assert outcome_of(url) == ("login", reason, 5)
    assert databases.rows(url, select(web_frontier.c.verdict)) == [("login",)]
