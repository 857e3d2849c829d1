"""What of crawls reaches people: alerts of blocks, days that were missed, and schedules."""

from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import BigInteger, insert

from orchestration_project.assets import web
from orchestration_project.catalog.web import WEB
from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.tables import web_crawls, web_items
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.resources.web.crawl_status import missed_days
from orchestration_project.resources.web.held import HeldPages
from orchestration_project.resources.web.sites import read_site_files
from orchestration_project.sensors.web import site_schedule
from orchestration_project.services.status import Deadlines
from orchestration_project.settings import load_settings
from tests.assets.conftest import BOTH
from tests.assets.test_web_operation import LINKS, PAGE, site_of, small_site
from tests.assets.web_shop import materialize_and_check_success
from tests.faulty_server import Reply
from tests.resources.definitions import RESOURCES
from tests.sensors.test_operations import Watch, sent_messages
from tests.sensors.test_operations import hook as hook
from tests.services.test_status import delivered


@pytest.mark.slow
@pytest.mark.parametrize("status", [403, pytest.param(401, marks=pytest.mark.slow)])
def test_a_block_ends_the_crawl_and_alerts_until_a_later_one_is_let_in(
    url, kept_instance, hook, monkeypatch, status
):
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-02-01T09:00:00+00:00")
    watch = Watch(kept_instance, url)
    replies = {"/": LINKS, "/a": Reply(status), "/b": PAGE}
    with site_of(replies, {}) as (server, access):
        materialize_and_check_success(kept_instance, small_site(1000), "2026-02-01", web=access)
        title = "Check failed: web/small_pages is_not_blocked"
        assert sent_messages(watch, hook) == [(title, "failure")]
        message = hook.received[0]["message"]
        assert f"http://shop.demo/a answered {status}" in message
        assert "team:operations: ask the owner of the site" in message
        assert [request.target for request in server.requests] == ["/robots.txt", "/", "/a"]
        replies["/a"] = PAGE
        monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-02-02T09:00:00+00:00")
        materialize_and_check_success(kept_instance, small_site(1000), "2026-02-02", web=access)
        assert sent_messages(watch, hook) == [(f"Recovered: {title}", "success")]


DAYS = {
    "2026-02-01": ("complete", None),
    "2026-02-02": ("budget", "the limit of requests is reached; 3 URLs are left"),
    "2026-02-04": ("blocked", "http://shop.demo/a answered 403"),
}


@pytest.mark.slow
@BOTH
def test_the_control_tower_has_missed_days_and_the_outcome_of_the_latest_crawl(url):
    shop = web.SITE_FILES.sites["shop"].model_copy(update={"schedule": "0 6 * * *"})
    manual = shop.model_copy(update={"site": "manual", "schedule": None})
    with open_warehouse(load_settings()) as warehouse:
        with warehouse.writing() as connection:
            for site in ("shop", "manual"):
                connection.execute(
                    insert(web_crawls), [row(site, *day_rows) for day_rows in DAYS.items()]
                )

        def missed(at: str, *sites: Site) -> list[tuple[str, str, int, str]]:
            found = missed_days(warehouse, sites, datetime.fromisoformat(f"{at}+00:00"))
            return [(gap.asset, gap.partition, gap.missing_count, gap.reason) for gap in found]

        blocked = "blocked: http://shop.demo/a answered 403"
        assert missed("2026-02-03T07:59", shop) == []
        assert missed("2026-02-04T08:01", shop, manual) == [
            ("web/shop_items", "2026-02-03", 2, f"2 days missed; 2026-02-04: {blocked}"),
            ("web/manual_items", "2026-02-04", 1, f"1 days missed; 2026-02-04: {blocked}"),
        ]
        assert missed("2026-02-06T08:01", shop) == [
            ("web/shop_items", "2026-02-03", 4, "4 days missed; 2026-02-06: no crawl")
        ]
        [deadlines] = WEB.registered(Deadlines)
        found = deadlines.read(
            load_settings(), warehouse, Clock(datetime(2026, 2, 3, 9, tzinfo=UTC))
        )
        assert [gap.job for gap in found] == ["web_shop"]


