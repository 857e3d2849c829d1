"""A crawl that is killed continues, and requests no captured page again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from orchestration_project.catalog.web import shop_demo
from orchestration_project.settings import PROJECT_ROOT, child_environment, load_settings
from orchestration_project.settings.domains.web import WebSettings
from orchestration_project.tables.web import web_crawls, web_items, web_pages
from tests import databases
from tests.prepared import Prepared

pytestmark = pytest.mark.slow

DAY = "2026-02-01"
PRODUCTS = 400
SLICES_BEFORE_KILL = (2, 6, 9, 13)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(
    request: pytest.FixtureRequest,
    demo_settings: Any,
    prepared: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """An empty database of either kind, and a shop."""
    found = (
        prepared.sqlite(tmp_path / "warehouse.sqlite")
        if request.param == "sqlite"
        else prepared.postgresql()
    )
    monkeypatch.setenv("DATABASE_URL", found)
    monkeypatch.setenv("DEMO_SHOP_PRODUCTS", str(PRODUCTS))
    monkeypatch.setenv("DEMO_CLOCK_NOW", f"{DAY}T09:00:00+00:00")
    monkeypatch.setenv("DAGSTER_HOME", str(PROJECT_ROOT))
    yield found
    shop_demo(WebSettings.of(load_settings())).stop()


def politeness() -> Mapping[str, int]:
    address = shop_demo(WebSettings.of(load_settings())).url()
    return httpx.get(f"{address}/politeness", trust_env=False).json()


def started() -> "subprocess.Popen[bytes]":
    command = [
        *(sys.executable, "-m", "dagster", "job", "execute"),
        *("-m", "orchestration_project.definitions", "-j", "web_shop"),
        *("--tags", f'{{"dagster/partition": "{DAY}"}}'),
    ]
    return subprocess.Popen(  # noqa: S603 - our own program
        command,
        cwd=PROJECT_ROOT,
        env=child_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def count_of(url: str, column: Any) -> int:
    [(count,)] = databases.rows(url, select(func.coalesce(func.sum(column), 0)))
    return int(count)


def test_a_crawl_that_is_killed_often_has_all_items_and_repeats_no_captured_page(url: str):
    captured: list[int] = []
    for slices in SLICES_BEFORE_KILL:
        run = started()
        while count_of(url, web_crawls.c.slice_count) < slices and run.poll() is None:
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        captured.append(len(databases.rows(url, select(web_pages.c.url))))
    run = started()
    assert run.wait() == 0
    assert 0 < captured[0] < captured[-1] < PRODUCTS
    ended = select(web_crawls.c.outcome, web_crawls.c.reason)
    assert databases.rows(url, ended) == [("complete", None)]
    assert len(databases.rows(url, select(web_items.c.item_key))) == PRODUCTS
    found = politeness()
    pages = PRODUCTS + PRODUCTS // 20
    # A kill loses the one slice that was not written yet, which is a list's products at most.
    assert pages <= found["requests"] <= pages + len(SLICES_BEFORE_KILL) * 41
    assert found["most_requests_of_a_product"] <= 1 + len(SLICES_BEFORE_KILL)
    assert (found["disallowed"], found["without_contact"], found["above_rate"]) == (0, 0, 0)
    captures = select(web_pages.c.url, func.count()).group_by(web_pages.c.url)
    assert {count for _, count in databases.rows(url, captures)} == {1}
