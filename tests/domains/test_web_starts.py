"""Starts of crawls: sitemaps, feeds, search forms and cursors; what lists may not do."""

import gzip
import json
from typing import Any

import pytest
import yaml

from orchestration_project.domains.web.extraction import Page, links
from orchestration_project.domains.web.sites import Site, read_site
from orchestration_project.domains.web.starts import MAX_LIST_BYTES, read_url_list
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.web.crawl import start_urls
from orchestration_project.resources.web.start_lists import listed_urls
from tests.expecting import expect_present

BASE = "https://shop.example"
NAMESPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def site_of(**changes: Any) -> Site:
    item = {"key": ["id"], "fields": {"id": {"json_path": "id", "required": True}}}
    return read_site(yaml.safe_dump({"site": "shop", "base_url": BASE, "item": item, **changes}))


def sitemap(*urls: str, root: str = "urlset", entry: str = "url") -> bytes:
    entries = "".join(f"<{entry}><loc> {url} </loc></{entry}>" for url in urls)
    return f'<?xml version="1.0"?><{root} {NAMESPACE}>{entries}</{root}>'.encode()


def read(body: bytes) -> tuple[list[str], str]:
    found = expect_present(read_url_list(body, is_declared=True))
    return list(found.urls), found.problem


def test_sitemaps_indexes_and_feeds_name_urls():
    assert read(sitemap("/a", "/a", "/b?x=1&amp;y=2")) == (["/a", "/b?x=1&y=2"], "")
    index = sitemap("/s1.xml", "/s2.xml.gz", root="sitemapindex", entry="sitemap")
    assert read(index) == (["/s1.xml", "/s2.xml.gz"], "")
    assert read(gzip.compress(sitemap("/z"))) == (["/z"], "")
    assert read(sitemap("/w").decode().encode("utf-16")) == (["/w"], "")
    rss = b"""<rss version="2.0"><channel><link>/home</link><item><title>A</title>
      <link>/a</link></item><item><link><![CDATA[/b]]></link></item></channel></rss>"""
    assert read(rss) == (["/a", "/b"], "")
    atom = b"""<feed xmlns="http://www.w3.org/2005/Atom"><link href="/home"/><entry>
      <link rel="self" href="/self"/><link href="/a"/></entry><entry>
      <link rel="alternate" href="/b"/></entry></feed>"""
    assert read(atom) == (["/a", "/b"], "")


