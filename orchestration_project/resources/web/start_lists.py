"""URLs of starts: those of search forms, and those that fetched sitemaps and feeds name."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlencode

from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.starts import (
    ListKind,
    UrlList,
    UrlListStart,
    matching,
    read_url_list,
)
from orchestration_project.resources.web.access import parse_origin, resolved


@dataclass(frozen=True)
class ListedUrls:
    """URLs that a fetched sitemap or feed leads to.

    Attributes:
        urls: URLs of the site, in one spelling.
        reason: Why others are left out, or why the list cannot be read; empty: neither.
        is_failed: Whether URLs may be missing, so that the crawl is not complete.
        kind: Kind of the list.
    """

    urls: Sequence[str] = ()
    reason: str = ""
    is_failed: bool = False
    kind: ListKind = "sitemap"


def declared_lists(site: Site) -> Sequence[str]:
    """Return the URLs of the sitemaps and feeds of a site, in one spelling."""
    return _resolve_starts(site, [*site.sitemaps, *site.feeds])


def _resolve_starts(site: Site, starts: Sequence[UrlListStart]) -> Sequence[str]:
    return _resolve_urls(site.base_url, tuple(start.url for start in starts))


@lru_cache(maxsize=100)  # it is asked for each page
def _resolve_urls(base_url: str, hrefs: tuple[str, ...]) -> Sequence[str]:
    resolved_names = [resolved(f"{base_url}/", href) for href in hrefs]
    return [url for url in resolved_names if url]


def search_urls(site: Site) -> Sequence[str]:
    """Return the URLs that the search forms of a site send, in one spelling."""
    names: list[str | None] = []
    for search in site.searches:
        base = resolved(f"{site.base_url}/", search.url)
        for term in search.terms:
            query = urlencode({search.parameter: term, **search.fields})
            joint = "&" if base and "?" in base else "?"
            names.append(resolved(f"{site.base_url}/", f"{base}{joint}{query}") if base else None)
    return [url for url in names if url]


def listed_urls(
    site: Site, url: str, *, final_url: str, verdict: str, body: bytes, is_sitemap: bool = False
) -> ListedUrls | None:
    """Return the URLs that a fetched page lists; None: it is not a sitemap or feed.

    Args:
        site: The site; one without sitemaps and feeds has no such page.
        url: URL as it was requested.
        final_url: URL after redirects.
        verdict: Verdict on the answer.
        body: Bytes of the page.
        is_sitemap: Whether an index of sitemaps names it.
    """
    if not (site.sitemaps or site.feeds):
        return None
    is_sitemap = is_sitemap or url in _resolve_starts(site, site.sitemaps)
    is_feed = url in _resolve_starts(site, site.feeds)
    is_declared = is_sitemap or is_feed
    if verdict not in ("page", "unchanged"):
        reason = f"the list of URLs cannot be fetched: {verdict}"
        return ListedUrls((), reason, is_failed=True) if is_declared else None
    kinds: list[ListKind] = []
    if is_sitemap or (site.sitemaps and not is_declared):
        kinds.extend(("index", "sitemap"))
    if is_feed or (site.feeds and not is_declared):
        kinds.append("feed")
    url_list = read_url_list(body, is_declared=is_declared, kinds=kinds)
    return None if url_list is None else _select_own(site, url_list, final_url)


def _select_own(site: Site, found: UrlList, base: str) -> ListedUrls:
    written = [(name, resolved(base, name)) for name in found.urls]
    foreign = [
        name for name, url in written if url is None or parse_origin(url) not in site.origins
    ]
    names = [url for _, url in written if url and parse_origin(url) in site.origins]
    if found.kind != "index":
        names = matching(names, site.feeds if found.kind == "feed" else site.sitemaps)
    reasons = [found.problem] if found.problem else []
    if foreign:
        reasons.append(f"{len(foreign)} URLs are not of the site, e.g. {foreign[0][:200]}")
    requests = site.budget.requests  # with the list itself, more than a crawl may request
    urls = tuple(dict.fromkeys(names))[:requests]
    return ListedUrls(urls, "; ".join(reasons), bool(found.problem), found.kind)
