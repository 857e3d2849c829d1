"""Answers of a site other than pages: which remove items, which fail, and which pause the host."""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from datetime import date
from typing import Any

import dagster as dg
import pytest
import yaml
from sqlalchemy import select

from orchestration_project.assets import web
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import read_site
from orchestration_project.domains.web.tables import web_crawls, web_frontier, web_items
from orchestration_project.resources.web.access import WebAccess
from orchestration_project.settings import load_settings
from tests import databases
from tests.assets.web_shop import POSTGRESQL_SLOW
from tests.faulty_server import FaultyServer, Reply, Request, dropped
from tests.resources.definitions import RESOURCES

SITE = {
    "site": "shop",
    "base_url": "http://shop.demo",
    "start": ["/"],
    "follow": [{"css": "a"}],
    "item": {
        "pages": "/p/",
        "key": ["sku"],
        "fields": {"sku": {"css": ".sku", "required": True}},
    },
    "politeness": {"requests_per_second": 1000, "concurrency": 32},
    "budget": {"page_seconds": 2},
}
HTML = {"Content-Type": "text/html; charset=utf-8"}
Answer = Reply | Iterable[bytes]


def page(body: str) -> Reply:
    """Return a page of HTML."""
    return Reply(headers=HTML, body=f"<!doctype html>{body}".encode() if body else b"")


def product(name: str) -> Reply:
    """Return the page of a product."""
    return page(f"<h1>A lamp</h1><i class=sku>{name}</i>")


def status(code: int, body: bytes = b"<h1>not the page</h1>", **headers: str) -> list[bytes]:
    """Return an answer of any status."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {code} X", f"Content-Length: {len(body)}", "Content-Type: text/html"]
    lines.append("Connection: close")
    lines += [f"{name}: {value}" for name, value in named.items()]
    return ["\r\n".join([*lines, "", ""]).encode() + body]


class Shop:
    """A server in the place of the demo's shop: a list of products, and what each answers."""

    def __init__(self, url: str, instance: dg.DagsterInstance, names: Iterable[str]) -> None:
        self.url = url
        self._instance = instance
        self.names = list(names)
        self.replies: dict[str, Answer | Callable[[], Answer]] = {}
        self.listed = self.names
        self.server = FaultyServer(self._reply)

    def crawl(self, day: int, **changes: Any) -> tuple[str, str | None]:
        """Crawl the shop for a day of February; return outcome and reason."""
        self.server.requests.clear()
        access: Any = WebAccess(WebSettings.of(load_settings()), lambda: self.server.url)
        result = dg.materialize(
            [web.build_site_assets(read_site(yaml.safe_dump(SITE | changes)))],
            instance=self._instance,
            partition_key=f"2026-02-{day:02}",
            resources={**RESOURCES, "web": access},
        )
        self.metadata = {
            event.materialization.asset_key.path[-1]: event.materialization.metadata
            for event in result.get_asset_materialization_events()
        }
        columns = web_crawls.c
        wanted = select(columns.outcome, columns.reason).where(columns.day == date(2026, 2, day))
        [(outcome, reason)] = databases.rows(self.url, wanted)
        return outcome, reason

    @property
    def items(self) -> set[str]:
        """Keys of the loaded items."""
        return {key for (key,) in databases.rows(self.url, select(web_items.c.item_key))}

    def verdicts(self, day: int) -> Mapping[str, tuple[str, str | None, date | None]]:
        """Return verdict, reason and day of the last success of each product's page."""
        columns = web_frontier.c
        wanted = select(columns.url, columns.verdict, columns.reason, columns.last_success_on)
        rows = databases.rows(self.url, wanted.where(columns.day == date(2026, 2, day)))
        return {url.rpartition("/")[2]: tuple(rest) for url, *rest in rows if "/p/" in url}

    def _reply(self, request: Request) -> Answer:
        if request.target == "/robots.txt":
            return Reply(404)
        name = request.target.rpartition("/")[2] or "/"
        if name in self.replies:
            reply = self.replies[name]
            return reply() if callable(reply) else reply
        if name == "/":
            return page("".join(f"<a href=/p/{each}>{each}</a>" for each in self.listed))
        return product(name)


