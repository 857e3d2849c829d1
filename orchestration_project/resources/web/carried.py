"""Loaded items that a crawl carries over, as their pages were neither read nor gone."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, union

from orchestration_project.domains.web.item_rows import CarriedItem
from orchestration_project.domains.web.pages import READ
from orchestration_project.domains.web.tables import web_frontier, web_items, web_pages
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables.schema import HISTORY

ELSEWHERE = ("redirected", "disallowed")
"""Verdicts on URLs that belong to no crawl, unless an earlier one read them."""

UNREAD = ("failed", "refused", "blocked", "login", *ELSEWHERE)
UNLISTED = "no page that was read lists its page, and others were not read"
NOT_IN_FEED = "feeds alone led to its page, and list the newest entries only"
REJECTED = "its page was read, and the item in it was not understood"
MAX_BATCH_ROWS = 1_000
URLS_PER_STATEMENT = 5_000
SHOWN_ROWS = 20


@dataclass
class CarryOver:
    """Items of a site that a crawl carries over, counted as they are read.

    A complete crawl removes an item if its page was read or is gone. An item whose page is not
    listed any more is removed only if all pages that could list it were read; not if feeds alone
    led to it, as these list the newest entries.

    Attributes:
        warehouse: The database.
        site: Name of the site.
        day: Day of the crawl.
        is_complete: Whether the crawl is complete; another one removes no item.
        has_feeds: Whether the site declares feeds.
        count: Items that were carried over.
        first: The first of them.
    """

    warehouse: Warehouse
    site: str
    day: date
    is_complete: bool
    has_feeds: bool
    count: int = 0
    first: list[CarriedItem] = field(default_factory=list)

    def items(self, unclear_urls: Collection[str]) -> Iterator[CarriedItem]:
        """Yield loaded items that are carried over, unless they were read.

        Args:
            unclear_urls: Pages whose items were not all understood.
        """
        if not self.is_complete:
            return
        with self.warehouse.reading() as connection:
            if not self._is_whole(connection):
                yield from self._rows(connection, self._unread())
            elif self.has_feeds:
                for item in self._rows(connection, self._found_by_feeds()):
                    yield item._replace(reason=NOT_IN_FEED)
            urls = sorted(unclear_urls)
            for start in range(0, len(urls), URLS_PER_STATEMENT):
                some = web_items.c.url.in_(urls[start : start + URLS_PER_STATEMENT])
                for item in self._rows(connection, self._loaded().where(some)):
                    yield item._replace(reason=REJECTED, is_unread=False)

    def add(self, item: CarriedItem) -> None:
        """Count an item that was carried over."""
        self.count += 1
        if len(self.first) < SHOWN_ROWS:
            self.first.append(item)

    def count_unread(self) -> None:
        """Count the items of pages that an incomplete crawl did not read; it removes none."""
        if self.is_complete:
            return
        unread = self._loaded().where(web_frontier.c.verdict.in_(UNREAD))
        with self.warehouse.reading() as connection:
            counted = select(func.count()).select_from(unread.subquery())
            self.count = connection.execute(counted).scalar_one()
            shown_query = unread.order_by(web_items.c.item_key).limit(SHOWN_ROWS)
            self.first = [*self._rows(connection, shown_query)]

    def as_metadata(self) -> Sequence[Mapping[str, Any]]:
        """Return the first items, each with its reason and the day of its last success."""
        return [
            {
                "item_key": item.item_key,
                "url": item.url,
                "reason": item.reason,
                "last_success_on": item.last_success_on and item.last_success_on.isoformat(),
            }
            for item in self.first
        ]

    @property
    def _of_crawl(self) -> ColumnElement[bool]:
        return and_(web_frontier.c.site == self.site, web_frontier.c.day == self.day)

    def _is_whole(self, connection: Connection) -> bool:
        """Whether all pages that could list others were read, or are gone."""
        columns = web_frontier.c
        was_read = columns.last_success_on.is_not(None)
        unread = or_(columns.verdict == "refused", and_(columns.verdict.in_(ELSEWHERE), was_read))
        row_query = select(columns.url).where(self._of_crawl, unread).limit(1)
        return connection.execute(row_query).first() is None

    def _loaded(self) -> Select[*tuple[Any, ...]]:
        """Return the query of the site's items, with what became of their pages."""
        pages, items = web_frontier.c, web_items.c
        of_item = and_(self._of_crawl, pages.url == items.url)
        columns = (
            *(items.item_key, items.url, items.payload, items.capture_id),
            *(pages.verdict, pages.reason, pages.last_success_on),
        )
        query = select(*columns).join_from(web_items, web_frontier, of_item, isouter=True)
        return query.where(items.site == self.site)

    def _unread(self) -> Select[*tuple[Any, ...]]:
        """Return the query of items whose page was neither read nor gone."""
        columns, earlier = web_frontier.c, web_pages.info[HISTORY].c
        is_ended = and_(self._of_crawl, columns.verdict.in_([*READ, "gone"]))
        ended = union(
            select(columns.url.label("page_url")).where(is_ended),
            select(columns.final_url).where(is_ended, columns.final_url.is_not(None)),
            # The URL to which a page that is gone redirected.
            select(earlier.final_url)
            .join(web_frontier, and_(earlier.site == columns.site, earlier.url == columns.url))
            .where(self._of_crawl, columns.verdict == "gone", earlier.verdict.in_(READ)),
        ).subquery()
        query = self._loaded().outerjoin(ended, ended.c.page_url == web_items.c.url)
        return query.where(ended.c.page_url.is_(None))

    def _found_by_feeds(self) -> Select[*tuple[Any, ...]]:
        """Return the query of unread items to whose page no crawl came but by feeds."""
        pages = web_frontier.c
        is_listed = and_(pages.site == self.site, pages.found_by != "feed")
        listed = union(
            select(pages.url.label("page_url")).where(is_listed),
            select(pages.final_url).where(is_listed, pages.final_url.is_not(None)),
        ).subquery()
        query = self._unread().outerjoin(listed, listed.c.page_url == web_items.c.url)
        return query.where(listed.c.page_url.is_(None))

    def _rows(
        self, connection: Connection, query: Select[*tuple[Any, ...]]
    ) -> Iterator[CarriedItem]:
        rows = connection.execute(query.execution_options(yield_per=MAX_BATCH_ROWS))
        for key, url, payload, capture_id, verdict, reason, last_success_on in rows:
            reason_text = (
                UNLISTED if verdict is None else ": ".join(filter(None, (verdict, reason)))
            )
            yield CarriedItem(key, url, payload, capture_id, reason_text, last_success_on)
