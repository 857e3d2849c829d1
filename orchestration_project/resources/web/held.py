"""Held pages of a site: those that a crawl captured, read from the store without a request."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, case, func, select

from orchestration_project.domains.web.extraction import Page, has_items
from orchestration_project.domains.web.pages import REFUSED
from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.tables import web_crawls, web_frontier
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.web.page_bytes import page_blobs

MAX_BATCH_PAGES = 1_000
"""Pages that are read from the database together."""


@dataclass(frozen=True)
class HeldPage:
    """A captured page.

    Attributes:
        requested_url: URL before redirects.
        url: URL after redirects.
        content_type: As its header said.
        blob: Where its bytes are stored.
    """

    requested_url: str
    url: str
    content_type: str
    blob: Blob


def read_held(
    connection: Connection, site: Site, day: date, urls: Sequence[str] | None = None
) -> Iterator[HeldPage | None]:
    """Yield the pages with items of a crawl, some at a time; None: one lacks its bytes.

    They are in the order of their URLs, each URL after redirects once. Of bytes that an erasure
    replaced, the redacted ones are read. ``urls``: pages of these final URLs alone.
    """
    columns = web_frontier.c
    entries = (
        select(
            *(columns.url, columns.final_url, columns.content_type, columns.sha256),
            func.min(columns.url).over(partition_by=columns.final_url).label("first"),
            func.max(columns.url).over(partition_by=columns.final_url).label("last"),
        )
        .where(
            columns.site == site.site,
            columns.day == day,
            columns.verdict.in_(["page", "unchanged"]),
            *([] if urls is None else [columns.final_url.in_(urls)]),
        )
        .subquery()
    )
    pages = entries.c
    query = (
        select(pages.url, pages.final_url, pages.content_type, pages.sha256)
        .where(pages.url == pages.last)
        .order_by(pages.first)
        .execution_options(yield_per=MAX_BATCH_PAGES)
    )
    for some in connection.execute(query).partitions():
        rows = [row for row in some if has_items(row.final_url, site.item)]
        blobs = page_blobs(connection, site.site, [row.sha256 for row in rows])
        for row in rows:
            blob = blobs.get(row.sha256)
            page = blob and HeldPage(row.url, row.final_url, row.content_type or "", blob)
            yield page


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

        Without ``prefers_complete`` a later partial one counts too, unless the site refused it.
        """
        columns = web_crawls.c
        rank = case((columns.outcome == "complete", 0), else_=1) if prefers_complete else None
        query = (
            select(columns.day)
            .where(columns.site == site, columns.page_count > 0)
            .order_by(*([] if rank is None else [rank]), columns.day.desc())
            .limit(1)
        )
        if not prefers_complete:
            query = query.where(columns.outcome.not_in(REFUSED))
        with self._warehouse.reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def has_pages(self, site: str, day: date) -> bool:
        """Whether a crawl of a day captured pages."""
        columns = web_crawls.c
        query = select(columns.page_count).where(columns.site == site, columns.day == day)
        with self._warehouse.reading() as connection:
            return bool(connection.execute(query).scalar_one_or_none())

    def is_complete(self, site: str, day: date) -> bool:
        """Whether the crawl of a day is complete."""
        query = select(web_crawls.c.outcome).where(
            web_crawls.c.site == site, web_crawls.c.day == day
        )
        with self._warehouse.reading() as connection:
            return connection.execute(query).scalar_one_or_none() == "complete"

    def of_day(
        self, site: Site, day: date, urls: Sequence[str] | None = None
    ) -> Sequence[HeldPage]:
        """Return the pages of `read_held` that have bytes."""
        with self._warehouse.reading() as connection:
            return [*filter(None, read_held(connection, site, day, urls))]

    def read(self, pages: Sequence[HeldPage]) -> Iterator[tuple[str, bytes, str]]:
        """Yield URL, bytes and content type of pages, read one at a time.

        Raises:
            BlobError: The store lacks the bytes of a page.
        """
        for page in pages:
            yield page.url, self._captures.read(page.blob), page.content_type

    def parsed(self, pages: Sequence[HeldPage]) -> Iterator[Page]:
        """Yield pages, parsed one at a time.

        Raises:
            BlobError: The store lacks the bytes of a page.
        """
        for row in self.read(pages):
            yield Page(*row)
