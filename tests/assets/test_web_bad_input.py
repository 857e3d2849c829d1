"""Bad answers of a site: each ends with its reason, and none keeps the crawl from the others."""

import gzip
import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import dagster as dg
import pytest
import yaml
from sqlalchemy import select

from orchestration_project.assets import web
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import Site, read_site
from orchestration_project.domains.web.tables import web_crawls, web_frontier, web_items, web_pages
from orchestration_project.resources.web.access import WebAccess
from orchestration_project.settings import load_settings
from orchestration_project.tables.spine import rejects
from tests import databases
from tests.faulty_server import FaultyServer, Reply, Request, dripping, dropped, endless
from tests.resources.definitions import RESOURCES

SHOP = "http://shop.demo"
DAY = "2026-02-01"
HTML = {"Content-Type": "text/html; charset=utf-8"}

HOSTS = [
    *("http://127.0.0.1:9", "http://127.1", "http://0x7f.1", "http://2130706433"),
    *("http://localhost", "http://169.254.169.254", "http://10.0.0.1", "http://192.168.1.1"),
    *("http://100.64.0.1", "http://0.0.0.0", "http://[::1]", "http://[::ffff:7f00:1]"),
    *("http://[64:ff9b::7f00:1]", "http://[fe80::1]", "http://017700000001"),
]
"""Origins that a careless site file allows; they lead to this machine or a private network."""


class Bad(NamedTuple):
    """A bad answer, and what becomes of its URL.

    Attributes:
        reply: The answer; raw bytes where HTTP is broken, made for each request.
        verdict: Verdict in `web_frontier`.
        reason: Text within the reason there.
        item: Fields of its item, if it has one.
    """

    reply: Reply | list[bytes] | Callable[[], Iterable[bytes]]
    verdict: str
    reason: str = ""
    item: dict[str, Any] | None = None


