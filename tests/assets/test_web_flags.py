"""Sites with a flag: only the days that it holds for are scheduled, crawled and missed."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import insert, select

from orchestration_project.assets import web
from orchestration_project.catalog.web import WEB
from orchestration_project.domains.web.tables import web_crawls
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.contracts.edits import Action
from orchestration_project.engine.contracts.flags import FlagUse
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.engine.http.addresses import AddressGuard
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.web.checking import check_site
from orchestration_project.resources.web.crawl_status import missed_days, require_flag
from orchestration_project.sensors.web import site_schedule
from orchestration_project.services.edits import Edit
from orchestration_project.services.flags import FLAG_STORE, FlagUses
from orchestration_project.settings import load_settings
from tests import databases
from tests.assets.conftest import BOTH
from tests.assets.test_web_alerts import row
from tests.assets.test_web_operation import LINKS, PAGE, site_of, small_site
from tests.assets.web_shop import materialize_and_check_success
from tests.resources.definitions import RESOURCES

ON, OFF = "2026-02-02", "2026-02-03"


@pytest.fixture
def flagged(url: str) -> str:
    """A database with the flag `some`, which holds for one day."""
    fields = {"owner": "ada", "listed_keys": [ON]}
    edit = Edit(Action.CREATE, "some", by="ada", at=datetime(2026, 2, 1, tzinfo=UTC), fields=fields)
    with open_warehouse(load_settings()) as warehouse:
        FLAG_STORE.apply(warehouse, edit)
    return url


def test_a_schedule_starts_only_the_days_of_the_flag(flagged, instance, monkeypatch):
    update = {"schedule": "0 6 * * *", "flag": "some"}
    site = web.SITE_FILES.sites["shop"].model_copy(update=update)

    def requested(day: str) -> Any:
        monkeypatch.setenv("DEMO_CLOCK_NOW", f"{day}T06:00:00+00:00")
        given = {name: RESOURCES[name] for name in ("clock", "warehouse")}
        with dg.build_resources(given, instance) as resources:
            return site_schedule(site)(
                dg.build_schedule_context(instance, resources=resources._asdict())
            )

    assert requested(ON).partition_key == ON
    assert requested(OFF).skip_message == f"Nothing to do: the flag some is off for {OFF}."


@pytest.mark.slow_on_postgresql
@BOTH
def test_a_day_that_the_flag_does_not_hold_for_is_not_missed(flagged):
    shop = web.SITE_FILES.sites["shop"].model_copy(update={"schedule": "0 6 * * *"})
    with open_warehouse(load_settings()) as warehouse:
        with warehouse.writing() as connection:
            connection.execute(insert(web_crawls), [row("shop", "2026-02-01", ("complete", None))])

        def missed(flag: str | None) -> list[tuple[str, int]]:
            sites = [shop.model_copy(update={"flag": flag})]
            found = missed_days(warehouse, sites, datetime(2026, 2, 5, 9, tzinfo=UTC))
            return [(gap.partition, gap.missing_count) for gap in found]

        assert missed(None) == [(ON, 4)]
        assert missed("some") == [(ON, 1)]
        assert missed("missing") == []


def test_a_run_of_another_day_is_refused_before_any_request(flagged, instance, monkeypatch):
    monkeypatch.setenv("DEMO_CLOCK_NOW", f"{OFF}T09:00:00+00:00")
    site = small_site(1000).model_copy(update={"flag": "some"})
    with site_of({"/": LINKS, "/a": PAGE, "/b": PAGE}, {}) as (server, access):
        refused = materialize_and_check_success(instance, site, OFF, web=access, succeeds=False)
        failure = refused.failure_data_for_node("web_crawl_small")
        assert f"the site small is not crawled for {OFF}" in str(failure)
        assert server.requests == []
        materialize_and_check_success(instance, site, ON, web=access)
    wanted = select(web_crawls.c.outcome)
    assert databases.rows(flagged, wanted) == [("complete",)]


def test_a_missing_flag_is_off_and_what_to_do_is_said(flagged):
    settings = load_settings()
    site = small_site(1).model_copy(update={"flag": "smoe"})
    with open_warehouse(settings) as warehouse, pytest.raises(ConfigurationError) as refused:
        require_flag(site, ON, warehouse, open_clock(settings).now())
    assert refused.value.found == "the flag smoe does not exist, so it is off"
    assert f"add {ON} to listed_keys" in refused.value.remedy


def test_a_site_with_a_missing_flag_is_invalid(flagged):
    settings = load_settings()
    with open_warehouse(settings) as warehouse:
        captures = Captures(open_store(settings))
        for flag, problems in (
            ("smoe", ["flag: expected one of the flags (some), found smoe"]),
            ("some", []),
            (None, []),
        ):
            site = small_site(1).model_copy(update={"flag": flag})
            found = check_site(site, warehouse, captures, AddressGuard()).problems
            assert [problem for problem in found if problem.startswith("flag")] == problems


def test_site_files_name_the_flags_that_they_use(demo_settings, tmp_path, monkeypatch):
    folder = tmp_path / "sites"
    folder.mkdir()
    text = "site: tiny\nbase_url: http://shop.demo\nstart: [/]\nflag: some\n"
    item = "item: {key: [sku], fields: {sku: {css: h1, required: true}}}\n"
    (folder / "tiny.yaml").write_text(text + item)
    (folder / "other.yaml").write_text(text.replace("tiny", "other").replace("some", "No") + item)
    monkeypatch.setenv("WEB_SITES_DIR", str(folder))
    [uses] = WEB.registered(FlagUses)
    assert uses.read(load_settings()) == [FlagUse("some", "site tiny")]