ShopOf = Callable[[Iterable[Any]], Shop]


@pytest.fixture
def shop_of(url: str, instance: dg.DagsterInstance) -> Iterator[ShopOf]:
    def make(names: Iterable[Any]) -> Shop:
        shop = Shop(url, instance, map(str, names))
        stack.enter_context(shop.server)
        return shop

    with ExitStack() as stack:
        yield make


ENDING = (401, 403, 407)
PASSING = (408, 425, 429)
REFUSED = [code for code in range(400, 500) if code not in (404, 410, *ENDING, *PASSING)]


@pytest.mark.slow
@POSTGRESQL_SLOW
def test_of_all_statuses_of_a_refusal_only_404_and_410_remove_an_item(shop_of: ShopOf):
    shop = shop_of([404, 410, *REFUSED, "redirected", "unlisted", "good", "bare"])
    assert shop.crawl(1) == ("complete", None)
    assert shop.items == set(shop.names)
    shop.replies = {
        **{str(code): status(code) for code in (404, 410, *REFUSED)},
        "redirected": status(302, Location="https://elsewhere.example/"),
        "bare": page("sold out"),
    }
    shop.listed = [name for name in shop.names if name != "unlisted"]
    assert shop.crawl(2) == ("complete", None)
    # A page that was read has no item any more; the unlisted one may be listed on an unread page.
    assert shop.items == set(shop.names) - {"404", "410", "bare"}
    verdicts = shop.verdicts(2)
    first = date(2026, 2, 1)
    assert {verdicts[str(code)] for code in REFUSED} == {
        ("refused", f"status {code}", first) for code in REFUSED
    }
    assert verdicts["404"][0] == verdicts["410"][0] == "gone"
    assert verdicts["redirected"][::2] == ("redirected", first)
    assert shop.metadata["shop_items"]["carried_count"].value == len(REFUSED) + 2
    first_carried: Any = shop.metadata["shop_items"]["carried_items"]
    assert first_carried.records[0].data == {
        "item_key": "400",
        "url": "http://shop.demo/p/400",
        "reason": "refused: status 400",
        "last_success_on": "2026-02-01",
    }
    shop.replies = {}
    assert shop.crawl(3) == ("complete", None)
    assert shop.items == set(shop.names) - {"unlisted"}  # all pages were read: it is absent
    assert "carried_count" not in shop.metadata["shop_items"]


@pytest.mark.slow
@pytest.mark.parametrize("code", ENDING)
def test_a_status_that_refuses_the_crawler_ends_the_crawl_and_removes_nothing(
    shop_of: ShopOf, code: int
):
    shop = shop_of("abc")
    shop.crawl(1)
    shop.replies = {"b": status(code)}
    assert shop.crawl(2, politeness={"requests_per_second": 1000})[0] == "blocked"
    assert shop.items == {"a", "b", "c"}


GZIPPED = gzip.compress(b"<i class=sku>cut</i>" * 9)
NO_PAGES: Mapping[str, tuple[Callable[[], Answer], str]] = {
    "timeout": (lambda: status(408), "status 408"),
    "unknown": (lambda: status(520), "status 520"),
    "dropped": (dropped, "did not answer"),
    "accepted": (lambda: status(202), "status 202"),
    "nothing": (lambda: status(204, b""), "status 204"),
    "part": (lambda: status(206), "status 206"),
    "unasked": (lambda: status(304, b""), "status 304 to a request without a condition"),
    "nowhere": (lambda: status(302), "status 302 without a usable Location"),
    "broken": (lambda: status(301, Location="http://[::1"), "without a usable Location"),
    "choices": (lambda: status(300), "status 300 without a usable Location"),
    "empty": (lambda: page(""), "the body is empty"),
    "blank": (lambda: status(200, b" \r\n\t"), "the body is empty"),
    "json": (lambda: Reply(200, {"Content-Type": "text/json"}, b'{"items": ['), "expected JSON"),
    "zipped": (
        lambda: Reply(200, HTML | {"Content-Encoding": "gzip"}, GZIPPED[:-12]),
        "a body that breaks off",
    ),
}
"""Answers other than pages, and how their reason begins or ends."""


