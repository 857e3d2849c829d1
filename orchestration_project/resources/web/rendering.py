"""The engine `browser`: pages as Chromium renders them, their requests made by the HTTP client.

One thread has the browser, as Playwright needs it. A browser that crashes, or does not finish a
page in time, is killed, and the next page gets another one.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from orchestration_project.domains.web.browsing import (
    is_blocked,
    post_refusal_of,
    refusal_of,
    sent_headers,
    shown_headers,
)
from orchestration_project.domains.web.pages import judge
from orchestration_project.domains.web.sites import Browsing, Site
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.http.client import Response
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError, TransientError
from orchestration_project.resources.web.access import Answer, SiteAccess, WebAccess
from orchestration_project.resources.web.chromium import BrowserProgram, OpenBrowser, open_browser

MAX_REQUESTS_PER_PAGE = 200
GRACE_SECONDS = 10.0
"""For the browser's start, and the picture, beside the time of a page."""

NO_CONTENT = 204
SCROLL_PAUSE_MS = 300
MAX_CACHED_BYTES = 50_000_000
CACHED_TYPES = ("script", "stylesheet")
RENDERED_TYPE = "text/html; charset=utf-8"
TO_THE_END = "window.scrollTo(0, document.documentElement.scrollHeight)"
SIZE = "[document.documentElement.scrollHeight, document.getElementsByTagName('*').length]"


class PageTooLargeError(Exception):
    """A rendered page has more bytes than the budget allows."""


@dataclass
class _Requests:
    """Requests of one page: how many were made, and the first that was refused."""

    made_count: int = 0
    refused_count: int = 0
    first_refusal: str = ""

    def refuse(self, reason: str) -> None:
        self.refused_count += 1
        self.first_refusal = self.first_refusal or reason

    @property
    def reason(self) -> str:
        """Refused requests; empty: none."""
        if not self.refused_count:
            return ""
        return f"{self.refused_count} of its requests were refused; the first: {self.first_refusal}"


