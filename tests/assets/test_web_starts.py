"""Sites that begin at a JSON API, a sitemap, a feed or a search, through their assets."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import pytest
import yaml
from sqlalchemy import func, select

from orchestration_project.assets import web
from orchestration_project.catalog.web import shop_demo
from orchestration_project.definitions import defs
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import read_site
from orchestration_project.domains.web.tables import (
    web_frontier,
    web_items,
    web_items_history,
    web_pages,
)
from orchestration_project.settings import load_settings
from tests import databases
from tests.assets.web_shop import POSTGRESQL_SLOW
from tests.resources.definitions import RESOURCES

DAY = "2026-02-01"
PRODUCTS = 120


@pytest.fixture
def shop(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    monkeypatch.setenv("DEMO_SHOP_PRODUCTS", str(PRODUCTS))
    monkeypatch.setenv("DEMO_SHOP_NEW_LAYOUT_FROM", "2026-12-31")
    monkeypatch.setenv("DEMO_CLOCK_NOW", f"{DAY}T09:00:00+00:00")
    yield monkeypatch
    shop_demo(WebSettings.of(load_settings())).stop()


def site_of(**changes: Any) -> dg.AssetsDefinition:
    declared = {
        "site": "starts",
        "base_url": "http://shop.demo",
        "item": {
            "pages": r"/product/\d+$",
            "key": ["sku"],
            "fields": {"sku": {"css": "[itemprop=sku]", "required": True}},
        },
        "politeness": {"requests_per_second": 100, "concurrency": 4},
        **changes,
    }
    return web.build_site_assets(read_site(yaml.safe_dump(declared)))


def crawl(instance: dg.DagsterInstance, made: dg.AssetsDefinition) -> Mapping[str, Any]:
    result = dg.materialize([made], instance=instance, partition_key=DAY, resources=RESOURCES)
    [found] = [
        event.materialization
        for event in result.get_asset_materialization_events()
        if event.materialization.asset_key.path[-1].endswith("_pages")
    ]
    return {key: value.value for key, value in found.metadata.items()}


def keys_of(url: str) -> set[str]:
    return {key for (key,) in databases.rows(url, select(web_items.c.item_key))}


@pytest.mark.slow
@POSTGRESQL_SLOW
def test_a_json_api_is_paged_by_its_cursor_and_has_known_items(url, shop, instance):
    job = defs.resolve_job_def("web_shop_api")
    assert job.execute_in_process(instance=instance, partition_key=DAY).success
    pages = databases.rows(url, select(web_pages.c.url, web_pages.c.verdict))
    assert {verdict for _, verdict in pages} == {"page"}
    assert sorted(page.partition("?")[2] for page, _ in pages) == [
        "cursor=MTAw&limit=50",
        "cursor=NTA%3D&limit=50",
        "limit=50",
    ]
    assert keys_of(url) == {f"P{number:04}" for number in range(1, PRODUCTS + 1)}
    wanted = select(web_items.c.payload).where(web_items.c.item_key == "P0011")
    [(payload,)] = databases.rows(url, wanted)
    assert json.loads(payload) == {
        "sku": "P0011",
        "name": "Product 11",
        "price": "14.02",
        "currency": "EUR",
        "stock": 4,
        "weight_g": "1500",
        "brand": {"text": "Unbranded", "key": None, "score": "0.2400"},
        "seller": "***",
    }
    brands = select(web_items.c.payload).where(web_items.c.item_key.in_(["P0001", "P0002"]))
    matches = [json.loads(each)["brand"]["key"] for (each,) in databases.rows(url, brands)]
    assert sorted(matches) == ["acme", "bolt"]

    shop.setenv("DEMO_CLOCK_NOW", "2026-02-02T09:00:00+00:00")
    assert job.execute_in_process(instance=instance, partition_key="2026-02-02").success
    [(changed,)] = databases.rows(url, select(func.count()).select_from(web_items_history))
    assert changed == PRODUCTS // 10


@pytest.mark.slow
def test_a_sitemap_index_leads_to_the_pages_of_its_sitemaps(url, shop, instance):
    shop.setenv("DEMO_SHOP_PRODUCTS", "20")
    found = crawl(instance, site_of(sitemaps=[{"url": "/sitemap.xml", "pattern": "/product/"}]))
    assert (found["crawl_outcome"], found["request_count"]) == ("complete", 22)
    assert len(keys_of(url)) == 20
    gzipped = "http://shop.demo/sitemap-products.xml.gz"
    frontier = select(web_frontier.c.reason, web_frontier.c.found_on).where(
        web_frontier.c.url == gzipped
    )
    assert databases.rows(url, frontier) == [
        (
            "1 URLs are not of the site, e.g. http://elsewhere.demo/product/1",
            "http://shop.demo/sitemap.xml",
        )
    ]
    captured = select(web_pages.c.content_type).where(web_pages.c.url == gzipped)
    assert databases.rows(url, captured) == [("application/gzip",)]


@pytest.mark.slow
def test_a_feed_and_a_search_lead_to_pages(url, shop, instance):
    follow = [{"css": "article a", "pattern": "^/product/"}]
    search = {"url": "/search", "parameter": "q", "terms": ["ct 7", "no such product"]}
    found = crawl(instance, site_of(feeds=[{"url": "/feed.rss"}], searches=[search], follow=follow))
    assert (found["crawl_outcome"], found["request_count"]) == ("complete", 6)
    assert keys_of(url) == {"P0001", "P0002", "P0007"}


def test_a_sitemap_with_entities_keeps_a_crawl_from_being_complete(url, shop, instance):
    made = site_of(start=["/product/3"], sitemaps=[{"url": "/sitemap-entities.xml"}])
    found = crawl(instance, made)
    assert (found["crawl_outcome"], found["request_count"]) == ("stopped", 2)
    assert keys_of(url) == {"P0003"}
    frontier = select(web_frontier.c.reason).where(web_frontier.c.reason.is_not(None))
    assert databases.rows(url, frontier) == [("expected XML without DOCTYPE and entities",)]