def test_a_day_whose_items_are_quarantined_is_missed_until_later_ones_are_loaded(url):
    shop = web.SITE_FILES.sites["shop"].model_copy(update={"schedule": "0 6 * * *"})
    days = dict.fromkeys(("2026-02-01", "2026-02-02"), ("complete", None))
    with open_warehouse(load_settings()) as warehouse:
        with warehouse.writing() as connection:
            connection.execute(insert(web_crawls), [row("shop", *crawl) for crawl in days.items()])
        now = datetime(2026, 2, 2, 9, tzinfo=UTC)
        delivered(warehouse, "shop", "held_back", table=web_items.name)
        [found] = missed_days(warehouse, [shop], now)
        assert (found.partition, found.missing_count, found.quarantined_count) == (
            *("2026-02-02", 1, 1),
        )
        assert found.reason == "1 days missed; 2026-02-02: its items are quarantined"
        assert "Attention" in found.next_step
        delivered(warehouse, "shop", "landed", 2, table=web_items.name)
        assert missed_days(warehouse, [shop], now) == []


def row(site: str, day: str, outcome: tuple[str, str | None]) -> dict[str, Any]:
    began = datetime.fromisoformat(f"{day}T06:00:00+00:00")
    counts = [column.name for column in web_crawls.c if isinstance(column.type, BigInteger)]
    return {
        **dict.fromkeys(counts, 0),
        "site": site,
        "day": date.fromisoformat(day),
        "outcome": outcome[0],
        "reason": outcome[1],
        "seconds": 1.0,
        "started_at": began,
        "ended_at": began,
        "run_id": "run",
    }


@pytest.mark.parametrize(
    ("outcome", "day"), [("stopped", 2), ("budget", 2), ("blocked", 1), ("login", 1)]
)
def test_the_latest_crawl_for_proposals_is_none_that_the_site_refused(url, outcome: str, day: int):
    settings = load_settings()
    crawls = {"2026-02-01": ("complete", None), "2026-02-02": (outcome, "a reason")}
    rows = [row("shop", *crawl) | {"page_count": 1} for crawl in crawls.items()]
    with open_warehouse(settings) as warehouse:
        with warehouse.writing() as connection:
            connection.execute(insert(web_crawls), rows)
        held = HeldPages(warehouse, Captures(open_store(settings)))
        assert held.latest_day("shop", prefers_complete=False) == date(2026, 2, day)
        assert held.latest_day("shop") == date(2026, 2, 1)


def test_a_schedule_crawls_the_present_utc_day(instance, monkeypatch, url):
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-02-01T23:30:00+00:00")
    site = web.SITE_FILES.sites["shop"].model_copy(
        update={"schedule": "30 0 * * *", "timezone": "Europe/Berlin"}
    )
    made = site_schedule(site)
    assert (made.name, made.job_name, made.cron_schedule) == ("web_shop", "web_shop", "30 0 * * *")
    assert made.default_status == dg.DefaultScheduleStatus.STOPPED
    given = {name: RESOURCES[name] for name in ("clock", "warehouse")}
    with dg.build_resources(given, instance) as resources:
        context = dg.build_schedule_context(
            instance,
            scheduled_execution_time=datetime(2026, 2, 1, 23, 30, tzinfo=UTC),
            resources=resources._asdict(),
        )
        requested = made(context)
    assert isinstance(requested, dg.RunRequest)
    assert requested.partition_key == "2026-02-01"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("schedule: often", "line 2: schedule: expected a cron expression, e.g. 0 6 * * *"),
        ("timezone: Mars/Base", "line 2: timezone: expected a time zone, e.g. Europe/Berlin"),
        ("budget: {cost: 1}", "line 2: budget: expected a cost_per_request with cost, e.g. 0.002"),
    ],
)
def test_a_site_file_with_an_invalid_limit_or_schedule_is_a_problem(tmp_path, line, problem):
    item = "{key: [k], fields: {k: {css: p, required: true}}}"
    text = f"site: a\n{line}\nbase_url: https://a.example\nstart: [/]\nitem: {item}\n"
    (tmp_path / "a.yaml").write_text(text)
    assert read_site_files(tmp_path).problems["a.yaml"].startswith(problem)