@contextmanager
def open_engine(
    web: WebAccess, site: Site, warehouse: Warehouse, clock: Clock
) -> Iterator["SiteAccess | BrowserAccess"]:
    """Give the requests of a site, by the engine that its file names.

    Raises:
        ConfigurationError: As `WebAccess.open`; no browser is installed, or it would be root's.
    """
    program = web.find_browser() if site.engine == "browser" else None
    with web.open(site, warehouse, clock) as pages:
        if program is None:
            yield pages
            return
        browser = BrowserAccess(pages, program, web.user_agent)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class BrowserAccess:
    """Requests of one site, whose HTML pages are rendered; safe to use from several threads.

    Args:
        pages: Requests, by robots.txt, guard, rate and budget.
        program: The browser.
        user_agent: How it introduces itself.
    """

    pages: SiteAccess
    program: BrowserProgram
    user_agent: str
    _turn: threading.Lock = field(default_factory=threading.Lock)
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="browser")
    )
    _open: ExitStack = field(default_factory=ExitStack)
    _browser: OpenBrowser | None = None
    _cache: dict[str, Response] = field(default_factory=dict)
    _cached_bytes: int = 0

    @property
    def login_url(self) -> str | None:
        """URL of the page with the site's login form; None: it has none."""
        return self.pages.login_url

    def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """Request a page and render it; one that is not HTML is returned as it was sent.

        Args:
            url: Of the site.
            headers: Conditions; they are not sent, as a list may change under the same HTML.

        Raises:
            TransientError: No attempt succeeded, or the browser did not render it in time.
        """
        answer = self.pages.get(url, {})
        response = answer.response
        if response is None or answer.refusal:
            return answer
        content_type = response.headers.get("content-type", "html").lower()
        verdict = judge(response.status, response.body, content_type, is_conditional=False).verdict
        if verdict != "page" or "html" not in content_type:
            return answer
        with self._turn:
            try:
                return self._within_time(answer, response)
            except _BrowserFailedError:
                return self._within_time(answer, response, is_last=True)

    def pause(self, url: str, reason: str) -> None:
        """Let no request of any crawl leave for the host of a URL, for the time of a breaker."""
        self.pages.pause(url, reason)

    def kill(self) -> None:
        """Kill the browser, as a crash would; the next page gets another one."""
        if self._browser is not None:
            self._browser.kill()

    def close(self) -> None:
        """End the browser."""
        with self._turn:
            self._thread.submit(self._end).result()
            self._thread.shutdown()

    def _within_time(self, answer: Answer, response: Response, *, is_last: bool = False) -> Answer:
        seconds = self.pages.site.budget.page_seconds
        future: Future[Answer] = self._thread.submit(self._rendered, answer, response, seconds)
        try:
            return future.result(seconds + GRACE_SECONDS)
        except FutureTimeoutError:
            self.kill()
            future.exception()
            raise _build_render_error(answer, f"it was not done after {seconds} s") from None
        except _BrowserFailedError as error:
            if is_last:
                raise _build_render_error(answer, str(error)) from None
            raise
        except PageTooLargeError as error:
            return replace(answer, response=None, refusal="refused", reason=str(error))

    def _rendered(self, answer: Answer, response: Response, seconds: float) -> Answer:
        """Render a page in the browser's thread."""
        from playwright.sync_api import Error  # an extra
        from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

        if self._browser is None:
            opened = open_browser(self.program, user_agent=self.user_agent)
            self._browser = self._open.enter_context(opened)
        try:
            return self._answer(self._browser.context, answer, response, seconds)
        except PlaywrightTimeoutError as error:
            raise _build_render_error(answer, str(error).partition("\n")[0]) from None
        except Error as error:
            self._end()
            raise _BrowserFailedError(str(error).partition("\n")[0]) from None

    def _answer(self, context: Any, answer: Answer, response: Response, seconds: float) -> Answer:
        from playwright.sync_api import TimeoutError as PlaywrightTimeoutError  # an extra

        ends_at, requests = time.monotonic() + seconds, _Requests()
        rules = self.pages.site.browser or Browsing()
        with _open_page(context, self._handler(response, requests)) as page:
            page.set_default_timeout(seconds * 1000)
            page.goto(answer.final_url, wait_until="commit")
            if rules.wait_for is not None:
                page.wait_for_selector(rules.wait_for, state="attached")
            with suppress(PlaywrightTimeoutError):  # it leads elsewhere, or requests for ever
                page.wait_for_load_state("networkidle", timeout=seconds * 500)
            for _ in range(rules.scrolls):
                if time.monotonic() >= ends_at or not _has_grown(page, requests):
                    break
            body = page.content().encode("utf-8", "replace")
            picture = page.screenshot(type="png", timeout=GRACE_SECONDS * 1000)
        number = self.pages.site.budget.page_megabytes * 1_000_000
        if len(body) > number:
            raise PageTooLargeError(f"expected a rendered page of up to {number} bytes")
        headers = {**shown_headers(response.headers), "content-type": RENDERED_TYPE}
        headers.pop("etag", None)  # it is the HTML's that was sent
        headers.pop("last-modified", None)
        return replace(
            answer,
            response=replace(response, headers=headers, body=body),
            reason=requests.reason,
            request_count=answer.request_count + requests.made_count,
            screenshot=picture,
        )

    def _handler(self, response: Response, requests: _Requests) -> Callable[[Any], None]:
        """Return a handler of the requests of a page; the first one has its answer already."""
        from playwright.sync_api import Error  # an extra

        sent = [response]

        def handle(route: Any) -> None:
            request = route.request
            if sent and request.is_navigation_request():
                found = sent.pop()
            else:
                is_made = not is_blocked(request.resource_type)
                found = self._judged(request, requests) if is_made else None
            with suppress(Error):  # the page is closed meanwhile
                if found is None and request.is_navigation_request():
                    route.fulfill(status=NO_CONTENT)  # an error would replace the page
                elif found is None:
                    route.abort("blockedbyclient")
                else:
                    headers = shown_headers(found.headers)
                    route.fulfill(status=found.status, headers=headers, body=found.body)

        return handle

    def _judged(self, request: Any, requests: _Requests) -> Response | None:
        """Return the answer of a page's request; None: it is refused or has failed."""
        if reason := self._refusal(request, requests):
            requests.refuse(reason)
            return None
        is_post = request.method == "POST"
        if request.url in self._cache and not is_post:
            return self._cache[request.url]
        try:
            post = self._post if is_post else self._get
            answer = post(request)
        except OrchestrationError as error:
            requests.made_count += 1
            requests.refuse(error.line)
            return None
        requests.made_count += answer.request_count
        if answer.refusal or answer.response is None:
            requests.refuse(answer.reason)
            return None
        self._remember(request, answer.response)
        return answer.response

    def _refusal(self, request: Any, requests: _Requests) -> str:
        """Return why a page's request is not made; empty: robots.txt and the guard decide."""
        rules, origins = self.pages.site.browser or Browsing(), self.pages.site.origins
        if request.is_navigation_request() and not _is_of_a_frame(request):
            return f"the page leads to {request.url[:200]}"
        if requests.made_count >= MAX_REQUESTS_PER_PAGE:
            return f"more than {MAX_REQUESTS_PER_PAGE} requests"
        reason = refusal_of(request.method, request.url, origins, allows_post=rules.post)
        if reason or request.method != "POST":
            return reason
        return post_refusal_of(request.resource_type, len(request.post_data_buffer or b""))

    def _get(self, request: Any) -> Answer:
        return self.pages.get(request.url, sent_headers(request.headers))

    def _post(self, request: Any) -> Answer:
        """Send a POST of a script, by robots.txt, guard and rate like every request."""
        sent = sent_headers(request.headers)
        values = {name: value for name, value in sent.items() if name != "origin"}
        page_url = request.headers.get("referer", request.url)
        body = request.post_data_buffer or b""
        return self.pages.submit(request.url, body, page_url=page_url, headers=values)

    def _remember(self, request: Any, response: Response) -> None:
        """Keep a script or style sheet: the next pages need it, and the site sends it once."""
        size = self._cached_bytes + len(response.body)
        is_kept = request.resource_type in CACHED_TYPES and response.status == 200
        if is_kept and size <= MAX_CACHED_BYTES:
            self._cache[request.url], self._cached_bytes = response, size

    def _end(self) -> None:
        self._browser = None
        self._open.close()


