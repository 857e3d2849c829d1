"""Measured programs of crawls: ours, a bare loop of the same client and parser, and Scrapy.

Each function is called in a process of its own (`child.py`). All have 16 requests in flight, no
rate limit that is reached, and the same selectors. Ours also keeps, flushes and loads every byte.
"""

import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import dagster as dg
import yaml
from selectolax.lexbor import LexborHTMLParser

from benchmarks.web_source import body_of
from orchestration_project.assets import web
from orchestration_project.catalog import REGISTRY
from orchestration_project.catalog.resources import resource_definitions
from orchestration_project.domains.web.extraction import Page, items, links
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import Site, read_site
from orchestration_project.domains.web.tables import web_frontier
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.work_items import ItemSettlement, NewItem
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.http import AnswerLimits, HttpClient, Network
from orchestration_project.engine.http.shared_state import SqliteState
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.resources.web.access import WebAccess
from orchestration_project.settings import load_settings

CONCURRENCY = 16
DAY = date(2026, 2, 1)
SHOP = "http://shop.demo"
LINK, SKU, PRICE, TITLE = "a.next", ".sku", ".price", "h1"
BATCH = 2_000


def site_of(pages: int) -> Site:
    """Return the declaration of the measured site."""
    fields = {
        "sku": {"css": SKU, "required": True},
        "price": {"css": PRICE, "process": "price"},
        "title": {"css": TITLE},
    }
    return read_site(
        yaml.safe_dump(
            {
                "site": "measured",
                "base_url": SHOP,
                "start": ["/page/0"],
                "follow": [{"css": LINK, "max_depth": 100}],
                "item": {"key": ["sku"], "fields": fields},
                "politeness": {"requests_per_second": 1000, "concurrency": CONCURRENCY},
                "budget": {"requests": pages * 2, "megabytes": 1_000_000},
            }
        )
    )


def _require(found: object, expected: object) -> None:
    """Refuse a side that did not do all of the work."""
    if found != expected:
        raise RuntimeError(f"expected {expected}, found {found}")


def _texts(root: LexborHTMLParser) -> list[str]:
    """Return the texts of an item, by the parser alone."""
    nodes = [root.css_first(css) for css in (SKU, PRICE, TITLE)]
    return [node.text() for node in nodes if node is not None]


def crawl(*, server: str, pages: int, days: int) -> dict[str, Any]:
    """Crawl the site on days that follow each other; return the seconds of each."""
    site = site_of(pages)
    access = WebAccess(WebSettings.of(load_settings()), lambda: server)
    resources = {**resource_definitions(REGISTRY), "web": access}
    with open_warehouse(load_settings()):
        pass
    taken = list[float]()
    for number in range(days):
        started = time.perf_counter()
        day = (DAY + timedelta(days=number)).isoformat()
        result = dg.materialize(
            [web.build_site_assets(site)], partition_key=day, resources=resources
        )
        taken.append(time.perf_counter() - started)
        metadata = result.asset_materializations_for_node("web_crawl_measured")[0].metadata
        _require(metadata["page_count"].value, pages)
    return {"pages": pages, "seconds": taken[0], "later_seconds": taken[-1]}


def bare(*, server: str, pages: int, folder: str) -> dict[str, Any]:
    """Crawl by the same client and parser, in a loop that keeps and loads nothing."""
    client = HttpClient(
        system="bare",
        state=SqliteState(Path(folder)),
        now=lambda: datetime.now(UTC),  # noqa: TID251 - measured
        user_agent="bench",
        network=Network(use_environment=False),
        limits=AnswerLimits(accepts_encodings=True),
    )

    def visit(url: str) -> list[str]:
        root = LexborHTMLParser(client.request("GET", url).body)
        _texts(root)
        found = (node.attributes.get("href") for node in root.css(LINK))
        return [urljoin(url, each) for each in found if each]

    started, seen = time.perf_counter(), {f"{server}/page/0"}
    with client, ThreadPoolExecutor(CONCURRENCY) as threads:
        waiting: set[Future[list[str]]] = {threads.submit(visit, each) for each in seen}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for url in {url for each in done for url in each.result()} - seen:
                seen.add(url)
                waiting.add(threads.submit(visit, url))
    _require(len(seen), pages)
    return {"pages": pages, "seconds": time.perf_counter() - started}


