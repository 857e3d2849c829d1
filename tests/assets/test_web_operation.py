"""How crawls are operated: one run of a site at a time, switches, schedules, retention, exports."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from orchestration_project.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.leases import LostLeaseError, renew, take
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.web.site_lease import hold_site, lease_name
from orchestration_project.settings import load_settings
from tests.assets.conftest import BOTH
from tests.assets.web_shop import PRODUCTS, crawl, items_of


@contextmanager
def at_work(warehouse: Warehouse, seconds: float) -> Iterator[None]:
    """Hold the shop's site as a run of another instance does that is at work."""
    ended = threading.Event()
    name = lease_name("shop")

    def until(pause: float = seconds):
        return Clock().now() + timedelta(seconds=pause)

    with warehouse.writing() as connection:
        lease = take(connection, name, holder="other", now=Clock().now(), until=until())
    assert lease is not None

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


@BOTH
def test_a_site_is_crawled_by_one_run_at_a_time_also_on_other_days(url, shop, instance):
    shop.at("2026-02-02")
    with open_warehouse(load_settings()) as warehouse:
        with at_work(warehouse, 0.5):
            crawl(instance, "2026-02-02", succeeds=False)
        assert shop.politeness["requests"] == 0
        found = crawl(instance, "2026-02-02")  # the lease of the run that ended expires
        assert found["shop_pages"]["crawl_outcome"] == "complete"
        assert len(items_of(url)) == PRODUCTS


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
