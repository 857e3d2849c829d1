"""A crawl that is killed in an instance of Dagster's own making: the next run goes on soon."""

import os
import signal
import subprocess
import sys

import pytest
from sqlalchemy import select

from orchestration_project.domains.web.tables import web_crawls, web_pages
from orchestration_project.settings import PROJECT_ROOT, child_environment
from tests import databases
from tests.assets.web_shop import Shop
from tests.programs import wait_for

pytestmark = pytest.mark.slow

DAY = "2026-02-01"
PATIENCE_SECONDS = 120
"""A lease lasts for 30 s; that of claimed URLs would last for 27 min."""


@pytest.mark.parametrize("next_home", ["same", "other"])
def test_the_next_run_takes_over_what_a_killed_one_had_claimed(
    prepared, demo_settings, tmp_path, monkeypatch, next_home
):
    url = prepared.sqlite(tmp_path / "warehouse.sqlite")
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("DEMO_SHOP_PRODUCTS", "400")
    shop = Shop(monkeypatch)
    shop.at(DAY)

    def started(home: str) -> "subprocess.Popen[bytes]":
        folder = tmp_path / home
        folder.mkdir(exist_ok=True)
        command = [
            *(sys.executable, "-m", "dagster", "job", "execute"),
            *("-m", "orchestration_project.definitions", "-j", "web_shop"),
            *("--tags", f'{{"dagster/partition": "{DAY}"}}'),
        ]
        return subprocess.Popen(  # noqa: S603 - our own program
            command,
            cwd=PROJECT_ROOT,
            env={**child_environment(), "DAGSTER_HOME": str(folder)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    run = started("same")
    wait_for(
        lambda: run.poll() is not None or databases.rows(url, select(web_pages.c.url)),
        PATIENCE_SECONDS,
        poll_seconds=0.01,
    )
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert databases.rows(url, select(web_crawls.c.outcome)) == [("running",)]
    assert started(next_home).wait(PATIENCE_SECONDS) == 0
    assert databases.rows(url, select(web_crawls.c.outcome)) == [("complete",)]
    shop.stop()