@pytest.mark.slow
@POSTGRESQL_SLOW
def test_answers_that_are_no_page_fail_and_their_items_stay(shop_of: ShopOf):
    shop = shop_of([*NO_PAGES, "good", "gone"])
    assert shop.crawl(1) == ("complete", None)
    shop.replies = {name: answer for name, (answer, _) in NO_PAGES.items()}
    shop.replies["gone"] = status(404)
    outcome, reason = shop.crawl(2)
    assert (outcome, reason) == ("stopped", f"{len(NO_PAGES)} URLs failed or are left")
    assert shop.items == set(shop.names)  # an incomplete crawl removes nothing
    verdicts = shop.verdicts(2)
    for name, (_, expected) in NO_PAGES.items():
        verdict, found, last_success_on = verdicts[name]
        assert (verdict, last_success_on) == ("failed", date(2026, 2, 1)), name
        assert expected in (found or ""), (name, found)
    requests = [request.target for request in shop.server.requests]
    assert [requests.count(f"/p/{name}") for name in ("timeout", "unknown", "part")] == [3, 3, 1]
    assert shop.metadata["shop_items"]["carried_count"].value == len(NO_PAGES)
    shop.replies = {"gone": status(404)}
    assert shop.crawl(2) == ("complete", None)  # the next run of the day requests what failed
    assert shop.items == set(shop.names) - {"gone"}


@pytest.mark.slow
def test_a_host_that_is_unavailable_is_asked_again_and_then_paused(shop_of: ShopOf):
    shop = shop_of("abc")
    answers = [status(503), page("<a href=/p/a>a</a><a href=/p/b>b</a><a href=/p/c>c</a>")]
    shop.replies = {"/": lambda: answers.pop(0)}
    assert shop.crawl(1) == ("complete", None)  # one 503 passes
    shop.replies = {"/": status(503)}
    outcome, reason = shop.crawl(2)
    assert outcome == "stopped"
    assert "the host of http://shop.demo/ is paused: status 503" in str(reason)
    assert [request.target for request in shop.server.requests] == ["/"] * 3
    shop.replies = {}
    outcome, reason = shop.crawl(2)  # the host is still paused
    assert outcome == "stopped"
    assert "is not asked" in str(reason)
    assert shop.server.requests == []
    assert shop.items == {"a", "b", "c"}


@pytest.mark.slow
def test_an_item_that_is_not_understood_stays_and_so_does_one_of_another_content(shop_of: ShopOf):
    shop = shop_of(["rejected", "picture", "bare", *range(20)])
    shop.crawl(1)
    shop.replies = {
        "rejected": page(f"<i class=sku>{'x' * 200_000}</i>"),
        "picture": Reply(200, {"Content-Type": "image/png"}, b"\x89PNG"),
        "bare": page("sold out"),
    }
    assert shop.crawl(2) == ("complete", None)
    assert shop.items == set(shop.names) - {"bare"}
    first_carried: Any = shop.metadata["shop_items"]["carried_items"]
    assert [record.data["item_key"] for record in first_carried.records] == ["picture", "rejected"]
    assert "was not understood" in first_carried.records[0].data["reason"]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("cursors", [["a", "b", "b"], ["a", "b", "a"]])
def test_a_cursor_that_repeats_is_a_fault_that_the_crawl_names(shop_of: ShopOf, cursors: list[str]):
    shop = shop_of([])
    answers = [json.dumps({"next": cursor, "items": [{"sku": cursor}]}) for cursor in cursors]
    shop.replies = {
        f"{target}": Reply(200, {"Content-Type": "application/json"}, answer.encode())
        for target, answer in zip(["/", "?after=a", "?after=b"], answers, strict=True)
    }
    fields = {"sku": {"json_path": "sku", "required": True}}
    item = {"each_json_path": "$.items[*]", "key": ["sku"], "fields": fields}
    paging = {"cursor": "$.next", "parameter": "after"}
    assert shop.crawl(1, item=item, paging=paging) == ("stopped", "1 URLs failed or are left")
    assert [request.target for request in shop.server.requests][-2:] == ["/?after=a", "/?after=b"]
    assert shop.items == {"a", "b"}
    [reason] = databases.rows(
        shop.url, select(web_frontier.c.reason).where(web_frontier.c.url.contains("after=b"))
    )
    assert "the cursor of a page repeats" in str(reason)


