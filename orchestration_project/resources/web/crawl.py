"""A crawl of a site: its budget, its URLs, and the requests of a slice of them.

Each URL is a work item. A slice is at most 200 pages or 5 s.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import Connection, func, select

from orchestration_project.domains.web.sites import Budget, Site
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.contracts.work_items import (
    OPEN_STATES,
    ClaimedItem,
    ItemSettlement,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.web.access import Answer, parse_origin, resolved
from orchestration_project.resources.web.start_lists import (
    ListedUrls,
    declared_lists,
    search_urls,
)
from orchestration_project.tables.spine import work_items

SLICE_PAGES = 200
SLICE_SECONDS = 5.0
NO_PAUSE = (timedelta(0),)
MAX_TEXT = 500


@dataclass(frozen=True)
class Visit:
    """Result of the work on a URL.

    Attributes:
        answer: Answer of the site; None: the slice was over before it was requested.
        verdict: Verdict on it.
        body: Bytes of the page, also of one that is unchanged.
        content_type: Of the page.
        sha256: SHA-256 of ``body``, hex; empty: there is none.
        capture: Of the answer.
        screenshot: Of the rendered page; None: it was not rendered.
        fetched_at: When it came.
        listed: URLs of a sitemap or feed; None: the page is not one.
        error: Failure of all attempts.
    """

    answer: Answer | None = None
    verdict: str = ""
    body: bytes = b""
    content_type: str = ""
    sha256: str = ""
    capture: Capture | None = None
    screenshot: Capture | None = None
    fetched_at: datetime | None = None
    listed: ListedUrls | None = None
    error: OrchestrationError | None = None


@dataclass
class CrawlState:
    """Budget that is left, and the reason for which a crawl ends early.

    Attributes:
        requests_left: Requests of pages.
        bytes_left: Size of bodies, bytes.
        seconds_left: Time from now on, seconds.
        cost_left: Cost of requests, in the unit of the site file.
        cost_per_request: Cost of one request.
        stop: Outcome of a crawl that ends early; empty: it goes on.
        reason: Why it ends.
    """

    requests_left: int
    bytes_left: int
    stop: str = ""
    reason: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    seconds_left: float = math.inf
    cost_left: Decimal = Decimal("Infinity")
    cost_per_request: Decimal = Decimal(0)
    began_at: float = field(default_factory=time.monotonic)
    lap_at: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, budget: Budget) -> "CrawlState":
        """Return the state of a crawl that has spent nothing."""
        return cls(
            budget.requests,
            budget.megabytes * 1_000_000,
            seconds_left=math.inf if budget.seconds is None else budget.seconds,
            cost_left=Decimal("Infinity") if budget.cost is None else budget.cost,
            cost_per_request=budget.cost_per_request,
        )

    def is_over(self) -> bool:
        """Whether no further request may be made."""
        return bool(self.stop) or self.is_spent()

    def is_spent(self) -> bool:
        """Whether a limit of the budget is reached."""
        return bool(self.spent_limit())

    def spent_limit(self) -> str:
        """Return the limit of the budget that is reached, by its name; empty: none is."""
        reached = {
            "requests": self.requests_left <= 0,
            "megabytes": self.bytes_left <= 0,
            "seconds": time.monotonic() - self.began_at >= self.seconds_left,
            "cost": self.cost_left < self.cost_per_request,
        }
        return next((name for name, is_reached in reached.items() if is_reached), "")

    def end(self, stop: str, reason: str) -> None:
        """End the crawl; the first reason counts."""
        with self.lock:
            if not self.stop:
                self.stop, self.reason = stop, reason[:MAX_TEXT]

    def take_request(self) -> bool:
        """Take a request of the budget; return whether there was one."""
        with self.lock:
            if self.is_over():
                return False
            self._take(1)
            return True

    def spend(self, requests: int, byte_count: int, seconds: float = 0) -> None:
        """Take further requests, bytes, and seconds of earlier runs, of the budget."""
        with self.lock:
            self._take(requests)
            self.bytes_left -= byte_count
            self.seconds_left -= seconds

    def lap(self) -> float:
        """Return the seconds since the call before, or since the start."""
        now = time.monotonic()
        seconds, self.lap_at = now - self.lap_at, now
        return seconds

    def _take(self, requests: int) -> None:
        self.requests_left -= requests
        self.cost_left -= requests * self.cost_per_request


@dataclass(frozen=True)
class CrawlQueue:
    """URLs of a crawl that wait, until its budget is spent."""

    items: WorkItems
    state: CrawlState

    def claim(
        self, topic: str, *, limit: int, run_id: str, until: datetime, in_order: bool
    ) -> Sequence[ClaimedItem]:
        """Lease URLs that are due, no more than the budget allows."""
        if self.state.is_over():
            return []
        number = min(limit, self.state.requests_left)
        return self.items.claim(topic, limit=number, run_id=run_id, until=until)

    def settle(
        self, connection: Connection, results: Sequence[ItemSettlement]
    ) -> Sequence[ItemSettlement]:
        """Record how items ended, as `WorkItems.settle`."""
        return self.items.settle(connection, results)


def visit_slice(
    visit: Callable[[ClaimedItem], Visit],
    items: Sequence[ClaimedItem],
    *,
    concurrency: int,
    captures: Captures,
    warehouse: Warehouse,
) -> Iterator[tuple[ClaimedItem, Visit | OrchestrationError]]:
    """Visit URLs in threads, and store what came in packs; yield each with its visit or error.

    What is late was not begun.

    Raises:
        OrchestrationError: The store does not take the bytes.
    """
    ends_at = time.monotonic() + SLICE_SECONDS

    def attempt(item: ClaimedItem) -> Visit | OrchestrationError:
        if time.monotonic() >= ends_at:
            return Visit()
        try:
            return visit(item)
        except OrchestrationError as error:
            return error

    with ThreadPoolExecutor(concurrency) as threads:
        results = list(threads.map(attempt, items))
    visits = [result for result in results if isinstance(result, Visit) and result.capture]
    fetched = [
        part
        for page_visit in visits
        for part in (page_visit.capture, page_visit.screenshot)
        if part
    ]
    stored = iter(captures.keep_all(fetched, warehouse.known_blobs))
    for item, result in zip(items, results, strict=True):
        if isinstance(result, Visit) and result.capture:
            capture = next(stored).without_body()
            screenshot = next(stored).without_body() if result.screenshot else None
            yield item, replace(result, capture=capture, screenshot=screenshot)
        else:
            yield item, result


def start_urls(site: Site) -> Sequence[str]:
    """Return the URLs where a crawl begins, in one spelling; those of paging by parameter too."""
    urls = [url for name in site.start if (url := resolved(f"{site.base_url}/", name))]
    paging = site.paging
    if paging is not None and paging.parameter is not None and paging.cursor is None:
        numbers = range(paging.first, paging.last + 1)
        paged = [
            resolved(url, f"{url}{'&' if '?' in url else '?'}{paging.parameter}={number}")
            for url in urls
            for number in numbers
        ]
        urls = [url for url in paged if url]
    urls += [*declared_lists(site), *search_urls(site)]
    return [url for url in dict.fromkeys(urls) if parse_origin(url) in site.origins]


def left_count(connection: Connection, topic: str) -> int:
    """Return how many URLs of a crawl were not visited, those that failed for good included."""
    columns = work_items.c
    query = select(func.count()).where(columns.topic == topic, columns.state.in_(OPEN_STATES))
    return connection.execute(query).scalar_one()
