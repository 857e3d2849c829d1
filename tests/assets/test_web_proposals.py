"""Proposals of selectors: found after a change of layout, decided by a person, then replayed."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import insert, select, update

from orchestration_project.assets.web import SITE_FILES, build_site_assets
from orchestration_project.definitions import defs
from orchestration_project.domains.web.pages import item_rules_version
from orchestration_project.domains.web.sites import read_site
from orchestration_project.domains.web.tables import web_items_history, web_proposals
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.http.addresses import AddressGuard
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.web.checking import check_site
from orchestration_project.resources.web.proposals import Proposals, apply_accepted
from orchestration_project.settings import PROJECT_ROOT, load_settings
from tests import databases, web_shop
from tests.assets.web_shop import POSTGRESQL_SLOW
from tests.resources.definitions import RESOURCES
from tests.runs import check_declared as declared_keys
from tests.web_shop import PRODUCTS, Shop, items_of, price_of

FIRST, NEW = "2026-02-01", "2026-02-03"


@pytest.fixture
def shop(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    yield from web_shop.started(monkeypatch)


def crawled(instance: dg.DagsterInstance, day: str) -> bool:
    job = defs.resolve_job_def("web_shop")
    return job.execute_in_process(
        instance=instance, partition_key=day, raise_on_error=False
    ).success


def run(
    instance: dg.DagsterInstance, job: str, op: str, config: Mapping[str, Any], **tags: str
) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        run_config={"ops": {op: {"config": config}}},
        tags=tags,
        raise_on_error=False,
    )


def search_and_expect_proposals(instance: dg.DagsterInstance) -> Mapping[str, Any]:
    """Run the search; return the metadata of `web/proposals`."""
    result = run(instance, "web_propose_selectors", "propose_web_selectors", {"site": "shop"})
    assert result.success
    [event] = result.get_asset_materialization_events()
    assert event.asset_key == dg.AssetKey(["web", "proposals"])
    return {
        name: key.records if isinstance(key, dg.TableMetadataValue) else key.value
        for name, key in declared_keys(event.materialization.metadata).items()
    }


def decide(
    instance: dg.DagsterInstance, proposal_id: str, decision: str, **tags: str
) -> dg.ExecuteInProcessResult:
    config = {"proposal_id": proposal_id, "decision": decision, "reason": "compared ten products"}
    return run(instance, "web_accept_proposal", "decide_web_proposal", config, **tags)


def expect_failure(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    [event] = [event for event in result.all_events if event.is_step_failure]
    error = event.step_failure_data.error
    return str(error and (error.cause or error).message)


def check_layout_change_is_accepted(
    url: str, shop: Shop, instance: dg.DagsterInstance, products: int
) -> None:
    """Load a layout, crawl another one, and accept the selector that is proposed."""
    shop.at(FIRST)
    assert crawled(instance, FIRST)
    before = items_of(url)
    assert len(before) == products
    assert search_and_expect_proposals(instance)["outcome"] == (
        f"no proposal: as many items of {FIRST} as before have each field"
    )

    shop.at(NEW)
    assert not crawled(instance, NEW)
    shop.stop()  # nothing is requested from now on
    assert items_of(url) == before

    found = search_and_expect_proposals(instance)
    proposal_id = found["proposal_id"]
    assert found["proposal_state"] == "open"
    [selector] = found["selectors"]
    changed_count = products // 10
    assert selector.data == {
        "field": "price",
        "old_selector": '{"css": ".price"}',
        "new_selector": '{"css": ".amount"}',
        "equal_values": f"{min(products, 300) - min(products, 300) // 10} of {min(products, 300)}",
        "equal_values_on_earlier_pages": f"0 of {min(products, 300)}",
        "fill_rate_before": "100.0%",
        "fill_rate_without_proposal": "0.0%",
        "fill_rate_after": "100.0%",
    }
    assert (found["items_before"], found["items_without_proposal"]) == (products, 0)
    assert found["items_after"] == products
    kept = products - changed_count
    assert found["change"] == (
        f"0 items added, {changed_count} changed, 0 removed, {kept} unchanged"
    )
    assert proposal_id in found["what_to_do"]
    assert items_of(url) == before  # nothing changes by itself
    assert search_and_expect_proposals(instance)["proposal_id"] == proposal_id
    [row] = databases.rows(url, select(web_proposals.c.state, web_proposals.c.fields))
    assert (row[0], json.loads(row[1])["price"]["new"]) == ("open", {"css": ".amount"})

    accepted = decide(instance, proposal_id, "accept", user="ada")
    assert accepted.success
    after = items_of(url)
    assert {key: value["price"] for key, value in after.items()} == {
        f"P{number:04}": price_of(number, day=3) for number in range(1, products + 1)
    }
    loads = {
        "/".join(event.asset_key.path): event.materialization
        for event in accepted.get_asset_materialization_events()
        if event.asset_key
    }
    assert all(declared_keys(load.metadata) for load in loads.values())
    assert loads["web/shop_items"].partition == NEW
    assert loads["web/shop_items"].metadata["rows_changed"].value == changed_count
    assert loads["web/proposals"].metadata["decided_by"].value == "ada"
    checks = {
        evaluation.check_name: evaluation.passed
        for evaluation in accepted.get_asset_check_evaluations()
    }
    assert checks["fields_are_filled"]
    assert len(databases.rows(url, select(web_items_history.c.item_key))) == changed_count
    decision = select(
        web_proposals.c.state, web_proposals.c.decided_by, web_proposals.c.decision_reason
    )
    assert databases.rows(url, decision) == [("accepted", "ada", "compared ten products")]


@pytest.mark.slow
@POSTGRESQL_SLOW
def test_a_layout_change_leads_to_a_proposal_that_is_accepted_and_replayed(
    url: str, shop: Shop, instance: dg.DagsterInstance
):
    check_layout_change_is_accepted(url, shop, instance, PRODUCTS)
    [(proposal_id,)] = databases.rows(url, select(web_proposals.c.proposal_id))
    assert decide(instance, proposal_id, "accept", user="ada").success  # again: nothing changes
    refused = expect_failure(decide(instance, proposal_id, "reject", user="bob"))
    assert "cannot be decided" in refused
    assert "state accepted" in refused

    shop.at("2026-02-04")  # the accepted selector is used by later crawls
    assert crawled(instance, "2026-02-04")
    assert items_of(url)["P0010"]["price"] == price_of(10, day=4)


@pytest.mark.slow
def test_a_rejected_proposal_changes_nothing_and_is_not_made_again(
    url: str, shop: Shop, instance: dg.DagsterInstance
):
    shop.at(FIRST)
    assert crawled(instance, FIRST)
    before = items_of(url)
    shop.at(NEW)
    assert not crawled(instance, NEW)
    proposal_id = search_and_expect_proposals(instance)["proposal_id"]
    assert "no user or no reason" in expect_failure(decide(instance, proposal_id, "reject"))
    assert "unknown proposal" in expect_failure(decide(instance, "shop-0", "reject", user="ada"))
    assert decide(instance, proposal_id, "reject", user="ada").success
    found = search_and_expect_proposals(instance)
    assert (found["proposal_id"], found["proposal_state"]) == (proposal_id, "rejected")
    assert items_of(url) == before
    replay = run(instance, "web_replay", "replay_web_items", {"site": "shop", "dry_run": False})
    assert not replay.success
    assert items_of(url) == before


@pytest.mark.slow
def test_a_partial_crawl_leads_to_a_proposal_that_removes_no_item(
    url: str, shop: Shop, instance: dg.DagsterInstance
):
    shop.at(FIRST)
    assert crawled(instance, FIRST)
    before = items_of(url)
    shop.at(NEW)
    declared = SITE_FILES.sites["shop"]
    small = declared.budget.model_copy(update={"requests": 12})
    result = dg.materialize(
        [build_site_assets(declared.model_copy(update={"budget": small}))],
        instance=instance,
        partition_key=NEW,
        resources=RESOURCES,
        raise_on_error=False,
    )
    assert not result.success
    found = search_and_expect_proposals(instance)
    assert (found["day"], found["items_after"]) == (NEW, 11)
    assert decide(instance, found["proposal_id"], "accept", user="ada").success
    after = items_of(url)
    assert after.keys() == before.keys()
    changed = {key for key, value in after.items() if value != before[key]}
    assert changed <= {"P0010", "P0020"}
    assert all(after[key]["price"] == price_of(int(key[1:]), day=3) for key in changed)


def test_accepted_selectors_apply_until_the_item_rules_of_the_file_change(url: str):
    declared = SITE_FILES.sites["shop"]
    row = {
        "proposal_id": "shop-1",
        "site": "shop",
        "state": "accepted",
        "fields": json.dumps({"price": {"old": {"css": ".price"}, "new": {"css": ".amount"}}}),
        "evidence": "{}",
        "base_rules": item_rules_version(declared.item),
        "made_at": datetime(2026, 2, 3, tzinfo=UTC),
        "decided_at": datetime(2026, 2, 3, tzinfo=UTC),
        "run_id": "run",
    }
    text = (PROJECT_ROOT / "config/sites" / "shop.yaml").read_text()
    with open_warehouse(load_settings()) as warehouse:
        with warehouse.writing() as connection:
            connection.execute(insert(web_proposals), row)
        price = apply_accepted(warehouse, declared).item.fields["price"]
        assert (price.css, price.process, price.required) == (".amount", "price", True)
        slower = read_site(text.replace("requests_per_second: 100", "requests_per_second: 1"))
        assert apply_accepted(warehouse, slower).item.fields["price"].css == ".amount"
        edited = read_site(text.replace("css: .stock", "css: p.stock"))
        assert apply_accepted(warehouse, edited) == edited

        captures = Captures(open_store(load_settings()))
        guard = AddressGuard()
        assert check_site(declared, warehouse, captures, guard).accepted == ["price"]
        assert check_site(edited, warehouse, captures, guard).accepted == []
        proposals = Proposals(warehouse, captures, Clock(), run_id="run")
        with warehouse.writing() as connection:
            connection.execute(update(web_proposals).values(state="open"))
        with pytest.raises(ConfigurationError, match="was made for other item rules"):
            proposals.decide(edited, "shop-1", "accept", by="ada", reason="as it is")
        proposals.decide(declared, "shop-1", "accept", by="ada", reason="as it is")
        assert proposals.find("shop-1")["state"] == "accepted"