XML = {"Content-Type": "application/xml"}


def sitemap(*paths: str, root: str = "urlset", entry: str = "url") -> Reply:
    """Return a sitemap, or an index of sitemaps."""
    entries = "".join(f"<{entry}><loc>http://shop.demo{path}</loc></{entry}>" for path in paths)
    return Reply(200, XML, f"<{root}>{entries}</{root}>".encode())


def feed(*paths: str) -> Reply:
    """Return a feed."""
    entries = "".join(f"<item><link>http://shop.demo{path}</link></item>" for path in paths)
    return Reply(200, XML, f"<rss><channel>{entries}</channel></rss>".encode())


NO_SITEMAPS: Mapping[str, tuple[Answer, str]] = {
    "page": (page("<h1>Sale</h1><a href=/p/a>a</a>"), "expected XML"),
    "xhtml": (Reply(200, XML, b"<html/>"), "expected a sitemap or feed, found <html>"),
    "text": (Reply(200, {"Content-Type": "text/plain"}, b"/p/c"), "expected XML"),
    "feed": (feed("/p/c"), "expected index or sitemap, found feed"),
    "gone": (status(404), "the list of URLs cannot be fetched: gone"),
    "refused": (status(451), "the list of URLs cannot be fetched: refused"),
    "elsewhere": (status(302, Location="https://elsewhere.example/"), "redirects to another host"),
}
"""Answers that are not a sitemap, and their reasons."""


@pytest.mark.slow
@POSTGRESQL_SLOW
def test_a_sitemap_of_an_index_that_is_none_removes_no_item(shop_of: ShopOf):
    shop = shop_of([*NO_SITEMAPS, "good", "absent"])
    first = {
        "sitemap.xml": sitemap(
            *(f"/s/{name}.xml" for name in [*NO_SITEMAPS, "good"]),
            root="sitemapindex",
            entry="sitemap",
        ),
        **{f"{name}.xml": sitemap(f"/p/{name}") for name in NO_SITEMAPS},
        "good.xml": sitemap("/p/good", "/p/absent"),
    }
    shop.replies = dict(first)
    rules = {"start": [], "follow": [], "sitemaps": [{"url": "/sitemap.xml"}]}
    assert shop.crawl(1, **rules) == ("complete", None)
    assert shop.items == set(shop.names)
    shop.replies |= {f"{name}.xml": answer for name, (answer, _) in NO_SITEMAPS.items()}
    shop.replies["good.xml"] = sitemap("/p/good")
    assert shop.crawl(2, **rules) == ("stopped", f"{len(NO_SITEMAPS)} URLs failed or are left")
    assert shop.items == set(shop.names)
    columns = web_frontier.c
    failed = select(columns.url, columns.reason).where(columns.reason.is_not(None))
    reasons = {url.rpartition("/")[2]: reason for url, reason in databases.rows(shop.url, failed)}
    assert reasons.keys() == {f"{name}.xml" for name in NO_SITEMAPS}
    for name, (_, expected) in NO_SITEMAPS.items():
        assert expected in reasons[f"{name}.xml"]
    shop.replies = {**first, "good.xml": sitemap("/p/good")}
    assert shop.crawl(3, **rules) == ("complete", None)
    assert shop.items == set(shop.names) - {"absent"}  # all sitemaps were read


@pytest.mark.slow
def test_a_sitemap_that_is_declared_and_answers_as_a_feed_fails(shop_of: ShopOf):
    shop = shop_of("ab")
    shop.replies = {"sitemap.xml": sitemap("/p/a", "/p/b"), "news": feed("/p/a")}
    lists = {"sitemaps": [{"url": "/sitemap.xml"}], "feeds": [{"url": "/news"}]}
    rules = {"start": [], "follow": [], **lists}
    assert shop.crawl(1, **rules) == ("complete", None)
    for day, name, answer in ((2, "sitemap.xml", feed("/p/a")), (3, "news", sitemap("/p/a"))):
        shop.replies[name] = answer
        assert shop.crawl(day, **rules)[0] == "stopped"
        assert shop.items == {"a", "b"}
        shop.replies["sitemap.xml"] = sitemap("/p/a", "/p/b")


