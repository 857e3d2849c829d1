"""Slices of a crawl: what came is loaded as one delivery, with links and the work on URLs.

Pages, captures, links and items of work are written in one transaction, so that a run that is
killed loses one slice at most.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, func, select, union_all, update

from orchestration_project.domains.web.extraction import RULE_VERSION, Page, links
from orchestration_project.domains.web.pages import (
    READ,
    REFUSED,
    FetchedPage,
    Judgement,
    judge,
    page_rows,
)
from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.tables import web_crawls, web_frontier, web_pages
from orchestration_project.domains.web.verdicts import refusal_of
from orchestration_project.engine.captures import BlobError, Captures, build_capture
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.balance import Balance, sum_balances
from orchestration_project.engine.contracts.work_items import ClaimedItem, ItemSettlement, NewItem
from orchestration_project.engine.equations import SubjectBalance, read_balance, record_balance
from orchestration_project.engine.http.limits import BreakerOpenError
from orchestration_project.engine.packs import Blob
from orchestration_project.engine.warehouse import Delivery, TableSpec, Warehouse
from orchestration_project.engine.warehouse.delivery import require_written
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.engine.warehouse.loading import ScopeDelivery, write_scopes
from orchestration_project.engine.warehouse.target import skip_summary
from orchestration_project.engine.work_items import KEYS_PER_STATEMENT, WorkItems
from orchestration_project.errors import (
    ConfigurationError,
    OrchestrationError,
    SourceError,
    ThrottledError,
    TransientError,
)
from orchestration_project.resources.web.access import (
    Answer,
    PageAccess,
    RobotsUnreachableError,
    base_of,
    parse_origin,
    resolved,
)
from orchestration_project.resources.web.crawl import (
    MAX_TEXT,
    CrawlState,
    Visit,
    start_urls,
    visit_slice,
)
from orchestration_project.resources.web.crawl_status import topic_of
from orchestration_project.resources.web.page_bytes import KnownPage, known_pages
from orchestration_project.resources.web.site_lease import SiteLease
from orchestration_project.resources.web.start_lists import ListedUrls, listed_urls
from orchestration_project.resources.web.switches import SwitchedOffError
from orchestration_project.tables.schema import HISTORY, USD_SCALE

KEPT_HEADERS = ("content-type", "etag", "last-modified", "content-encoding", "location", "date")
NOT_MODIFIED = 304
FOUND_BY = ("feed", "page", "index")
"""Ways to a URL, as `web_frontier` has them; a later one counts over those before it."""

LINKS, FOUND = "links", "found"
"""Equation of the links of a crawl, and the count of all of them."""

PAGES = TableSpec(
    table=web_pages, rule_version=RULE_VERSION, summarise=skip_summary, write_disposition="merge"
)


class FoundUrl(NamedTuple):
    """Way of a crawl to a URL: followed links, the page with the link, and its kind."""

    depth: int = 0
    found_on: str | None = None
    found_by: str | None = "page"

    @property
    def rank(self) -> int:
        """Position in `FOUND_BY`; -1: not known."""
        return FOUND_BY.index(self.found_by) if self.found_by else -1


@dataclass(frozen=True)
class SliceLoader:
    """Fetches URLs of a crawl, and loads what came: pages, links, and how each URL ended."""

    site: Site
    day: date
    access: PageAccess
    warehouse: Warehouse
    captures: Captures
    clock: Clock
    run_id: str
    state: CrawlState
    items: WorkItems
    lease: SiteLease
    known: dict[str, KnownPage] = field(default_factory=dict)
    sitemaps: set[str] = field(default_factory=set)

    def read_known(self, items: Sequence[ClaimedItem]) -> None:
        """Read the records of the pages of a slice, before they are requested."""
        self.known.clear()
        self.sitemaps.clear()
        urls = [item.key for item in items]
        with self.warehouse.reading() as connection:
            self.known.update(known_pages(connection, self.site.site, urls))
            if self.site.sitemaps:
                is_sitemap = web_frontier.c.found_by == "index"
                self.sitemaps.update(self._in_frontier(connection, urls, is_sitemap))

    def ready(self) -> None:
        """Open nothing: the run has opened what it uses."""

    def extract(
        self, items: Sequence[ClaimedItem]
    ) -> Iterator[tuple[ClaimedItem, Visit | OrchestrationError]]:
        """Visit the URLs of a slice, and store what came; yield each with its visit or error."""
        self.read_known(items)
        return visit_slice(
            self._visit_url,
            items,
            concurrency=self.site.politeness.concurrency,
            captures=self.captures,
            warehouse=self.warehouse,
        )

    def _visit_url(self, item: ClaimedItem) -> Visit:
        """Request the page of a URL, on condition that it has changed.

        Where robots.txt of the site's first host, or its circuit breaker, refuses all requests, or
        a host requests a pause, the crawl ends, and its URLs wait for the next run.
        """
        if self.lease.lost.is_set():
            self.state.end("stopped", "another run has taken over the site")
        if not self.state.take_request():
            return Visit()
        known_page = self.known.get(item.key)
        try:
            answer, earlier = self._answer(item.key, known_page)
        except RobotsUnreachableError as error:
            if error.origin != self.site.base_url:
                return Visit(error=error)
            self.state.end("stopped", error.line)
            return Visit()
        except (BreakerOpenError, ConfigurationError, SwitchedOffError) as error:
            self.state.end("stopped", error.line)
            return Visit()
        except ThrottledError as error:
            self.access.pause(item.key, error.found)
            self.state.end("stopped", f"the host of {item.key} is paused: {error.found}")
            return Visit(error=error)
        except TransientError as error:
            return Visit(error=error)
        return self._visit(item.key, answer, known_page, earlier)

    def load(
        self, connection: Connection, batch: Sequence[tuple[ClaimedItem, Visit]]
    ) -> Sequence[ItemSettlement]:
        """Write a slice: its pages as one delivery, new URLs, verdicts and counts."""
        self.lease.require(connection)
        batch = self._with_repeated_pages(connection, batch)
        visits = [(item, visit) for item, visit in batch if visit.answer is not None]
        self._write_pages(connection, [(item.key, visit) for item, visit in visits])
        links_by_url, places = self._links(connection, visits)
        link_count = places.pop(FOUND)
        places.update(self._enqueue(connection, links_by_url))
        self._record_links(connection, Balance(LINKS, link_count, places))
        ended = [(item.key, visit) for item, visit in batch if visit.answer or visit.error]
        self._record(connection, ended)
        return [_settle_visit(item, visit) for item, visit in batch]

    def _with_repeated_pages(
        self, connection: Connection, batch: Sequence[tuple[ClaimedItem, Visit]]
    ) -> Sequence[tuple[ClaimedItem, Visit]]:
        """Return visits; one whose next page was read already has an error."""
        paging = self.site.paging
        if paging is None or not (paging.cursor or paging.rel_next):
            return batch
        next_urls: list[tuple[str, str]] = []
        for item, visit in batch:
            if visit.answer is None or visit.error or visit.verdict not in READ:
                continue
            page = Page(visit.answer.final_url, visit.body, visit.content_type)
            targets = [link.href for link in links(page, self.site) if link.is_next]
            base = base_of(page) if targets else page.url
            urls = filter(None, (resolved(base, target) for target in targets))
            next_urls += [(item.key, url) for url in urls]
        urls = [url for _, url in next_urls]
        known_names = self._in_frontier(connection, urls)
        if paging.cursor:  # no other page has it
            known_names |= {url for url, count in Counter(urls).items() if count > 1}
        errors = {
            key: _build_repetition_error("cursor" if paging.cursor else "rel=next", url)
            for key, url in next_urls
            if url in known_names and (paging.cursor or self._leads_to(connection, url, key))
        }
        return [
            (item, replace(visit, error=errors.get(item.key, visit.error))) for item, visit in batch
        ]

    def _leads_to(self, connection: Connection, first_url: str, url: str) -> bool:
        """Whether a crawl came to a URL by way of another one, or both are the same."""
        pages = web_frontier.c
        way = select(pages.url, pages.found_on).where(*self.own(web_frontier), pages.url == url)
        way = way.cte("way", recursive=True)
        earlier = select(pages.url, pages.found_on).where(
            *self.own(web_frontier), pages.url == way.c.found_on
        )
        way = way.union(earlier)
        query = select(way.c.url).where(way.c.url == first_url)
        return connection.execute(query).first() is not None

    def begin(self, connection: Connection) -> None:
        """Record that the crawl runs, and enqueue its start URLs."""
        empty = dict.fromkeys(
            (
                *("slice_count", "request_count", "byte_count"),
                *("page_count", "item_count", "carried_count", "reject_count"),
                *("seconds", "cost", "url_count", "left_out_count"),
            ),
            0,
        )
        now = self.clock.now()
        row = {
            **empty,
            "site": self.site.site,
            "day": self.day,
            "outcome": "running",
            "reason": None,
            "started_at": now,
            "ended_at": None,
            "fill_rates": None,
            "run_id": self.run_id,
        }
        insert_absent(connection, web_crawls, [row])
        running = {"outcome": "running", "reason": None, "ended_at": None, "run_id": self.run_id}
        connection.execute(update(web_crawls).where(*self.own(web_crawls)).values(running))
        self._enqueue(connection, dict.fromkeys(start_urls(self.site), FoundUrl()))

    def own(self, table: Any) -> tuple[Any, Any]:
        """Return the condition on rows of this crawl."""
        return table.c.site == self.site.site, table.c.day == self.day

    def _answer(self, url: str, known: KnownPage | None) -> tuple[Answer, tuple[str, bytes] | None]:
        """Request a page; return the answer, and SHA-256 and bytes of a page that is unchanged.

        One whose bytes are gone is requested again without conditions.
        """
        answer = self.access.get(url, _build_conditions(known))
        is_unchanged = answer.response and answer.response.status == NOT_MODIFIED
        if known is None or not (answer.is_conditional and is_unchanged):
            return answer, None
        earlier = self._earlier_page(known.blob)
        if earlier is None:
            again = self.access.get(url, {})
            answer = replace(again, request_count=answer.request_count + again.request_count)
        return answer, earlier

    def _visit(
        self,
        url: str,
        answer: Answer,
        known: KnownPage | None,
        earlier: tuple[str, bytes] | None,
    ) -> Visit:
        response = answer.response
        if response is None or answer.refusal:
            listed = self._listed(url, answer.final_url, answer.refusal)
            return Visit(answer, answer.refusal, fetched_at=self.clock.now(), listed=listed)
        body, content_type = response.body, response.headers.get("content-type", "")
        verdict, reason = judge(
            response.status, body, content_type, is_conditional=answer.is_conditional
        )
        now = self.clock.now()
        capture = build_capture(
            response.body,
            url=answer.final_url,
            request={"method": "GET", "url": url},
            fetched_at=now,
            http_status=response.status,
            response_headers={
                name: value for name, value in response.headers.items() if name in KEPT_HEADERS
            },
        )
        screenshot = None
        if answer.screenshot:
            screenshot = build_capture(
                answer.screenshot,
                url=answer.final_url,
                request={"method": "screenshot", "url": url},
                fetched_at=now,
            )
        sha256 = capture.sha256
        if known is not None and earlier is not None:
            content_type = known.content_type or ""
            sha256, body = earlier
        self.state.spend(answer.request_count - 1, len(response.body))
        if verdict == "page":
            verdict, reason = self._refusal(url, answer.final_url, body, content_type)
        answer = replace(answer, reason=reason or answer.reason)
        if verdict in REFUSED:
            stop = "login" if verdict == "login" and self.site.login else "blocked"
            text = "" if answer.final_url == url else f" at {answer.final_url}"
            self.state.end(stop, f"{url} answered {reason or response.status}{text}")
        listed = self._listed(url, answer.final_url, verdict, body)
        if listed is not None:
            answer = replace(answer, reason="; ".join(filter(None, (listed.reason, reason))))
        visit = Visit(
            answer, verdict, body, content_type, sha256, capture, screenshot, now, listed=listed
        )
        if verdict == "failed":
            return replace(visit, error=_build_answer_error(answer, reason))
        return visit

    def _listed(
        self, url: str, final_url: str, verdict: str, body: bytes = b""
    ) -> ListedUrls | None:
        """Return the URLs that a page lists; None: it is not a sitemap or feed."""
        return listed_urls(
            self.site,
            url,
            final_url=final_url,
            verdict=verdict,
            body=body,
            is_sitemap=url in self.sitemaps,
        )

    def _refusal(self, url: str, final_url: str, body: bytes, content_type: str) -> Judgement:
        """Return the verdict on a page that may be a block or login page in place of its own."""
        if url != final_url == self.access.login_url:
            return Judgement("login")
        refusal = refusal_of(final_url, body, content_type)
        return Judgement(*refusal) if refusal else Judgement("page")

    def _earlier_page(self, blob: Blob | None) -> tuple[str, bytes] | None:
        """Return the present SHA-256 and the bytes of a captured page; None: they are gone."""
        try:
            return None if blob is None else (blob.sha256, self.captures.read(blob))
        except BlobError:
            return None

    def _write_pages(self, connection: Connection, visits: Sequence[tuple[str, Visit]]) -> None:
        fetched = [(url, item) for url, item in visits if item.capture is not None]
        if not fetched:
            return
        pages = [_build_page(url, visit) for url, visit in fetched]
        key = self.site.site
        crawl = select(web_crawls.c.slice_count).where(*self.own(web_crawls))
        number = connection.execute(crawl).scalar_one() + 1
        delivery = Delivery(
            source="web",
            dataset=key,
            source_version=f"{self.day} slice {number}",
            captures=[
                *(item.capture for _, item in fetched if item.capture),
                *(item.screenshot for _, item in fetched if item.screenshot),
            ],
        )
        validated = page_rows(pages, site=key, day=self.day, run_id=self.run_id)
        site_pages = ScopeDelivery(key, {"site": key}, delivery, validated)
        require_written(
            write_scopes(connection, PAGES, [site_pages], run_id=self.run_id, now=self.clock.now())
        )

    def _links(
        self, connection: Connection, visits: Sequence[tuple[ClaimedItem, Visit]]
    ) -> tuple[dict[str, FoundUrl], Counter[str]]:
        """Return the URLs that pages lead to, and numbers of links: all `FOUND`, and the others.

        Of two ways to a URL, the later of `FOUND_BY` counts.
        """
        places = Counter({FOUND: 0})
        parents = self._found(connection, [item.key for item, _ in visits])
        links_by_url: dict[str, FoundUrl] = {}
        for item, visit in visits:
            if visit.verdict not in READ:
                continue
            parent = parents.get(item.key, FoundUrl(found_by=None))._replace(found_on=item.key)
            for url, link in self._links_of(visit, parent, places):
                first = links_by_url.get(url)
                if first is None:
                    links_by_url[url] = link
                    continue
                places["repeated"] += 1
                if first.rank < link.rank:
                    links_by_url[url] = first._replace(found_by=link.found_by)
        return links_by_url, places

    def _links_of(
        self, visit: Visit, parent: FoundUrl, places: Counter[str]
    ) -> Iterator[tuple[str, FoundUrl]]:
        """Yield the URLs that a page leads to.

        Args:
            visit: A page that was read.
            parent: How the crawl came to it; ``found_on`` is the page itself.
            places: Gets the number of its links as `FOUND`, and of those that lead nowhere.
        """
        if visit.answer is None:
            return
        if visit.listed is not None:
            kind = visit.listed.kind
            link = parent._replace(found_by=kind if kind in FOUND_BY else "page")
            places[FOUND] += len(visit.listed.urls)
            yield from ((url, link) for url in visit.listed.urls)
            return
        page = Page(visit.answer.final_url, visit.body, visit.content_type)
        followed = list(links(page, self.site))
        places[FOUND] += len(followed)
        base = base_of(page) if followed else page.url
        found_by = "page" if parent.found_by == "index" else parent.found_by
        for link in followed:
            url = None if link.is_left_out else resolved(base, link.href)
            depth = parent.depth + (link.max_depth is not None)  # the next page is as deep
            if link.is_left_out:
                places["left_by_limit"] += 1
            elif url is None:
                places["no_url"] += 1
            elif link.max_depth is not None and depth > link.max_depth:
                places["too_deep"] += 1
            elif parse_origin(url) not in self.site.origins:
                places["other_origin"] += 1
            else:
                yield url, FoundUrl(depth, parent.found_on, found_by)

    def _found(self, connection: Connection, urls: Sequence[str]) -> Mapping[str, FoundUrl]:
        """Return how a crawl came to URLs."""
        columns = web_frontier.c
        rows = select(columns.url, columns.depth, columns.found_on, columns.found_by).where(
            *self.own(web_frontier), columns.url.in_(urls)
        )
        return {url: FoundUrl(*way) for url, *way in connection.execute(rows)}

    def _enqueue(self, connection: Connection, found: Mapping[str, FoundUrl]) -> Mapping[str, int]:
        """Enqueue the URLs that the crawl had not come to; return numbers of URLs by place."""
        self._record_ways(connection, found)
        known_names = self._in_frontier(connection, list(found))
        new = {url: link for url, link in found.items() if url not in known_names}
        places = {"known": len(known_names), "queued": 0}
        if not new:
            return places
        counted = select(web_crawls.c.url_count).where(*self.own(web_crawls))
        room = max(self.site.budget.urls - connection.execute(counted).scalar_one(), 0)
        if left_out := max(len(new) - room, 0):
            places["left_by_limit"] = left_out
            self._add(connection, left_out_count=left_out)
        found = dict(islice(new.items(), room))
        if not found:
            return places
        empty = dict.fromkeys(
            (
                *("verdict", "reason", "final_url", "content_type", "sha256", "fetched_at"),
                "last_success_on",
            )
        )
        values = {"site": self.site.site, "day": self.day}
        rows = [
            {**empty, **values, "url": url, **link._asdict()} for url, link in sorted(found.items())
        ]
        inserted = {key[-1] for key in insert_absent(connection, web_frontier, rows)}
        self.items.enqueue(
            topic_of(self.site.site, self.day),
            [NewItem(url, RULE_VERSION, allowed_count=1) for url in sorted(inserted)],
            connection=connection,
        )
        self._add(connection, url_count=len(inserted))
        return {**places, "queued": len(inserted)}

    def _record_links(self, connection: Connection, slice_balance: Balance) -> None:
        """Add the links of a slice to the equation of the crawl.

        Raises:
            ContractError: Some links of the slice went nowhere.
        """
        subject = f"{self.site.site}|{self.day}"
        recorded = read_balance(connection, web_crawls.name, subject, LINKS)
        [balance] = sum_balances([*recorded, slice_balance])
        stage = SubjectBalance(web_crawls.name, subject, balance)
        record_balance(connection, stage, run_id=self.run_id, at=self.clock.now())

    def _record_ways(self, connection: Connection, found: Mapping[str, FoundUrl]) -> None:
        """Write how a crawl came to URLs that it had come to by a feed or a link before."""
        for found_by, earlier in (("page", ["feed"]), ("index", ["feed", "page"])):
            if not (self.site.feeds if found_by == "page" else self.site.sitemaps):
                continue
            columns = web_frontier.c
            is_earlier = columns.found_by.in_(earlier)
            urls = [url for url, link in found.items() if link.found_by == found_by]
            while urls := sorted(self._in_frontier(connection, urls, is_earlier)):
                for start in range(0, len(urls), KEYS_PER_STATEMENT):
                    some = columns.url.in_(urls[start : start + KEYS_PER_STATEMENT])
                    query = update(web_frontier).where(*self.own(web_frontier), some)
                    connection.execute(query.values(found_by=found_by))
                if found_by == "index":
                    break
                urls = self._linked_on(connection, urls)

    def _linked_on(self, connection: Connection, pages: Sequence[str]) -> list[str]:
        """Return the URLs that were first found on pages."""
        columns, urls = web_frontier.c, list[str]()
        for start in range(0, len(pages), KEYS_PER_STATEMENT):
            some = columns.found_on.in_(pages[start : start + KEYS_PER_STATEMENT])
            urls += connection.execute(
                select(columns.url).where(*self.own(web_frontier), some)
            ).scalars()
        return urls

    def _in_frontier(
        self, connection: Connection, urls: Sequence[str], *conditions: ColumnElement[bool]
    ) -> set[str]:
        """Return those of URLs that the crawl has come to, and for which conditions hold."""
        names: set[str] = set()
        for start in range(0, len(urls), KEYS_PER_STATEMENT):
            some = web_frontier.c.url.in_(urls[start : start + KEYS_PER_STATEMENT])
            row_query = select(web_frontier.c.url).where(*self.own(web_frontier), some, *conditions)
            names |= set(connection.execute(row_query).scalars())
        return names

    def _add(self, connection: Connection, **numbers: float) -> None:
        """Add to the counts of the crawl."""
        counts = web_crawls.c
        values = {name: counts[name] + number for name, number in numbers.items() if number}
        if values:
            pair = self.own(web_crawls)
            connection.execute(update(web_crawls).where(*pair).values(values))

    def _record(self, connection: Connection, visits: Sequence[tuple[str, Visit]]) -> None:
        """Write the verdicts of URLs, and add to the counts of the crawl."""
        if not visits:
            return
        unread = [url for url, visit in visits if visit.verdict not in READ]
        days = self._days_of_success(connection, unread)
        rows = [
            {
                "of": url,
                "new_verdict": visit.verdict or "failed",
                "new_reason": _describe_reason(visit)[:MAX_TEXT] or None,
                "new_final_url": visit.answer.final_url if visit.answer else None,
                "new_content_type": visit.content_type or None,
                "new_sha256": visit.sha256 or None,
                "new_fetched_at": visit.fetched_at,
                "new_last_success_on": days.get(url),
            }
            for url, visit in visits
        ]
        names = [name.removeprefix("new_") for name in rows[0] if name != "of"]
        connection.execute(
            update(web_frontier)
            .where(*self.own(web_frontier), web_frontier.c.url == bindparam("of"))
            .values({name: bindparam(f"new_{name}") for name in names}),
            rows,
        )
        captured = [item.capture for _, item in visits if item.capture]
        request_count = sum(item.answer.request_count for _, item in visits if item.answer)
        micros = int(self.site.budget.cost_per_request.scaleb(USD_SCALE))
        self._add(
            connection,
            slice_count=1 if captured else 0,
            seconds=self.state.lap(),
            cost=request_count * micros,
            request_count=request_count,
            byte_count=sum(capture.byte_count for capture in captured),
            page_count=sum(item.verdict in READ for _, item in visits),
        )

    def _days_of_success(self, connection: Connection, urls: Sequence[str]) -> Mapping[str, date]:
        """Return the day on which each page was last read; one that never was is left out."""
        days: dict[str, date] = {}
        for start in range(0, len(urls), KEYS_PER_STATEMENT):
            some = urls[start : start + KEYS_PER_STATEMENT]
            latest = union_all(
                *(
                    select(item.c.url, func.max(item.c.day))
                    .where(
                        item.c.site == self.site.site,
                        item.c.url.in_(some),
                        item.c.verdict.in_(READ),
                    )
                    .group_by(item.c.url)
                    for item in (web_pages, web_pages.info[HISTORY])
                )
            )
            for url, day in connection.execute(latest):
                days[url] = max(day, days.get(url, day))
        return days


def _settle_visit(item: ClaimedItem, visit: Visit) -> ItemSettlement:
    if visit.error is not None:
        return ItemSettlement.of_error(item, visit.error)
    if visit.answer is None:
        return ItemSettlement(item, "ready")
    reason = visit.answer.reason or None
    is_skipped = bool(visit.answer.refusal) or visit.verdict == "refused"
    if visit.listed is not None and visit.listed.is_failed:
        reason = "; ".join(dict.fromkeys(filter(None, (visit.listed.reason, reason))))
        return ItemSettlement(
            item, "failed", reason_code="url_list", reason=reason, is_retryable=False
        )
    return ItemSettlement(
        item,
        "skipped" if is_skipped else "done",
        result_version=RULE_VERSION,
        reason_code=visit.verdict if is_skipped else None,
        reason=reason,
    )


def _describe_reason(visit: Visit) -> str:
    if visit.error and not (visit.answer and visit.answer.reason):
        return f"{visit.error.what}; {visit.error.found}"
    return visit.answer.reason if visit.answer else ""


def _build_repetition_error(way: str, url: str) -> SourceError:
    """Return the error of a page whose cursor or ``rel=next`` leads back."""
    return SourceError(
        f"the {way} of a page repeats",
        expected=f"a {way} that leads to a further page, or none",
        found=url[:MAX_TEXT],
        remedy="report it to the site; items behind it are not read",
    )


def _build_answer_error(answer: Answer, reason: str) -> SourceError:
    """Return the error of an answer that cannot be read as a page."""
    return SourceError(
        f"{answer.final_url} answered what is not a page",
        expected="a page, or status 404 or 410",
        found=reason,
        remedy="see the page in a browser; the next run of the day requests it again",
    )


def _build_conditions(known: KnownPage | None) -> Mapping[str, str]:
    if known is None:
        return {}
    named = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {
        name: value
        for name, value in named.items()
        if value and value.isascii() and value.isprintable()
    }


def _build_page(url: str, visit: Visit) -> FetchedPage:
    if visit.answer is None or visit.answer.response is None or visit.fetched_at is None:
        raise AssertionError("a page was fetched")
    headers = visit.answer.response.headers
    return FetchedPage(
        url,
        visit.answer.response.status,
        visit.content_type[:MAX_TEXT] or None,
        _drop_long(headers.get("etag")),
        _drop_long(headers.get("last-modified")),
        visit.answer.final_url,
        visit.sha256,
        visit.verdict,
        visit.fetched_at,
    )


def _drop_long(value: str | None) -> str | None:
    return value if value and len(value) <= MAX_TEXT else None
