"""Equation of a crawl's pages: each page with bytes is read once, or its items do not load."""

from pathlib import Path

import pytest
from sqlalchemy import delete, select

from orchestration_project.domains.web.tables import web_crawls
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.settings import load_settings
from orchestration_project.tables.spine import balances, blobs
from tests import databases
from tests.assets.test_web_operation import LINKS, PAGE, site_of, small_site
from tests.assets.web_shop import counted, materialize_and_check_success
from tests.faulty_server import Reply

DAYS = ("2026-02-01", "2026-02-02")
LONGER = Reply(headers={"Content-Type": "text/html"}, body=b"<h1>long</h1>")


class PrunedStore(FolderStore):
    """A store that is first read again after the second crawl: bytes of a page are pruned then."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self._url = url

    def get(self, name: str) -> bytes:
        if counted(self._url, web_crawls, web_crawls.c.outcome == "complete") == len(DAYS):
            is_longer = blobs.c.byte_count == len(LONGER.body)
            databases.execute(self._url, delete(blobs).where(is_longer))
        return super().get(name)


@pytest.mark.slow
def test_a_page_whose_bytes_vanish_before_they_are_read_fails_the_items_once(
    url: str, instance, monkeypatch
):
    store = PrunedStore(load_settings().state_path / "artifacts", url)
    own = balances.c
    of_pages = select(own.subject, own.came_in, own.went_to).where(own.equation == "pages")
    with site_of({"/": LINKS, "/a": PAGE, "/b": LONGER}, {}) as (_, access):
        for day in DAYS:
            monkeypatch.setenv("DEMO_CLOCK_NOW", f"{day}T09:00:00+00:00")
            settings = {"web": access, "artifacts": store, "succeeds": day == DAYS[0]}
            materialize_and_check_success(instance, small_site(1000), day, **settings)
        assert databases.rows(url, of_pages.order_by(own.subject)) == [
            (f"small|{DAYS[0]}", 3, '{"read": 3}'),
            (f"small|{DAYS[1]} (failed)", 3, '{"read": 2}'),
        ]
        materialize_and_check_success(
            instance, small_site(1000), DAYS[1], web=access, artifacts=store
        )
    assert databases.rows(url, of_pages.order_by(own.subject))[1:] == [
        (f"small|{DAYS[1]}", 2, '{"read": 2}')
    ]