@pytest.mark.slow
@POSTGRESQL_SLOW
def test_an_item_that_drops_out_of_a_feed_stays_until_its_page_is_gone(shop_of: ShopOf):
    shop = shop_of("abc")
    rules = {
        "start": [],
        "follow": [{"css": "a"}],
        "feeds": [{"url": "/news"}],
        "sitemaps": [{"url": "/sitemap.xml"}],
    }
    shop.replies = {
        "news": feed("/p/old", "/p/listed", "/list"),
        "list": page("<a href=/p/behind>b</a>"),
        "sitemap.xml": sitemap("/p/listed", "/p/always"),
    }
    assert shop.crawl(1, **rules) == ("complete", None)
    assert shop.items == {"old", "listed", "behind", "always"}
    shop.replies |= {"news": feed("/p/new"), "sitemap.xml": sitemap("/p/always")}
    assert shop.crawl(2, **rules) == ("complete", None)
    # A feed is a window; the sitemap lists one page less, so that one is absent.
    assert shop.items == {"old", "behind", "always", "new"}
    carried: Any = shop.metadata["shop_items"]["carried_items"]
    assert [record.data["item_key"] for record in carried.records] == ["behind", "old"]
    assert "feeds alone led to its page" in carried.records[0].data["reason"]
    shop.replies |= {"news": feed("/p/old", "/p/new"), "old": status(410)}
    assert shop.crawl(3, **rules) == ("complete", None)
    assert shop.items == {"behind", "always", "new"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("next_pages", "repeating"),
    [
        ({"1": "2", "2": "3", "3": "1"}, "3"),
        ({"1": "2", "2": "3", "3": "2"}, "3"),
        ({"1": "2", "2": "2"}, "2"),
    ],
)
def test_a_next_page_that_was_read_already_is_a_fault_that_the_crawl_names(
    shop_of: ShopOf, next_pages: dict[str, str], repeating: str
):
    shop = shop_of([])
    shop.replies = {
        number: page(f"<a rel=next href=/list/{following}>next</a>")
        for number, following in next_pages.items()
    }
    shop.replies["1"] = page("<a class=p href=/p/a>a</a><a rel=next href=/list/2>next</a>")
    rules = {"start": ["/list/1"], "follow": [{"css": "a.p"}], "paging": {"rel_next": True}}
    assert shop.crawl(1, **rules) == ("stopped", "1 URLs failed or are left")
    assert shop.items == {"a"}
    columns = web_frontier.c
    failed = select(columns.url, columns.reason).where(columns.reason.is_not(None))
    [(url, reason)] = databases.rows(shop.url, failed)
    assert url == f"http://shop.demo/list/{repeating}"
    assert "the rel=next of a page repeats" in reason


def test_pages_of_a_list_that_link_each_other_are_no_repetition(shop_of: ShopOf):
    shop = shop_of([])
    numbers = "".join(f"<a href=/list/{number}>{number}</a>" for number in "123")
    shop.replies = {
        "1": page(f"{numbers}<a rel=next href=/list/2>next</a>"),
        "2": page(f"{numbers}<a rel=next href=/list/3>next</a><a rel=prev href=/list/1>back</a>"),
        "3": page(f"{numbers}<a href=/p/a>a</a>"),
    }
    rules = {"start": ["/list/1"], "paging": {"rel_next": True}}
    assert shop.crawl(1, **rules) == ("complete", None)
    assert shop.items == {"a"}


@pytest.mark.slow
@pytest.mark.parametrize("codes", [range(100, 200), range(500, 600), PASSING, ENDING])
def test_of_all_statuses_without_a_page_none_removes_an_item(shop_of: ShopOf, codes: Iterable[int]):
    shop = shop_of(codes)
    shop.crawl(1)
    shop.replies = {str(code): status(code) for code in codes}
    assert shop.crawl(2)[0] != "complete"
    assert shop.items == set(shop.names)
