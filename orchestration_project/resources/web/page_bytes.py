"""Bytes of fetched pages by their SHA-256, also after an erasure replaced them by redacted ones."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select, union_all

from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.tables import web_pages
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.recovery import RecordedCapture, Recovery, RecoveryEnvironment
from orchestration_project.engine.warehouse.capture_log import read_blobs
from orchestration_project.errors import SourceError
from orchestration_project.resources.web.sites import site_files_of
from orchestration_project.settings import Settings
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import captures

KEYS_PER_STATEMENT = 5_000
SOURCE = "web"


class StoredPage(NamedTuple):
    """A page that was captured: its URL after redirects, and the SHA-256 of its bytes."""

    final_url: str
    sha256: str


class KnownPage(NamedTuple):
    """Latest fetch of a page, with which the next one is compared; no blob: its bytes are gone."""

    etag: str | None
    last_modified: str | None
    content_type: str | None
    blob: Blob | None


def known_pages(connection: Connection, site: str, urls: Sequence[str]) -> Mapping[str, KnownPage]:
    """Return the records of pages that were fetched before, by their URL."""
    columns, rows = web_pages.c, list[Any]()
    query = select(
        columns.url, columns.etag, columns.last_modified, columns.content_type, columns.sha256
    ).where(columns.site == site, columns.verdict.in_(["page", "unchanged"]))
    for some in _split_batches(urls):
        rows += connection.execute(query.where(columns.url.in_(some)))
    blobs = page_blobs(connection, site, [row.sha256 for row in rows])
    return {
        row.url: KnownPage(row.etag, row.last_modified, row.content_type, blobs.get(row.sha256))
        for row in rows
    }


def page_blobs(connection: Connection, site: str, wanted: Sequence[str]) -> Mapping[str, Blob]:
    """Return the blobs of pages of a site; those that the database lacks are left out.

    Of bytes that an erasure replaced, the blob is that of the redacted ones.

    Args:
        connection: Reads.
        site: Name of the site.
        wanted: SHA-256 as `web_pages` has them, hex.
    """
    blobs: dict[str, Blob] = {}
    for some in _split_batches(sorted(set(wanted))):
        blobs |= read_blobs(connection, some)
    missing = sorted(set(wanted) - blobs.keys())
    replaced = _find_replaced(connection, site, missing) if missing else {}
    redacted: dict[str, Blob] = {}
    for some in _split_batches(sorted(set(replaced.values()))):
        redacted |= read_blobs(connection, some)
    return blobs | {old: redacted[new] for old, new in replaced.items() if new in redacted}


def _find_replaced(connection: Connection, site: str, missing: Sequence[str]) -> Mapping[str, str]:
    """Return the present SHA-256 of pages whose bytes an erasure replaced."""
    replaced: dict[str, str] = {}
    for some in _split_batches(missing):
        of_pages = union_all(
            *(
                select(item.c.sha256, item.c.capture_id).where(
                    item.c.site == site, item.c.verdict == "page", item.c.sha256.in_(some)
                )
                for item in (web_pages, web_pages.info[HISTORY])
            )
        ).subquery()
        rows = select(of_pages.c.sha256, captures.c.sha256).join(
            captures, captures.c.capture_id == of_pages.c.capture_id
        )
        replaced |= {old: new for old, new in connection.execute(rows) if old != new}
    return replaced


def capture_ids(
    connection: Connection, site: str, pages: Sequence[StoredPage]
) -> Sequence[int | None]:
    """Return the capture of each page, the first of the same URL and bytes; None: there is none.

    Of a page whose bytes were captured under another URL alone, it is that capture.
    """
    columns = captures.c
    by_page: dict[StoredPage, int] = {}
    by_bytes: dict[str, int] = {}
    for some in _split_batches(sorted({page.sha256 for page in pages})):
        own = (columns.source == SOURCE, columns.dataset == site, columns.sha256.in_(some))
        query = (
            select(columns.capture_id, columns.url, columns.sha256)
            .where(*own)
            .order_by(columns.fetched_at, columns.capture_id)
        )
        for capture_id, url, sha256 in connection.execute(query):
            by_page.setdefault(StoredPage(url, sha256), capture_id)
            by_bytes.setdefault(sha256, capture_id)
    return [by_page.get(page, by_bytes.get(page.sha256)) for page in pages]


def _split_batches(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), KEYS_PER_STATEMENT):
        yield values[start : start + KEYS_PER_STATEMENT]


def _find_site(capture: RecordedCapture, settings: Settings) -> Site | None:
    return site_files_of(WebSettings.of(settings)).sites.get(capture.dataset)


def _is_page(capture: RecordedCapture, settings: Settings) -> bool:
    """Whether it is a page of a declared site; what a browser renders is never the same twice."""
    is_on = capture.source == SOURCE and WebSettings.of(settings).web_source is not None
    site = _find_site(capture, settings) if is_on else None
    request = capture.request
    is_page = request.get("method") == "GET" and isinstance(request.get("url"), str)
    return is_page and site is not None and site.engine != "browser"


def _read(capture: RecordedCapture, given: RecoveryEnvironment) -> bytes | None:
    site = _find_site(capture, given.settings)
    if site is None:
        return None
    with given.open("web").open(site, given.warehouse, given.clock) as access:
        answer = access.get(capture.request["url"], {})
    if answer.response is None or answer.refusal:
        raise SourceError("the page may not be requested", found=answer.reason)
    return answer.response.body


RECOVERIES = [Recovery(way="source", applies=_is_page, read=_read)]
"""Pages of sites whose engine is http, without a login."""
