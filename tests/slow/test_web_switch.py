"""A crawl of the demo's shop that is switched off: the shop counts no request later than 1 s."""

import threading
import time

import dagster as dg
import pytest

from orchestration_project.assets import web
from orchestration_project.definitions import defs
from orchestration_project.domains.web.tables import web_crawls
from tests.assets.web_shop import Shop, counted, materialize_and_check_success
from tests.programs import wait_for

pytestmark = pytest.mark.slow

DAY = "2026-02-01"


def test_the_shop_counts_no_request_after_the_switch(
    prepared, demo_settings, tmp_path, monkeypatch
):
    url = prepared.sqlite(tmp_path / "warehouse.sqlite")
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("DEMO_SHOP_PRODUCTS", "400")
    shop = Shop(monkeypatch)
    shop.at(DAY)
    site = web.SITE_FILES.sites["shop"]
    slow = site.politeness.model_copy(update={"requests_per_second": 20.0})
    with (
        dg.DagsterInstance.ephemeral() as instance,
        dg.DagsterInstance.ephemeral() as other,
    ):
        run = threading.Thread(
            target=materialize_and_check_success,
            args=(instance, site.model_copy(update={"politeness": slow}), DAY),
        )
        run.start()
        wait_for(lambda: shop.politeness["requests"] >= 5, poll_seconds=0.05)
        config = {"site": "shop", "state": "off", "reason": "too fast"}
        result = defs.resolve_job_def("web_set_switch").execute_in_process(
            run_config={"ops": {"set_web_switch": {"config": config}}}, instance=other
        )
        assert result.success
        time.sleep(1)
        count = shop.politeness["requests"]
        run.join()
    assert shop.politeness["requests"] == count < 400
    assert counted(url, web_crawls, web_crawls.c.outcome == "stopped") == 1
    shop.stop()