def page(body: bytes | str, **headers: str) -> Reply:
    """Return a page."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(headers=HTML | named, body=body.encode() if isinstance(body, str) else body)


def product(sku: str, *, name: str = "A lamp", price: str = "1.234,50") -> str:
    """Return the page of a product."""
    return f"<h1>{name}</h1><i class=sku>{sku}</i><p class=price>{price}</p>"


def item(sku: str, name: str = "A lamp") -> dict[str, Any]:
    """Return the fields of a product."""
    return {"sku": sku, "name": name, "price": "1234.50"}


def moved(target: str) -> Reply:
    """Return a redirect."""
    return Reply(302, {"Location": target})


def with_length(length: str) -> list[bytes]:
    """Return a page whose header has another length than its body."""
    return [Reply(headers=HTML | {"Content-Length": length}, body=product("L").encode()).raw()]


BOMB = gzip.compress(bytes(30_000_000))
LATIN = product("P3", name="K\u00f6ln").encode("latin-1")
GOOD = [f"G{number}" for number in range(14)]
CASES = {
    "good": Bad(page(product("P1")), "page", item=item("P1")),
    "a body of 1 GB": Bad(endless, "refused", "without end"),
    "a gzip bomb": Bad(page(BOMB, Content_Encoding="gzip"), "refused", "decode to more than"),
    "gzip that is none": Bad(
        page("plain", Content_Encoding="gzip"), "refused", "cannot be decoded"
    ),
    "an unknown encoding": Bad(page("plain", Content_Encoding="x"), "refused", "cannot be decoded"),
    "a length that is too great": Bad(with_length("999"), "failed", "did not answer"),
    "a length that is not a number": Bad(with_length("12x"), "failed", "Content-Length"),
    "a negative length": Bad(with_length("-5"), "failed", "Content-Length"),
    "a dropped connection": Bad(dropped, "failed", "did not answer"),
    "headers that break off": Bad(
        [b"HTTP/1.1 200 OK\r\nContent-Le"], "failed", "within its headers"
    ),
    "no HTTP": Bad([b"SSH-2.0-OpenSSH_9.2\r\n"], "failed", "did not answer"),
    "a slow drip": Bad(lambda: dripping(page(product("S")).raw(), 0.3), "failed", "Read timed out"),
    "a status of failure": Bad(Reply(502), "failed", "status 502"),
    "not found": Bad(Reply(404), "gone"),
    "a charset that it is not in": Bad(
        page(LATIN, Content_Type="text/html; charset=utf-8"), "page", item=item("P3", "K\ufffdln")
    ),
    "a charset that does not exist": Bad(
        page(product("P4", name="K\u00f6ln"), Content_Type="text/html; charset=x-none"),
        "page",
        item=item("P4", "K\u00f6ln"),
    ),
    "a dangerous charset": Bad(
        page(product("P5"), Content_Type="text/html; charset=unicode-escape"),
        "page",
        item=item("P5"),
    ),
    "broken HTML": Bad(
        page("<<table><h1>A lamp<i class=sku>P6</i><p class=price>1.234,50" + "<div>" * 50),
        "page",
        item=item("P6", "A lampP6 1.234,50"),
    ),
    "5,000 elements in one another": Bad(
        page("<div>" * 5_000 + product("D")), "page", item=item("D")
    ),
    "NUL in HTML": Bad(page(product("P\x007")), "page", item=item("P7")),
    "an empty page": Bad(page(""), "failed", "the body is empty"),
    "gzip that breaks off": Bad(
        page(gzip.compress(b"<p>text</p>")[:-9], Content_Encoding="gzip"), "failed", "breaks off"
    ),
    "a status of refusal": Bad(Reply(451), "refused", "status 451"),
    "a redirect to another host": Bad(moved("https://elsewhere.example/"), "redirected", "another"),
    "a redirect to a file": Bad(moved("file:///etc/passwd"), "redirected", "redirects to no page"),
    "a redirect to nothing": Bad(moved("http://[::1"), "failed", "without a usable Location"),
    "a redirect with a password": Bad(moved("http://a:b@shop.demo/"), "redirected", "to no page"),
    "a redirect to itself": Bad(moved("#again"), "redirected", "more than 10 redirects"),
    "a redirect to what robots.txt disallows": Bad(moved("/private"), "disallowed", "robots.txt"),
    "the same key with other fields": Bad(page(product("P1", name="Another")), "page"),
    "a price in another notation": Bad(page(product("P8", price="1,234.50")), "page"),
    "a field of 200 kB": Bad(page(product("P9", name="x" * 200_000)), "page"),
    **{f"good {sku}": Bad(page(product(sku)), "page", item=item(sku)) for sku in GOOD},
    **{f"a redirect to {host}": Bad(moved(f"{host}/"), "refused") for host in HOSTS},
}
URLS = {name: f"{SHOP}/case/{number}" for number, name in enumerate(CASES)}

SITE = {
    "site": "bad",
    "base_url": SHOP,
    "hosts": HOSTS,
    "start": list(URLS.values()),
    "item": {
        "key": ["sku"],
        "fields": {
            "sku": {"css": ".sku", "required": True},
            "name": {"css": "h1"},
            "price": {"css": ".price", "process": "price", "notation": "1.234,56"},
        },
    },
    "politeness": {"requests_per_second": 1000, "concurrency": 32},
    "budget": {"page_megabytes": 1, "page_seconds": 1},
}
EACH = [("sqlite", True), ("postgresql", False)]
"""Databases, and whether URLs that fail are among them: each takes seconds."""


def answer(request: Request) -> Reply | Iterable[bytes]:
    """Return the answer of a case."""
    if request.target == "/robots.txt":
        return Reply(body=b"User-agent: *\nDisallow: /private\n")
    reply = list(CASES.values())[int(request.target.rpartition("/")[2])].reply
    return reply() if callable(reply) else reply


def crawl(site: Site, server: FaultyServer, instance: Any) -> Any:
    """Crawl a site, of which the server is the demo's shop."""
    access = WebAccess(WebSettings.of(load_settings()), lambda: server.url)
    return dg.materialize(
        [web.build_site_assets(site)],
        instance=instance,
        partition_key=DAY,
        resources={**RESOURCES, "web": access},
        raise_on_error=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("url", "has_failures"), EACH, indirect=["url"])