class _BrowserFailedError(Exception):
    """The browser has crashed: another one may render the page."""


@contextmanager
def _open_page(context: Any, handler: Callable[[Any], None]) -> Iterator[Any]:
    context.route("**/*", handler)
    context.route_web_socket("**/*", lambda socket: socket.close())
    page = context.new_page()
    try:
        page.on("dialog", lambda dialog: dialog.dismiss())
        page.on("popup", lambda popup: popup.close())
        yield page
    finally:
        page.close()
        context.unroute_all()
        context.clear_cookies()


def _has_grown(page: Any, requests: _Requests) -> bool:
    """Scroll to the end; return whether the page is larger when its requests have ended."""
    before, made_count = page.evaluate(SIZE), -1
    page.evaluate(TO_THE_END)
    while requests.made_count != made_count:
        made_count = requests.made_count
        page.wait_for_timeout(SCROLL_PAUSE_MS)
    return page.evaluate(SIZE) != before


def _is_of_a_frame(request: Any) -> bool:
    """Whether a navigation is that of a frame within the page; a popup has no frame yet."""
    from playwright.sync_api import Error  # an extra

    try:
        return request.frame.parent_frame is not None
    except Error:
        return False


def _build_render_error(answer: Answer, found: str) -> TransientError:
    return TransientError(
        f"the browser did not render {answer.final_url}",
        expected="a page that is rendered within page_seconds of the budget",
        found=found[:500],
        remedy="look at its wait_for and page_seconds in the site file; the next run retries",
    )