ENTITY = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b SYSTEM "file:///etc/passwd">]>'


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("body", "count", "problem"),
    [
        (ENTITY.encode() + sitemap("&a;", "&b;")[21:], 0, "expected XML without DOCTYPE"),
        (b"<html><body>no such page</body></html>", 0, "expected a sitemap or feed, found <html>"),
        (sitemap("/a", "/b")[:-30], 1, "expected XML: "),
        (b"", 0, "expected XML: "),
        (b"\x1f\x8b" + b"x" * 20, 0, "expected gzip: "),
        (gzip.compress(sitemap("/a"))[:-12], 0, "expected gzip: it breaks off"),
        (gzip.compress(b" " * (MAX_LIST_BYTES + 1)), 0, "expected up to 50000000 bytes"),
        (sitemap(*(f"/{number}" for number in range(50_001))), 50_000, "expected up to 50000 URLs"),
        (b"<urlset>" + b"<a>" * 100_000, 0, "expected XML: "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_list_that_is_hostile_or_broken_is_refused_with_its_reason(
    body: bytes, count: int, problem: str
):
    urls, found = read(body)
    assert len(urls) == count
    assert problem in found


def test_a_page_that_is_no_list_is_none_unless_it_is_declared():
    assert read_url_list(b"<html></html>", is_declared=False) is None
    assert read_url_list(b"\x1f\x8bx", is_declared=False) is None
    quoting = b"<html><!-- <rdf:RDF xmlns=x></rdf:RDF> --><pre><urlset> </pre></html>"
    assert read_url_list(quoting, is_declared=False) is None
    commented = b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a -->" + sitemap("/c")[21:]
    found = read_url_list(commented, is_declared=False)
    assert found is not None
    assert (found.kind, found.urls) == ("sitemap", ("/c",))
    found = read_url_list(sitemap("/a"), is_declared=False)
    assert found is not None
    assert found.urls == ("/a",)


def test_lists_lead_to_pages_of_the_site_that_their_pattern_allows():
    site = site_of(sitemaps=[{"url": "/sitemap.xml", "pattern": r"/p/\d+$"}])

    def listed(body: bytes, path: str = "/sitemap.xml", verdict: str = "page") -> Any:
        url = f"{BASE}{path}"
        return listed_urls(site, url, final_url=url, verdict=verdict, body=body)

    found = listed(
        sitemap(f"{BASE}/p/1", "https://evil.example/p/2", "/p/3#x", "/q", "ftp://x/p/4")
    )
    assert found.urls == (f"{BASE}/p/1", f"{BASE}/p/3")
    assert found.reason == "2 URLs are not of the site, e.g. https://evil.example/p/2"
    assert not found.is_failed
    index = listed(sitemap("/more.xml", root="sitemapindex", entry="sitemap"))
    assert index.urls == (f"{BASE}/more.xml",)
    assert listed(sitemap("/p/5"), "/more.xml").urls == (f"{BASE}/p/5",)
    gone = listed(b"", verdict="gone")
    assert (gone.reason, gone.is_failed) == ("the list of URLs cannot be fetched: gone", True)
    assert listed(b"<rss><item><link>/p/6</link></item></rss>", "/rss") is None
    assert listed(b"<html>", "/p/1") is None


def test_a_list_leads_to_no_more_pages_than_a_crawl_may_request():
    site = site_of(sitemaps=[{"url": "/s"}], budget={"requests": 3})
    body = sitemap(*(f"/{number}" for number in range(9)))
    found = listed_urls(site, f"{BASE}/s", final_url=f"{BASE}/s", verdict="page", body=body)
    assert found is not None
    assert found.urls == (f"{BASE}/0", f"{BASE}/1", f"{BASE}/2")


def test_search_forms_and_lists_are_starts_in_one_spelling():
    search = {
        "url": "/search",
        "parameter": "q",
        "terms": ["desk lamp", "Stühle&x"],
        "fields": {"sort": "new"},
    }
    site = site_of(
        start=["/"],
        searches=[search, {"url": "https://evil.example/s", "parameter": "q", "terms": ["a"]}],
        sitemaps=[{"url": "/sitemap.xml"}],
        feeds=[{"url": f"{BASE}/news"}],
    )
    assert start_urls(site) == [
        f"{BASE}/",
        f"{BASE}/sitemap.xml",
        f"{BASE}/news",
        f"{BASE}/search?q=desk+lamp&sort=new",
        f"{BASE}/search?q=St%C3%BChle%26x&sort=new",
    ]


def next_of(body: Any, url: str = f"{BASE}/api?limit=2&cursor=a") -> list[str]:
    site = site_of(start=["/api"], paging={"parameter": "cursor", "cursor": "$.meta.next"})
    page = Page(url, json.dumps(body).encode(), "application/json")
    return [link.href for link in links(page, site)]


def test_a_cursor_leads_to_the_next_page_until_there_is_none():
    assert next_of({"meta": {"next": "b+/="}}) == [f"{BASE}/api?limit=2&cursor=b%2B%2F%3D"]
    assert next_of({"meta": {"next": 7}}, f"{BASE}/api") == [f"{BASE}/api?cursor=7"]
    for end in ({"meta": {"next": None}}, {"meta": {"next": ""}}, {"meta": {}}, [], "x" * 9):
        assert next_of(end) == []
    assert next_of({"meta": {"next": "x" * 1_001}}) == []
    assert start_urls(site_of(start=["/api"], paging={"parameter": "c", "cursor": "n"})) == [
        f"{BASE}/api"
    ]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, "expected start, sitemaps, feeds or searches"),
        ({"start": ["/"], "paging": {"rel_next": True, "cursor": "a"}}, "expected cursor with the"),
        ({"searches": [{"url": "/s", "parameter": "q", "terms": []}]}, "searches.0.terms"),
        ({"sitemaps": [{"url": "/s", "pattern": "(?=x)"}]}, "sitemaps.0.pattern: expected a regu"),
    ],
)
def test_a_start_that_is_declared_by_half_is_refused(changes: dict[str, Any], problem: str):
    with pytest.raises(ConfigurationError) as error:
        site_of(**changes)
    assert problem in str(error.value.found)
