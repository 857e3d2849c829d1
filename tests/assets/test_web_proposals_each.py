"""A list whose elements changed: proposed with their fields, accepted by the job, and replayed."""

import json
from typing import Any

import pytest
import yaml
from sqlalchemy import select

from orchestration_project.assets.web import SITE_FILES
from orchestration_project.domains.web.sites import read_site
from orchestration_project.domains.web.tables import web_proposals
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.http.addresses import AddressGuard
from orchestration_project.resources.web.checking import check_site
from orchestration_project.settings import load_settings
from tests import databases
from tests.assets.test_web_operation import site_of
from tests.assets.test_web_proposals import decide, run
from tests.assets.web_shop import POSTGRESQL_SLOW, items_of, materialize_and_check_success
from tests.faulty_server import Reply

SITE = {
    "site": "tiles",
    "base_url": "http://shop.demo",
    "start": ["/"],
    "item": {
        "each": "article",
        "key": ["sku"],
        "fields": {
            "sku": {"css": ".sku", "required": True},
            "price": {"css": ".price", "process": "price", "required": True},
        },
    },
    "politeness": {"requests_per_second": 1000},
}
OLD = "<article><i class=sku>P{n}</i><b class=price>{n}.50</b></article>"
NEW = "<li class=tile><i class=sku>P{n}</i><b class=amount>{price}</b></li>"


def page(markup: str, changed: int = 0) -> Reply:
    rows = (markup.format(n=n, price=f"{n}.{99 if n == changed else 50}") for n in range(1, 9))
    return Reply(headers={"Content-Type": "text/html"}, body="".join(rows).encode())


@pytest.mark.slow
@POSTGRESQL_SLOW
def test_elements_that_are_not_found_any_more_are_proposed_and_accepted(
    url: str, instance: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-02-01T09:00:00+00:00")
    site = read_site(yaml.safe_dump(SITE))
    monkeypatch.setitem(SITE_FILES.sites, "tiles", site)
    replies = {"/": page(OLD)}
    with site_of(replies, {}) as (_, access):
        materialize_and_check_success(instance, site, "2026-02-01", web=access)
        before = items_of(url)
        replies["/"] = page(NEW, changed=3)
        monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-02-02T09:00:00+00:00")
        materialize_and_check_success(instance, site, "2026-02-02", web=access, succeeds=False)
    assert items_of(url) == before
    result = run(instance, "web_propose_selectors", "propose_web_selectors", {"site": "tiles"})
    assert result.success
    [event] = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert metadata["change"].value == "0 items added, 1 changed, 0 removed, 7 unchanged"
    [(proposal_id, text)] = databases.rows(
        url, select(web_proposals.c.proposal_id, web_proposals.c.fields)
    )
    assert json.loads(text) == {
        "item.each": {"old": {"each": "article"}, "new": {"each": ".tile"}},
        "price": {"old": {"css": ".price"}, "new": {"css": ".amount"}},
    }
    rows = metadata["selectors"].records  # pyright: ignore[reportAttributeAccessIssue] - a table
    assert [row.data["field"] for row in rows] == ["item.each", "price"]
    assert rows[0].data["equal_values"] == "8 of 8"
    assert decide(instance, proposal_id, "accept", user="ada").success
    after = items_of(url)
    assert after["P3"]["price"] == "3.99"
    assert {key: value for key, value in after.items() if key != "P3"} == {
        key: value for key, value in before.items() if key != "P3"
    }
    with open_warehouse(load_settings()) as warehouse:
        captures = Captures(open_store(load_settings()))
        found = check_site(site, warehouse, captures, AddressGuard())
    assert found.accepted == ["item.each", "price"]
