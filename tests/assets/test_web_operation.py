"""How crawls are operated: one run of a site at a time, switches, schedules, retention, exports."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import yaml
from sqlalchemy import select

from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import defs
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import Budget, Retention, Site, read_site
from orchestration_project.domains.web.tables import (
    web_crawls,
    web_frontier,
    web_items,
    web_pages,
    web_switches,
)
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.exports import read_exports
from orchestration_project.engine.contracts.retention import CAPTURED
from orchestration_project.engine.dagster_private.automation import is_valid_cron_string
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.leases import LostLeaseError, expire_lease, renew, take
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.web.access import WebAccess
from orchestration_project.resources.web.crawl import CrawlState
from orchestration_project.resources.web.site_lease import hold_site, lease_name
from orchestration_project.resources.web.switches import SwitchChange, set_switch
from orchestration_project.services.cleanup.removing import Retention as CleanUpRetention
from orchestration_project.services.cleanup.removing import clean_up, plan_cleanup
from orchestration_project.services.cleanup.retention import read_retention
from orchestration_project.services.exports.targets import Surroundings
from orchestration_project.services.exports.work import Exports
from orchestration_project.settings import load_settings
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import leases, work_items
from tests import databases
from tests.assets.conftest import BOTH
from tests.assets.web_shop import (
    POSTGRESQL_SLOW,
    PRODUCTS,
    counted,
    crawl_and_check_success,
    items_of,
    materialize_and_check_success,
)
from tests.expecting import expect_present
from tests.faulty_server import FaultyServer, Reply, Request

SWITCHED_OFF = (
    "small is switched off by ada: to test off; expected: the switch of small on; "
    "what to do: set the switch on by the job web_set_switch, then crawl again"
)


@contextmanager
def at_work(warehouse: Warehouse, seconds: float) -> Iterator[None]:
    """Hold the shop's site as a run of another instance does that is at work."""
    ended = threading.Event()
    name = lease_name("shop")

    def until(pause: float = seconds):
        return Clock().now() + timedelta(seconds=pause)

    with warehouse.writing() as connection:
        now = Clock().now()
        lease = expect_present(take(connection, name, holder="other", now=now, until=until()))

    def renew_often() -> None:
        while not ended.wait(0.05):
            with warehouse.writing() as connection:
                renew(connection, lease, until())

    thread = threading.Thread(target=renew_often)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.slow
@POSTGRESQL_SLOW
def test_a_site_is_crawled_by_one_run_at_a_time_also_on_other_days(url, shop, instance):
    shop.at("2026-02-02")
    with open_warehouse(load_settings()) as warehouse:
        with at_work(warehouse, 0.5):
            crawl_and_check_success(instance, "2026-02-02", succeeds=False)
        assert shop.politeness["requests"] == 0
        found = crawl_and_check_success(
            instance, "2026-02-02"
        )  # the lease of the run that ended expires
        assert found["shop_pages"]["crawl_outcome"] == "complete"
        assert len(items_of(url)) == PRODUCTS


@pytest.mark.slow
@BOTH
def test_a_lease_of_a_run_that_ended_is_taken_at_once_and_its_holder_finds_out(url):
    with open_warehouse(load_settings()) as warehouse:
        first = hold_site(warehouse, "shop", run_id="a", has_ended=lambda _: False)
        with first as held:
            with warehouse.writing() as connection:
                held.require(connection)
            second = hold_site(warehouse, "shop", run_id="b", has_ended=lambda run: run == "a")
            with (
                second,
                pytest.raises(LostLeaseError, match=r"taken over web\|shop"),
                warehouse.writing() as connection,
            ):
                held.require(connection)
        third = hold_site(warehouse, "shop", run_id="c", has_ended=lambda _: False)
        with third as held, warehouse.writing() as connection:
            held.require(connection)


def test_a_run_whose_site_was_taken_over_writes_nothing(url, instance, monkeypatch):
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-02-01T09:00:00+00:00")
    with open_warehouse(load_settings()) as warehouse:

        def take_over() -> None:
            name, now = lease_name("small"), Clock().now()
            with warehouse.writing() as connection:
                [holder] = connection.execute(
                    select(leases.c.holder).where(leases.c.name == name)
                ).scalars()
                expire_lease(connection, name, holder)
                take(connection, name, holder="other", now=now, until=now + timedelta(hours=1))

        with site_of({"/": LINKS}, {"/": take_over}) as (server, access):
            materialize_and_check_success(
                instance, small_site(1000), "2026-02-01", succeeds=False, web=access
            )
            assert [request.target for request in server.requests] == ["/robots.txt", "/"]
    assert outcomes(url) == [("running", None)]  # the other run says how it ends
    assert counted(url, web_pages) == 0


