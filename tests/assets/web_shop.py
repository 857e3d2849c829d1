"""The demo's shop for tests of sites, with crawls of it and counts of what they loaded."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import httpx
import pytest
from sqlalchemy import func, select

from orchestration_project.assets import web
from orchestration_project.catalog.web import shop_demo
from orchestration_project.definitions import defs
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.tables import web_items
from orchestration_project.settings import load_settings
from tests import databases
from tests.resources.definitions import RESOURCES

POSTGRESQL_SLOW = pytest.mark.parametrize(
    "url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
"""Both databases; for tests that execute several runs."""

PRODUCTS = 40
REQUESTS = PRODUCTS + 2  # lists of 20


@pytest.fixture
def shop(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator["Shop"]:
    monkeypatch.setenv("DEMO_SHOP_PRODUCTS", str(PRODUCTS))
    monkeypatch.setenv("DEMO_SHOP_NEW_LAYOUT_FROM", "2026-02-03")
    shop = Shop(monkeypatch)
    yield shop
    shop.stop()


class Shop:
    """The demo's shop at a time of its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def at(self, day: str) -> None:
        """Set the day of the clock, and start the shop."""
        self._monkeypatch.setenv("DEMO_CLOCK_NOW", f"{day}T09:00:00+00:00")
        self._program.url()

    @property
    def politeness(self) -> Mapping[str, int]:
        return httpx.get(f"{self._program.url()}/politeness", trust_env=False).json()

    def stop(self) -> None:
        self._program.stop()

    @property
    def _program(self) -> Any:
        return shop_demo(WebSettings.of(load_settings()))


def crawl_and_check_success(
    instance: dg.DagsterInstance, day: str, *, succeeds: bool = True
) -> Mapping[str, Any]:
    result = defs.resolve_job_def("web_shop").execute_in_process(
        instance=instance, partition_key=day, raise_on_error=False
    )
    assert result.success == succeeds
    found: dict[str, Any] = {}
    for event in result.get_asset_materialization_events():
        name = event.materialization.asset_key.path[-1]
        found[name] = {key: value.value for key, value in event.materialization.metadata.items()}
    return found


def with_budget(**limits: Any) -> Site:
    site = web.SITE_FILES.sites["shop"]
    return site.model_copy(update={"budget": site.budget.model_copy(update=limits)})


def materialize_and_check_success(
    instance: dg.DagsterInstance, site: Site, day: str, *, succeeds: bool = True, **resources: Any
) -> dg.ExecuteInProcessResult:
    result = dg.materialize(
        [web.build_site_assets(site)],
        instance=instance,
        partition_key=day,
        resources={**RESOURCES, **resources},
        raise_on_error=False,
    )
    assert result.success == succeeds
    return result


def items_of(url: str) -> dict[str, dict[str, Any]]:
    wanted = select(web_items.c.item_key, web_items.c.payload)
    return {key: json.loads(payload) for key, payload in databases.rows(url, wanted)}


def counted(url: str, table: Any, *conditions: Any) -> int:
    [(count,)] = databases.rows(url, select(func.count()).select_from(table).where(*conditions))
    return count
