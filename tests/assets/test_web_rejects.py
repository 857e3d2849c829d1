"""Rejected items of a load, as its run shows them."""

from collections.abc import Collection, Mapping
from typing import Any

import dagster as dg
import pytest
import yaml
from sqlalchemy import delete

from orchestration_project.domains.web.sites import Site, read_site
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables.spine import rejects
from tests import databases
from tests.assets.test_web_operation import site_of
from tests.assets.web_shop import POSTGRESQL_SLOW, materialize_and_check_success
from tests.faulty_server import Reply
from tests.resources.balances import assert_balanced, differences
from tests.runs import check_declared as declared_keys

DAY = "2026-02-01"


def site(name: str) -> Site:
    field = {"css": "i", "required": True}
    declared = {
        "site": name,
        "base_url": "http://shop.demo",
        "start": ["/"],
        "item": {
            "each": "li",
            "key": ["sku"],
            "fields": {"sku": field, "price": {**field, "css": "b", "process": "price"}},
        },
        "politeness": {"requests_per_second": 1000},
    }
    return read_site(yaml.safe_dump(declared))


def page(bad: Collection[int]) -> Reply:
    """Return a list of ten items, of which some have no price."""
    rows = (f"<li><i>P{n}</i><b>{'soon' if n in bad else n}</b></li>" for n in range(10))
    return Reply(headers={"Content-Type": "text/html"}, body="".join(rows).encode())


def check_rejected_lines(metadata: Mapping[str, Any]) -> tuple[int, list[str], str]:
    """Return count, first words of the reasons, and command."""
    found = declared_keys(metadata)
    table = found["rejected_lines"]
    assert isinstance(table, dg.TableMetadataValue)
    lines = [record.data for record in table.records]
    assert all("soon" in str(line["reason"]) for line in lines)
    return (
        found["rejects"].value,
        [str(line["record"]) for line in lines],
        found["all_rejects"].value,
    )


@pytest.mark.slow_on_postgresql
@POSTGRESQL_SLOW
def test_a_run_shows_the_items_that_its_load_rejects(
    url: str, instance: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DEMO_CLOCK_NOW", f"{DAY}T09:00:00+00:00")
    replies = {"/": page([0])}
    with site_of(replies, {}) as (_, access):
        materialize_and_check_success(instance, site("other"), DAY, web=access)
        first = materialize_and_check_success(instance, site("small"), DAY, web=access)
        items = dg.AssetKey(["web", "small_items"])
        [event] = [
            event
            for event in first.get_asset_materialization_events()
            if event.materialization.asset_key == items
        ]
        count, records, command = check_rejected_lines(event.materialization.metadata)
        assert (count, len(records)) == (1, 1)
        assert '"P0"' in records[0].replace("\\", "")
        assert command.startswith("orchestrate export rejects --where table_name=web_items")
        assert_balanced(url, "web_items")

        replies["/"] = page(range(6))
        failed = materialize_and_check_success(
            instance, site("small"), "2026-02-02", web=access, succeeds=False
        )
    [event] = [event for event in failed.all_events if event.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    count, records, _ = check_rejected_lines(data.metadata)
    assert (count, len(records)) == (6, 6)
    databases.execute(url, delete(rejects).where(rejects.c.record.contains("P0")))
    with Warehouse(url, clock=Clock()) as warehouse:  # later lines replaced those of small
        assert differences(warehouse) == {("web_items", "rejects"): 1}