def test_seconds_of_earlier_runs_count_and_no_limit_is_none():
    state = CrawlState.of(Budget(seconds=60))
    assert state.spent_limit() == ""
    state.spend(1, 1, seconds=60)
    assert state.spent_limit() == "seconds"
    assert not state.take_request()
    free = CrawlState.of(Budget())
    free.spend(1, 1, seconds=10**9)
    assert free.take_request()


def switch(instance: dg.DagsterInstance, state: str, *, site: str = "shop", who: str = "ada"):
    """Set a switch by its job; return whether that succeeded."""
    config = {"site": site, "state": state, "reason": f"to test {state}", "who": who}
    result = defs.resolve_job_def("web_set_switch").execute_in_process(
        run_config={"ops": {"set_web_switch": {"config": config}}},
        instance=instance,
        raise_on_error=False,
    )
    return result.success


@contextmanager
def site_of(replies: Mapping[str, Reply], then: Mapping[str, Callable[[], object]]):
    """Serve a site in the place of the demo's shop; ``then`` runs before the reply of a path."""

    def reply(request: Request) -> Reply:
        then.get(request.target, lambda: None)()
        return replies.get(request.target, Reply(404))

    with FaultyServer(reply) as server:
        yield server, WebAccess(WebSettings.of(load_settings()), lambda: server.url)


def small_site(requests_per_second: float) -> Site:
    declared = {
        "site": "small",
        "base_url": "http://shop.demo",
        "start": ["/"],
        "follow": [{"css": "a"}],
        "item": {"key": ["sku"], "fields": {"sku": {"css": "h1", "required": True}}},
        "politeness": {"requests_per_second": requests_per_second},
    }
    return read_site(yaml.safe_dump(declared))


LINKS = Reply(headers={"Content-Type": "text/html"}, body=b"<h1>1</h1><a href=/a>a</a><a href=/b>b")
PAGE = Reply(headers={"Content-Type": "text/html"}, body=b"<h1>2</h1>")


def outcomes(url: str) -> list[tuple[Any, ...]]:
    return databases.rows(url, select(web_crawls.c.outcome, web_crawls.c.reason))


@pytest.mark.slow
@BOTH
def test_no_request_leaves_after_a_site_is_switched_off(url, instance, monkeypatch):
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-02-01T09:00:00+00:00")
    then: dict[str, Callable[[], object]] = {}
    with open_warehouse(load_settings()) as warehouse:

        def switch_off() -> None:
            change = SwitchChange("small", True, "to test off", "ada", Clock().now(), "run")
            set_switch(warehouse, change, ["small"])
            then.clear()

        then["/"] = switch_off
        with site_of({"/": LINKS, "/a": PAGE, "/b": PAGE}, then) as (server, access):
            materialize_and_check_success(instance, small_site(0.9), "2026-02-01", web=access)
            assert [request.target for request in server.requests] == ["/robots.txt", "/"]
            assert outcomes(url) == [("stopped", SWITCHED_OFF)]
            materialize_and_check_success(instance, small_site(100), "2026-02-01", web=access)
            assert len(server.requests) == 2
            assert switch(instance, "on", site="small", who="bob")
            materialize_and_check_success(instance, small_site(100), "2026-02-01", web=access)
            targets = [request.target for request in server.requests]
            assert sorted(targets) == ["/", "/a", "/b", "/robots.txt"]
    assert outcomes(url) == [("complete", None)]
    columns = [web_switches.c[name] for name in ("change_number", "is_off", "changed_by", "reason")]
    assert databases.rows(url, select(*columns)) == [
        (1, True, "ada", "to test off"),
        (2, False, "bob", "to test on"),
    ]


def test_a_crawl_that_waits_for_the_rate_ends_when_its_site_is_switched_off(
    url, instance, monkeypatch
):
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-02-01T09:00:00+00:00")
    then: dict[str, Callable[[], object]] = {}
    robots = Reply(body=b"User-agent: *\nCrawl-delay: 600\n")
    with open_warehouse(load_settings()) as warehouse:
        change = SwitchChange("small", True, "to test off", "ada", Clock().now(), "run")
        then["/robots.txt"] = lambda: threading.Timer(
            0.3, set_switch, (warehouse, change, ["small"])
        ).start()
        with site_of({"/robots.txt": robots, "/": PAGE}, then) as (server, access):
            materialize_and_check_success(instance, small_site(100), "2026-02-01", web=access)
            assert [request.target for request in server.requests] == ["/robots.txt"]
    assert outcomes(url) == [("stopped", SWITCHED_OFF)]


def test_a_switch_of_an_unknown_site_is_refused(url, instance):
    assert not switch(instance, "off", site="shpo")
    assert databases.rows(url, select(web_switches)) == []


