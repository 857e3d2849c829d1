"""Held pages of a site: those that a crawl captured, read from the store without a request."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, case, select

from orchestration_project.domains.web.extraction import Page, has_items
from orchestration_project.domains.web.sites import Site
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.capture_log import read_blobs
from orchestration_project.tables.web import web_crawls, web_frontier

KEYS_PER_STATEMENT = 5_000


@dataclass(frozen=True)
class HeldPage:
    """A captured page.

    Attributes:
        url: URL after redirects.
        content_type: As its header said.
        blob: Where its bytes are stored.
    """

    url: str
    content_type: str
    blob: Blob


class HeldPages:
    """The pages with items of a crawl of a site.

    Args:
        warehouse: The database.
        captures: The store of their bytes.
    """

    def __init__(self, warehouse: Warehouse, captures: Captures) -> None:
        self._warehouse = warehouse
        self._captures = captures

    def latest_day(self, site: str, *, prefers_complete: bool = True) -> date | None:
        """Return the day of the latest complete crawl, else of the latest one; None: no crawl.

        Without ``prefers_complete`` a later partial one counts too, unless it was blocked.
        """
        columns = web_crawls.c
        rank = case((columns.outcome == "complete", 0), else_=1) if prefers_complete else None
        wanted = (
            select(columns.day)
            .where(columns.site == site, columns.page_count > 0)
            .order_by(*([] if rank is None else [rank]), columns.day.desc())
            .limit(1)
        )
        if not prefers_complete:
            wanted = wanted.where(columns.outcome != "blocked")
        with self._warehouse.reading() as connection:
            return connection.execute(wanted).scalar_one_or_none()

    def has_pages(self, site: str, day: date) -> bool:
        """Whether a crawl of a day captured pages."""
        columns = web_crawls.c
        wanted = select(columns.page_count).where(columns.site == site, columns.day == day)
        with self._warehouse.reading() as connection:
            return bool(connection.execute(wanted).scalar_one_or_none())

    def is_complete(self, site: str, day: date) -> bool:
        """Whether the crawl of a day is complete."""
        wanted = select(web_crawls.c.outcome).where(
            web_crawls.c.site == site, web_crawls.c.day == day
        )
        with self._warehouse.reading() as connection:
            return connection.execute(wanted).scalar_one_or_none() == "complete"

    def of_day(
        self, site: Site, day: date, urls: Sequence[str] | None = None
    ) -> Sequence[HeldPage]:
        """Return the pages with items in the order of their URLs, each final URL once.

        A page whose bytes were erased or deleted is left out. ``urls``: of these final URLs alone.
        """
        columns = web_frontier.c
        wanted = (
            select(columns.final_url, columns.content_type, columns.sha256)
            .where(
                columns.site == site.site,
                columns.day == day,
                columns.verdict.in_(["page", "unchanged"]),
            )
            .order_by(columns.url)
        )
        if urls is not None:
            wanted = wanted.where(columns.final_url.in_(urls))
        with self._warehouse.reading() as connection:
            found = {row.final_url: row for row in connection.execute(wanted)}
            rows = [row for url, row in found.items() if has_items(url, site.item)]
            blobs = blobs_of(connection, [row.sha256 for row in rows])
        return [
            HeldPage(row.final_url, row.content_type or "", blobs[row.sha256])
            for row in rows
            if row.sha256 in blobs
        ]

    def read(self, pages: Sequence[HeldPage]) -> Iterator[tuple[str, bytes, str]]:
        """Yield URL, bytes and content type of pages, read one at a time.

        Raises:
            BlobError: The store lacks the bytes of a page.
        """
        for each in pages:
            yield each.url, self._captures.read(each.blob), each.content_type

    def parsed(self, pages: Sequence[HeldPage]) -> Iterator[Page]:
        """Yield pages, parsed one at a time.

        Raises:
            BlobError: The store lacks the bytes of a page.
        """
        for each in self.read(pages):
            yield Page(*each)


def blobs_of(connection: Connection, wanted: Sequence[str]) -> Mapping[str, Blob]:
    """Return where bytes are stored, by SHA-256, of those that are."""
    distinct = sorted(set(wanted))
    found: dict[str, Any] = {}
    for start in range(0, len(distinct), KEYS_PER_STATEMENT):
        found |= read_blobs(connection, distinct[start : start + KEYS_PER_STATEMENT])
    return found