def test_each_bad_answer_has_its_reason_and_the_others_are_loaded(
    url: str, instance: Any, has_failures: bool
):
    cases = {
        name: value for name, value in CASES.items() if has_failures or value.verdict != "failed"
    }
    site = read_site(yaml.safe_dump({**SITE, "start": [URLS[name] for name in cases]}))
    with FaultyServer(answer) as server:
        result = crawl(site, server, instance)
    columns = web_frontier.c
    wanted = select(columns.url, columns.verdict, columns.reason)
    found = {row[0]: row[1:] for row in databases.rows(url, wanted)}
    assert found.keys() == {URLS[name] for name in cases}
    assert {name: found[URLS[name]][0] for name in cases} == {
        name: value.verdict for name, value in cases.items()
    }
    for name, value in cases.items():
        assert value.reason in (found[URLS[name]][1] or ""), (name, found[URLS[name]])
    assert result.success
    ended = select(web_crawls.c.outcome, web_crawls.c.reason)
    failed = sum(value.verdict == "failed" for value in cases.values())
    assert databases.rows(url, ended) == [
        ("stopped", f"{failed} URLs failed or are left") if failed else ("complete", None)
    ]
    payloads = databases.rows(url, select(web_items.c.item_key, web_items.c.payload))
    expected = [value.item for value in cases.values() if value.item]
    assert {key: json.loads(payload) for key, payload in payloads} == {
        each["sku"]: each for each in expected
    }
    reasons = databases.rows(url, select(rejects.c.reason_code, rejects.c.reason))
    assert sorted(code for code, _ in reasons) == ["duplicate", "value", "value"]
    assert any("expected a price such as 1.234,56" in reason for _, reason in reasons)
    assert any("expected up to 100000 characters" in reason for _, reason in reasons)
    fetched = {url for (url,) in databases.rows(url, select(web_pages.c.url))}
    answered = {"page", "gone", "refused", "failed"}
    assert {URLS[name] for name, value in cases.items() if value.verdict == "page"} <= fetched
    assert fetched <= {URLS[name] for name, value in cases.items() if value.verdict in answered}


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("robots", "outcome", "reason"),
    [
        (Reply(503), "stopped", "robots.txt of http://shop.demo cannot be read"),
        (Reply(200, {"Content-Length": "x"}), "stopped", "cannot be read"),
        (moved("http://169.254.169.254/"), "stopped", "cannot be read"),
        (page(b"\xef\xbb\xbfUser-agent: *\r\nDisallow: /case/\r"), "complete", ""),
        (page(b"User-agent: *\nDisallow: /case/\n" + b"#" * 600_000), "complete", ""),
        (page(b"\xff\xfe\0" * 1_000 + b"\nUser-agent: *\nDisallow: /case/"), "complete", ""),
    ],
    ids=["503", "broken", "moved", "mark", "600 kB", "bytes"],
)
def test_bad_robots_end_a_crawl_or_are_read_as_far_as_they_can_be(
    url: str, instance: Any, robots: Reply, outcome: str, reason: str
):
    site = read_site(yaml.safe_dump({**SITE, "start": ["/case/0"], "hosts": []}))
    with FaultyServer(lambda _: robots) as server:
        crawl(site, server, instance)
        targets = {request.target for request in server.requests}
    [found] = databases.rows(url, select(web_crawls.c.outcome, web_crawls.c.reason))
    assert found[0] == outcome
    assert reason in (found[1] or "")
    assert targets == {"/robots.txt"}
