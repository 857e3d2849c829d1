"""A crawl that is killed continues, and requests no captured page again.

WEB_KILLS=50 kills each database's crawls fifty times, which takes ten minutes.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from orchestration_project.catalog.web import shop_demo
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.tables import web_crawls, web_items, web_pages
from orchestration_project.settings import PROJECT_ROOT, child_environment, load_settings
from tests import databases
from tests.expecting import expect_present
from tests.faulty_server import FaultyServer, Reply, Request
from tests.prepared import Prepared
from tests.programs import PATIENCE_SECONDS, kill_after, wait_for

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
        wait_for(
            lambda run=run, slices=slices: (
                run.poll() is not None or count_of(url, web_crawls.c.slice_count) >= slices
            ),
            PATIENCE_SECONDS,
            poll_seconds=0.01,
        )
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


KILLS = int(os.environ.get("WEB_KILLS", "8"))  # noqa: TID251 - of the test alone
"""Kills on each of the two databases."""

PIECES, PER_LIST = 600, 20


def piece_or_list(request: Request) -> Reply:
    """Return a page of a site with lists of pieces."""
    kind, _, number = request.target.strip("/").partition("/")
    if kind == "piece":
        body = f"<i class=sku>P{number}</i>"
    elif kind == "list":
        first = (int(number) - 1) * PER_LIST + 1
        links = (
            f"<p class=piece><a href=/piece/{number}>x</a>"
            for number in range(first, first + PER_LIST)
        )
        is_last = int(number) * PER_LIST >= PIECES
        following = "" if is_last else f"<a rel=next href=/list/{int(number) + 1}>next</a>"
        body = "".join([*links, following])
    else:
        return Reply(404)
    return Reply(headers={"Content-Type": "text/html"}, body=body.encode())


def has_ended(process: int) -> bool:
    """Whether a process has ended."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


class KilledCrawls:
    """Crawls of one day after another, killed at moments that a seed decides."""

    def __init__(self, url: str, server: FaultyServer, program: "subprocess.Popen[str]") -> None:
        self.kill_count = 0
        self.run_count = 0
        self._url = url
        self._server = server
        self._program = program
        self._random = Random(37)  # noqa: S311 - to be repeated

    def crawl_and_check(self, day: date) -> None:
        """Crawl a day, killed again and again, until it is complete."""
        captured_at: dict[str, int] = {}
        is_complete = False
        while not is_complete:
            self.run_count += 1
            assert self.run_count < 4 * KILLS
            is_complete = self._run(day, is_killed=self.kill_count < KILLS)
            requests = len(self._server.requests)
            for path in self._captured(day):
                captured_at.setdefault(path, requests)
        for number, request in enumerate(self._server.requests):
            assert number < captured_at.get(request.target, number + 1), request.target
        assert self._outcome(day) == "complete"
        assert len(captured_at) == PIECES + PIECES // PER_LIST
        assert {key for (key,) in databases.rows(self._url, select(web_items.c.item_key))} == {
            f"P{number}" for number in range(1, PIECES + 1)
        }
        self._server.requests.clear()

    def _run(self, day: date, *, is_killed: bool) -> bool:
        """Return whether the run was not killed."""
        stdin = expect_present(self._program.stdin)
        stdout = expect_present(self._program.stdout)
        print(self._server.url, day, file=stdin, flush=True)
        process = int(stdout.readline())
        if is_killed:
            slices = self._slices(day) + self._random.randrange(4)
            wait_for(
                lambda: has_ended(process) or self._slices(day) >= slices,
                PATIENCE_SECONDS,
                poll_seconds=0.02,
            )
            self.kill_count += kill_after(process, self._random.uniform(0, 0.6))
        return stdout.readline() == "0\n"

    def _outcome(self, day: date) -> str | None:
        wanted = select(web_crawls.c.outcome).where(web_crawls.c.day == day)
        return next((each for (each,) in databases.rows(self._url, wanted)), None)

    def _slices(self, day: date) -> int:
        wanted = select(web_crawls.c.slice_count).where(web_crawls.c.day == day)
        return next((each for (each,) in databases.rows(self._url, wanted)), 0)

    def _captured(self, day: date) -> list[str]:
        wanted = select(web_pages.c.url).where(web_pages.c.day == day)
        return [
            each.removeprefix("http://shop.demo") for (each,) in databases.rows(self._url, wanted)
        ]


def test_crawls_that_are_killed_again_and_again_request_no_captured_page_again(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "sites").mkdir()
    monkeypatch.setenv("WEB_SITES_DIR", str(tmp_path / "sites"))
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-06-01T09:00:00+00:00")  # after all crawled days
    command = [sys.executable, "-m", "tests.slow.killed_crawls"]
    with (
        FaultyServer(piece_or_list) as server,
        subprocess.Popen(  # noqa: S603 - our own program
            command,
            cwd=PROJECT_ROOT,
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as program,
    ):
        crawls, day = KilledCrawls(url, server, program), date.fromisoformat(DAY)
        while crawls.kill_count < KILLS:
            crawls.crawl_and_check(day)
            day += timedelta(days=1)
        assert program.stdin is not None
        program.stdin.close()
        assert program.wait() == 0