def scrapy(*, server: str, pages: int) -> dict[str, Any]:
    """Crawl by Scrapy, with the same selectors; it keeps nothing."""
    spider: Any = import_module("scrapy").Spider  # of the extra bench alone
    crawler: Any = import_module("scrapy.crawler").CrawlerProcess
    found = list[str]()

    class Measured(spider):
        name = "measured"
        start_urls = [f"{server}/page/0"]  # noqa: RUF012 - Scrapy's word

        def parse(self, response: Any) -> Iterator[Any]:
            found.append(response.css(f"{SKU}::text").get())
            response.css(f"{PRICE}::text").get()
            response.css(f"{TITLE}::text").get()
            for href in response.css(f"{LINK}::attr(href)").getall():
                yield response.follow(href, self.parse)

    process = crawler(
        {
            "CONCURRENT_REQUESTS": CONCURRENCY,
            "CONCURRENT_REQUESTS_PER_DOMAIN": CONCURRENCY,
            "LOG_LEVEL": "ERROR",
            "ROBOTSTXT_OBEY": True,
            "TELNETCONSOLE_ENABLED": False,
            "DOWNLOAD_DELAY": 0,
        }
    )
    process.crawl(Measured)
    started = time.perf_counter()
    process.start()
    _require(len(found), pages)
    return {"pages": pages, "seconds": time.perf_counter() - started}


def parsing(*, pages: int) -> dict[str, Any]:
    """Parse pages by the rules of a site, and by selectolax alone; return the seconds of both."""
    site, bodies = site_of(pages), [body_of(number, pages) for number in range(pages)]
    started = time.perf_counter()
    for number, body in enumerate(bodies):
        page = Page(f"{SHOP}/page/{number}", body, "text/html; charset=utf-8")
        _require(len(list(items(page, site.item))), 1)
        list(links(page, site))
    ours = time.perf_counter() - started
    started = time.perf_counter()
    for body in bodies:
        root = LexborHTMLParser(body)
        _texts(root)
        for node in root.css(LINK):
            node.attributes.get("href")
    return {"ours": pages / ours, "bare": pages / (time.perf_counter() - started)}


def frontier(*, pages: int, hosts: int) -> dict[str, Any]:
    """Find, claim and settle the URLs of hosts, without a request; return seconds."""
    with open_warehouse(load_settings()) as warehouse:
        clock = Clock()
        work = WorkItems(warehouse, clock)
        started, claimed_count = time.perf_counter(), 0
        empty = dict.fromkeys(
            ("found_on", "verdict", "reason", "final_url", "content_type", "sha256", "fetched_at")
        )
        for host in range(hosts):
            topic, own = f"web/host_{host}/{DAY}", {"site": f"host_{host}", "day": DAY}
            urls = [f"http://host-{host}.example/page/{each}" for each in range(pages // hosts)]
            for start in range(0, len(urls), BATCH):
                some = urls[start : start + BATCH]
                with warehouse.writing() as connection:
                    rows = [{**empty, **own, "url": each, "depth": 1} for each in some]
                    insert_absent(connection, web_frontier, rows)
                    work.enqueue(
                        topic, [NewItem(each, "1") for each in some], connection=connection
                    )
            until = clock.now() + timedelta(hours=1)
            while claimed := work.claim(topic, limit=BATCH, run_id="bench", until=until):
                with warehouse.writing() as connection:
                    work.settle(connection, [ItemSettlement(each, "done") for each in claimed])
                claimed_count += len(claimed)
    _require(claimed_count, pages // hosts * hosts)
    return {"pages": claimed_count, "seconds": time.perf_counter() - started}
