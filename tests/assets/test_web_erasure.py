"""Erasure of a person from a site's rows and captured pages, and the crawls after it."""

import json
from datetime import date
from typing import Any

import pytest
from sqlalchemy import select

from orchestration_project.catalog.web import PERSON, WEB
from orchestration_project.domains.web.sites import Site, read_site
from orchestration_project.domains.web.tables import (
    web_changes,
    web_crawls,
    web_item_fields,
    web_items,
)
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.resources.web.replaying import ReplayPreview, preview_replay
from orchestration_project.services.erasure.erasing import Erased, Places, erase
from orchestration_project.services.erasure.requests import ErasureRequests, SubjectKinds
from orchestration_project.settings import load_settings
from tests import databases
from tests.assets.test_web_operation import site_of
from tests.assets.web_shop import POSTGRESQL_SLOW, materialize_and_check_success
from tests.faulty_server import Reply
from tests.resources.planted import flush, in_database, places_of

EMAIL = "ann.smith@example.org"
SITE = """
site: small
base_url: http://shop.demo
start: [/]
item:
  key: [sku]
  fields:
    sku: {css: h1, required: true}
    seller: {css: b}
politeness: {requests_per_second: 1000}
"""


def page(seller: str) -> Reply:
    body = f"<h1>1</h1><b>{seller}</b>".encode()
    return Reply(headers={"Content-Type": "text/html", "ETag": f'"{seller[:3]}"'}, body=body)


def erase_email(instance: Any) -> tuple[Erased | None, list[Any]]:
    """Erase the person; return counts, and where the address is left or the chain is broken."""
    settings = load_settings()
    with open_warehouse(settings) as warehouse:
        store = open_store(settings)
        requests = ErasureRequests(warehouse, Clock())
        request_id = requests.add("web/person", [EMAIL], user_name="ada", reason="asked for")
        erased = erase(
            Places(
                *(warehouse, store, instance, settings.state_path),
                only_database=True,
                log_keep_days=settings.log_keep_days,
            ),
            requests.read(request_id),
            PERSON,
            requests,
            clock=Clock(),
            run_id="run",
            wait_seconds=0,
        )
        flush(warehouse)
        return erased, [
            *in_database(warehouse, EMAIL),
            *databases.chain_problems(warehouse),
            *places_of(EMAIL, settings.state_path, store),
        ]


def previewed(site: Site, day: date) -> ReplayPreview:
    settings = load_settings()
    with open_warehouse(settings) as warehouse:
        captures = Captures(open_store(settings))
        scratch = settings.scratch_path
        return preview_replay(
            site, day, warehouse=warehouse, captures=captures, scratch=scratch, mask_key=b""
        )


def payloads(url: str) -> list[dict[str, Any]]:
    return [json.loads(each) for (each,) in databases.rows(url, select(web_items.c.payload))]


@pytest.mark.slow
@POSTGRESQL_SLOW
def test_a_person_is_erased_from_items_changes_and_pages_and_stays_so(
    url, kept_instance, monkeypatch
):
    [kinds] = WEB.registered(SubjectKinds)
    assert kinds.read(load_settings()) == [PERSON]
    site: Site = read_site(SITE)
    replies = {"/": page("Bob")}
    unchanged = Reply(304, {"ETag": '"ann"'})
    with site_of(replies, {}) as (server, access):

        def crawl(day: str) -> None:
            monkeypatch.setenv("DEMO_CLOCK_NOW", f"{day}T09:00:00+00:00")
            materialize_and_check_success(kept_instance, site, day, web=access)

        crawl("2026-02-01")
        replies["/"] = page(EMAIL)
        crawl("2026-02-02")
        assert payloads(url) == [{"sku": "1", "seller": EMAIL}]
        erased, remaining = erase_email(kept_instance)
        assert remaining == []
        assert erased is not None
        counts = erased.rows.masked
        names = ("web_items", "web_item_fields", "web_changes")
        assert [counts[name] for name in names] == [1, 1, 1]
        [masked] = payloads(url)
        assert EMAIL not in masked["seller"]

        preview = previewed(site, date(2026, 2, 2))
        assert (preview.page_count, list(preview.diff.rows)) == (1, [])
        crawl("2026-02-02")  # reads the redacted page
        assert payloads(url) == [masked]
        replies["/"] = unchanged
        crawl("2026-02-03")
        assert payloads(url) == [masked]
        assert [request.target for request in server.requests].count("/") == 3
        assert server.requests[-1].headers["if-none-match"] == '"ann"'
    outcomes = databases.rows(url, select(web_crawls.c.outcome))
    assert outcomes == [("complete",)] * 3
    values = select(web_item_fields.c.text_value).where(web_item_fields.c.field == "seller")
    assert databases.rows(url, values) == [(masked["seller"],)]
    changed = select(web_changes.c.before, web_changes.c.after)
    assert databases.rows(url, changed) == [("Bob", masked["seller"])]