def test_robots_that_are_throttled_are_asked_again_after_their_time(url, instance, monkeypatch):
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-02-01T09:00:00+00:00")
    answers = [*[Reply(429, {"Retry-After": "0"})] * 2, Reply(body=b"")]
    replies = {"/": PAGE}
    then = {"/robots.txt": lambda: replies.update({"/robots.txt": answers.pop(0)})}
    with site_of(replies, then) as (server, access):
        materialize_and_check_success(instance, small_site(1000), "2026-02-01", web=access)
        assert [request.target for request in server.requests] == ["/robots.txt"] * 3 + ["/"]
    assert outcomes(url) == [("complete", None)]


EXPORTS = """
exports:
  items: {table: web_items, columns: [item_key, payload], incremental: true, format: csv}
  fields: {table: web_item_fields, where: [field=price], columns: [item_key, amount], format: csv}
  changes: {table: web_changes, columns: [item_key, field, before, after], format: csv}
"""


@pytest.mark.slow
@POSTGRESQL_SLOW
def test_items_fields_and_changes_are_exported_once_per_load(url, shop, instance):
    declared = read_exports(EXPORTS, is_valid_cron_string)

    def exported(run_id: str, day: int) -> dict[str, list[str]]:
        clock = Clock(datetime(2026, 2, day, 12, tzinfo=UTC))
        given = Surroundings(load_settings(), open_store(load_settings()))
        found: dict[str, list[str]] = {}
        with open_warehouse(load_settings()) as warehouse:
            work = Exports(warehouse, given, clock)
            for name, value in declared.items():
                result = work.run(value, run_id=run_id, is_under_way=lambda _: False)
                if result.export is not None:
                    content = given.artifacts.get(result.export.artifact).decode()
                    found[name] = content.split("\r\n")[1:-1]
        return found

    shop.at("2026-02-01")
    crawl_and_check_success(instance, "2026-02-01")
    first = exported("a", 1)
    assert len(first["items"]) == len(first["fields"]) == PRODUCTS
    assert "P0010,13660000" in first["fields"]
    assert first["changes"] == []
    assert exported("b", 1) == {}
    shop.at("2026-02-02")
    crawl_and_check_success(instance, "2026-02-02")
    second = exported("c", 2)
    assert len(second["items"]) == PRODUCTS // 10
    assert "P0010,13670000" in second["fields"]
    assert "P0010,price,13.66,13.67" in second["changes"]


@pytest.mark.slow
@POSTGRESQL_SLOW
def test_retention_deletes_old_frontiers_states_of_pages_and_bytes(url, instance, monkeypatch):
    kept = {"retention": Retention(pages_days=2, captures_days=2)}
    site = small_site(1000).model_copy(update=kept)
    replies = {"/": PAGE}
    folder = load_settings().state_path
    with site_of(replies, {}) as (_, access):
        for day, name in ((1, "a"), (2, "b"), (9, "c")):
            body = f"<h1>1</h1>{name}".encode()
            replies["/"] = Reply(headers={"Content-Type": "text/html"}, body=body)
            monkeypatch.setenv("DEMO_CLOCK_NOW", f"2026-02-0{day}T09:00:00+00:00")
            materialize_and_check_success(instance, site, f"2026-02-0{day}", web=access)
        assert databases.rows(url, select(web_frontier.c.day)) == [(date(2026, 2, 9),)]
        topics = select(work_items.c.topic)
        assert databases.rows(url, topics) == [("web/small/2026-02-09",)]
        history = web_pages.info[HISTORY]
        # The state of day 1 was replaced on day 2, and that of day 2 on day 9.
        assert [day for (day,) in databases.rows(url, select(history.c.day))] == [date(2026, 2, 2)]
        for path in folder.rglob("*.zst"):
            os.utime(path, (0, 0))
        with open_warehouse(load_settings()) as warehouse:
            store, now = open_store(load_settings()), datetime(2026, 2, 9, 12, tzinfo=UTC)
            days = {CAPTURED: None}
            keep = CleanUpRetention(days, keep_newest=1, of_datasets={("web", "small"): 2})
            plan = plan_cleanup(warehouse, store, keep, now=now)
            gone = clean_up(warehouse, store, plan, now=now, run_id="run")
        # The item is still as it was read on day 1, and the page is that of day 9.
        assert len(gone[CAPTURED]) == 1
        materialize_and_check_success(instance, site, "2026-02-09", web=access)
    assert counted(url, web_items) == 1


def test_the_clean_up_knows_the_days_of_each_site(demo_settings, tmp_path, monkeypatch):
    folder = tmp_path / "sites"
    folder.mkdir()
    for name, days in (("a", "retention: {captures_days: 30}"), ("b", "")):
        item = "item: {key: [k], fields: {k: {css: p, required: true}}}"
        text = f"site: {name}\nbase_url: https://a.example\nstart: [/]\n{item}\n{days}\n"
        (folder / f"{name}.yaml").write_text(text)
    monkeypatch.setenv("WEB_SITES_DIR", str(folder))
    assert read_retention(REGISTRY, load_settings()).captured_days == {("web", "a"): 30}
