"""Requests of pages: robots.txt first, at the rate of the host, each redirect judged again."""

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from sqlalchemy import delete, insert, select

from orchestration_project.domains.web.extraction import Page
from orchestration_project.domains.web.pages import PASSING_STATUSES
from orchestration_project.domains.web.robots import MAX_ROBOTS_BYTES, Robots, read_robots
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import Site
from orchestration_project.domains.web.tables import web_robots
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import build_address_guard, open_client
from orchestration_project.engine.http import (
    AnswerLimits,
    Hooks,
    HttpClient,
    Network,
    Response,
    RetryPolicy,
)
from orchestration_project.engine.http.addresses import PORTS, AddressGuard
from orchestration_project.engine.http.connecting import build_user_agent
from orchestration_project.engine.http.limits import build_places
from orchestration_project.engine.http.proxies import NoProxyLeftError, Proxy
from orchestration_project.engine.http.request import TOO_MANY_REQUESTS
from orchestration_project.engine.http.shared_state import Rate
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import (
    ConfigurationError,
    OrchestrationError,
    SourceError,
    TransientError,
)
from orchestration_project.resources.web.chromium import BrowserProgram, find_browser
from orchestration_project.resources.web.cookies import CookieJar
from orchestration_project.resources.web.switches import SiteSwitch

DEMO_ORIGIN = "http://shop.demo"
"""Base URL of the demo's shop in site files, wherever its server is."""

PRODUCT = "orchestration_project"
"""Our name in robots.txt."""

MAX_URL_LENGTH = 2_000
MAX_REDIRECTS = 10
MAX_ROBOTS_REDIRECTS = 5
ROBOTS_AGE = timedelta(hours=24)
REDIRECTS = (301, 302, 303, 307, 308)
THROTTLING = (TOO_MANY_REQUESTS, 503)
"""Statuses by which a host requests a pause."""

URL_BLANK = "".join(map(chr, range(33)))
"""Control characters and the space, which do not count at the ends of a URL."""

LINE_BREAKS = re.compile(r"[\t\n\r]")
"""White space that does not count anywhere in a URL."""

PATH_OF_URL = re.compile(r"[^?#]*")
URL_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")

FORM_HEADERS: Mapping[str, str] = {"Content-Type": "application/x-www-form-urlencoded"}


@lru_cache(maxsize=1_000)
def parse_origin(url: str) -> str:
    """Return scheme, host and port of a URL, in lower case.

    Raises:
        ValueError: It is not a URL.
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def resolved(base: str, href: str) -> str | None:
    """Return the absolute URL of a link in one spelling; None: it leads to no page."""
    try:
        text = _join_url(base, href)
        spell = _spell_short_url if len(text) <= MAX_URL_LENGTH else _spell_url
        return spell(text)
    except ValueError:
        return None


def _spell_url(text: str) -> str | None:
    """Return a URL in one spelling; None: it leads to no page.

    Raises:
        ValueError: It is not one.
    """
    from w3lib.url import canonicalize_url  # an extra

    url = canonicalize_url(text)
    parts = urlsplit(url)
    is_page = parts.scheme in ("http", "https") and parts.hostname and not parts.username
    return url if is_page and len(url) <= MAX_URL_LENGTH else None


_spell_short_url = lru_cache(maxsize=1_000)(_spell_url)
"""Pages of a site repeat links, as of its navigation."""


def base_of(page: Page) -> str:
    """Return the URL that the links of a page are relative to: of its ``base``, else its own.

    A ``base`` that is invalid, or leads to no page, does not count, as the HTML standard says.
    """
    href = page.base_href
    if not href:
        return page.url
    try:
        base = _join_url(page.url, href)
        is_page = urlsplit(base).scheme in ("http", "https") and urlsplit(base).hostname
    except ValueError:
        return page.url
    return base if is_page else page.url


def _join_url(base: str, href: str) -> str:
    """Return the URL of a link, as the URL standard reads it: white space and backslashes, too.

    Raises:
        ValueError: It is not one.
    """
    text = LINE_BREAKS.sub("", href.strip(URL_BLANK))
    path = PATH_OF_URL.match(text)[0]  # pyright: ignore[reportOptionalSubscript] - it may be empty
    scheme = URL_SCHEME.match(path)
    if scheme is None or scheme[1].lower() in ("http", "https"):
        text = path.replace("\\", "/") + text[len(path) :]
    return urljoin(base, text)


@dataclass(frozen=True)
class Answer:
    """Answer of a site after redirects; without one, why there is none.

    Attributes:
        final_url: URL of the last request, or of the one that was not made.
        response: Last answer; None: no request was made there.
        refusal: Verdict where a URL is not requested: disallowed, refused or redirected.
        reason: Why it is not requested.
        is_conditional: Whether the last request had a condition.
        request_count: Requests that were made.
        screenshot: PNG of the rendered page; empty: it was not rendered.
    """

    final_url: str
    response: Response | None = None
    refusal: str = ""
    reason: str = ""
    request_count: int = 0
    screenshot: bytes = b""
    is_conditional: bool = False


class RobotsUnreachableError(TransientError):
    """The robots.txt of a host failed, so that nothing of it may be requested.

    Args:
        origin: Scheme, host and port.
        cause: Error of its request.
    """

    def __init__(self, origin: str, cause: OrchestrationError) -> None:
        super().__init__(
            f"robots.txt of {origin} cannot be read, so nothing may be requested",
            expected=cause.expected or "rules, or a status below 500",
            found="; ".join(filter(None, (cause.what, cause.found))),
            remedy=cause.remedy or "see whether the site is up; the next run reads it again",
        )
        self.origin = origin


class PageAccess(Protocol):
    """Requests of pages of one site, by one of its engines."""

    @property
    def login_url(self) -> str | None:
        """URL of the page with the site's login form; None: it has none."""
        ...

    def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """Request a page.

        Args:
            url: Of the site.
            headers: Of the first request, such as conditions.

        Raises:
            ThrottledError: The host requests a pause.
            TransientError: No attempt succeeded.
        """
        ...

    def pause(self, url: str, reason: str) -> None:
        """Let no request of any crawl leave for the host of a URL, for the time of a breaker."""
        ...


class WebAccess:
    """Makes requests of sites as the settings allow.

    Args:
        settings: Their contact, guard and profile.
        demo_url: Returns the address of the demo's shop; called at the first use.
    """

    def __init__(self, settings: WebSettings, demo_url: Callable[[], str]) -> None:
        self._settings = settings
        self._demo_url = demo_url

    @property
    def user_agent(self) -> str:
        """Our name, version and contact."""
        return f"{build_user_agent()} (+{self._settings.web_contact or 'demo'})"

    @property
    def scratch(self) -> Path:
        """The folder for rows that are too many for memory."""
        return self._settings.scratch_path

    @property
    def mask_key(self) -> bytes:
        """Secret by which personal values are masked; empty: there is none."""
        return self._settings.mask_key

    def find_browser(self) -> BrowserProgram:
        """Return the browser of the settings.

        Raises:
            ConfigurationError: There is none, or it would run as root.
        """
        return find_browser(self._settings.web_browser_path, self._settings.web_browser_user)

    @contextmanager
    def open(self, site: Site, warehouse: Warehouse, clock: Clock) -> Iterator["SiteAccess"]:
        """Give the requests of a site.

        Raises:
            ConfigurationError: The site is of the demo, and DATA_PROFILE is not.
            TransientError: The demo does not start.
        """
        addresses = self._addresses(site)
        delays: dict[str, float] = {}
        usual = site.politeness.requests_per_second
        switch = SiteSwitch(warehouse, site.site)
        pages = self._client(
            site, addresses, lambda host: _build_rate(usual, delays.get(host, 0)), switch
        )
        robots = self._client(site, addresses, lambda _: _build_rate(usual, 0), switch)
        with pages, robots:
            cache = _RobotsCache(robots, addresses, warehouse, clock)
            yield SiteAccess(site, pages, cache, addresses, delays, CookieJar(clock.now), switch)

    def _addresses(self, site: Site) -> Mapping[str, str]:
        if DEMO_ORIGIN not in site.origins:
            return {}
        if not self._settings.is_demo:
            raise ConfigurationError(
                f"the site {site.site} is of the demo",
                expected="DATA_PROFILE=demo",
                found=f"DATA_PROFILE={self._settings.data_profile}",
                remedy="set DATA_PROFILE=demo, or base_url of the site",
            )
        return {DEMO_ORIGIN: self._demo_url()}

    def _client(
        self,
        site: Site,
        addresses: Mapping[str, str],
        rate_of: Callable[[str], Rate],
        switch: SiteSwitch,
    ) -> HttpClient:
        urls = self._settings.proxy_urls if site.proxy == "allowed" else ()
        proxies = [Proxy.of(url) for url in urls]
        places = build_places(
            self._settings.state_path,
            host_count=site.politeness.concurrency,
            count=self._settings.web_concurrency,
        )
        return open_client(
            self._settings,
            "web",
            agent=self.user_agent,
            retries=RetryPolicy(
                max_attempts=3, statuses=PASSING_STATUSES, throttling_statuses=THROTTLING
            ),
            limits=AnswerLimits(
                deadline_seconds=site.budget.page_seconds,
                max_body_bytes=site.budget.page_megabytes * 1_000_000,
                accepts_encodings=True,
            ),
            hooks=Hooks(before_sending=switch.check, rate_of=rate_of, places_of=places),
            network=Network(
                use_environment=not self._settings.is_demo,
                guard=site_guard(self._settings, addresses, proxies),
                proxies=proxies,
            ),
        )


def site_guard(
    settings: WebSettings, addresses: Mapping[str, str] | None = None, proxies: Iterable[Proxy] = ()
) -> AddressGuard:
    """Return the guard of the requests of sites.

    Args:
        settings: Their networks and ports.
        addresses: Address of the demo's shop, by its origin.
        proxies: Proxies of the site.
    """
    servers = [urlsplit(address).netloc for address in (addresses or {}).values()]
    return build_address_guard(
        settings,
        ports={*PORTS.values(), *map(int, settings.web_allowed_ports)},
        ports_setting="WEB_ALLOWED_PORTS",
        demo_server=servers[0] if servers else "",
        proxies=[proxy.name for proxy in proxies],
    )


def _build_rate(requests_per_second: float, delay_seconds: float) -> Rate:
    if delay_seconds * requests_per_second > 1:
        return Rate(1, delay_seconds)
    if requests_per_second >= 1:
        return Rate(int(requests_per_second))
    return Rate(1, 1 / requests_per_second)


@dataclass(frozen=True)
class SiteAccess:
    """Requests of one site; safe to use from several threads."""

    site: Site
    client: HttpClient
    robots: "_RobotsCache"
    addresses: Mapping[str, str]
    delays: dict[str, float]
    cookies: CookieJar
    switch: SiteSwitch

    def get(self, url: str, headers: Mapping[str, str]) -> Answer:
        """Request a page, and follow redirects within the site.

        Args:
            url: Of the site.
            headers: Of the first request, such as conditions.

        Raises:
            ThrottledError: The host requests a pause.
            TransientError: No attempt succeeded.
            RobotsUnreachableError: robots.txt failed.
            SwitchedOffError: The site's kill switch is off.
        """
        current, response = url, None
        for count in range(MAX_REDIRECTS + 1):
            if parse_origin(current) not in self.site.origins:
                reason = f"it redirects to another host: {current[:200]}"
                return Answer(current, response, "redirected", reason, count)
            try:
                if reason := self._disallowed(current):
                    return Answer(current, response, "disallowed", reason, count)
                response = self.client.request(
                    "GET",
                    _replace_origin(self.addresses, current),
                    headers={
                        **(headers if count == 0 else {}),
                        **self.cookies.headers(current),
                    },
                )
            except (ConfigurationError, SourceError) as error:
                return Answer(current, None, "refused", str(error)[:500], count + 1)
            self.cookies.store(current, response.headers)
            target = _find_location(response)
            if target is None:
                is_conditional = count == 0 and bool(headers)
                return Answer(
                    current, response, request_count=count + 1, is_conditional=is_conditional
                )
            following = resolved(current, target)
            if following is None:
                reason = f"it redirects to no page: {target[:200]}"
                return Answer(current, response, "redirected", reason, count + 1)
            current = following
        reason = f"more than {MAX_REDIRECTS} redirects"
        return Answer(current, response, "redirected", reason, MAX_REDIRECTS + 1)

    def pause(self, url: str, reason: str) -> None:
        """Let no request of any crawl leave for the host of a URL, for the time of a breaker."""
        self.client.pause(_replace_origin(self.addresses, url), reason)

    @property
    def login_url(self) -> str | None:
        """URL of the page with the site's login form: who is sent there has no session."""
        login = self.site.login
        return None if login is None else resolved(f"{self.site.base_url}/", login.url)

    def submit(
        self, url: str, body: bytes, *, page_url: str, headers: Mapping[str, str] = FORM_HEADERS
    ) -> Answer:
        """Send a form by POST, once, and follow the redirect to the page after it.

        Args:
            url: Of the site.
            body: Fields of the form, URL-encoded; or as its Content-Type says.
            page_url: URL of the page with the form.
            headers: Content-Type of the body, and others of the page.

        Raises:
            TransientError: The site does not answer.
            RobotsUnreachableError: robots.txt failed.
        """
        if reason := self._disallowed(url):
            return Answer(url, None, "disallowed", reason)
        sent = {**headers, "Origin": parse_origin(page_url), "Referer": page_url}
        response = self.client.request(
            "POST",
            _replace_origin(self.addresses, url),
            headers=sent | dict(self.cookies.headers(url)),
            content=body,
            is_repeatable=False,
        )
        self.cookies.store(url, response.headers)
        if response.status not in REDIRECTS:
            return Answer(url, response, request_count=1)
        target = resolved(url, _find_location(response) or "")
        if target is None or response.status in (307, 308):
            return Answer(url, response, "redirected", "it redirects the form", 1)
        answer = self.get(target, {})
        return replace(answer, request_count=answer.request_count + 1)

    def _disallowed(self, url: str) -> str:
        """Return why a URL may not be requested; empty: it may."""
        origin = parse_origin(url)
        try:
            robots = self.robots.of(origin)
        except ConfigurationError as error:
            if origin != self.site.base_url:
                raise
            raise RobotsUnreachableError(origin, error) from error
        host = str(urlsplit(_replace_origin(self.addresses, url)).hostname)
        delay = robots.crawl_delay_seconds(PRODUCT)
        self.delays[host] = max(self.delays.get(host, 0), delay)
        match robots.verdict(url, PRODUCT):
            case "allowed":
                return ""
            case "disallowed":
                return f"robots.txt of {origin} disallows it"
            case _:
                raise RobotsUnreachableError(origin, self.robots.failures[origin])


def _find_location(response: Response) -> str | None:
    """Return the target of a redirect; None: the answer is none, or names no URL.

    Bytes of UTF-8 in it are read as such.
    """
    target = response.headers.get("location", "").strip()
    with suppress(UnicodeError):
        target = target.encode("latin-1").decode()
    if response.status not in REDIRECTS or not target:
        return None
    try:
        urlsplit(target)
    except ValueError:
        return None
    return target


def _replace_origin(addresses: Mapping[str, str], url: str) -> str:
    origin = parse_origin(url)
    return addresses[origin] + url[len(origin) :] if origin in addresses else url


class _RobotsCache:
    """Rules of origins, from `web_robots` or the origin itself, for `ROBOTS_AGE`."""

    def __init__(
        self, client: HttpClient, addresses: Mapping[str, str], warehouse: Warehouse, clock: Clock
    ) -> None:
        self._client = client
        self._addresses = addresses
        self._warehouse = warehouse
        self._clock = clock
        self._found: dict[str, Robots] = {}
        self.failures: dict[str, OrchestrationError] = {}
        self._lock = threading.Lock()

    def of(self, origin: str) -> Robots:
        """Return the rules of an origin, requested once.

        Raises:
            ConfigurationError: The origin may not be requested.
        """
        with self._lock:
            if origin not in self._found:
                self._found[origin] = self._stored(origin) or self._fetched(origin)
            return self._found[origin]

    def _stored(self, origin: str) -> Robots | None:
        now = self._clock.now()
        query = select(web_robots).where(web_robots.c.origin == origin)
        with self._warehouse.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None or not now - ROBOTS_AGE < row.fetched_at <= now:
            return None
        robots = read_robots(row.status, row.body.encode())
        return robots if robots.is_reachable else None

    def _fetched(self, origin: str) -> Robots:
        try:
            status, body = self._requested(f"{origin}/robots.txt")
        except NoProxyLeftError:
            raise  # the site was not asked
        except (TransientError, SourceError) as error:
            self.failures[origin] = error
            status, body = None, b""
        text = body[: MAX_ROBOTS_BYTES + 1].decode("utf-8-sig", errors="replace").replace("\0", "")
        row = {
            "origin": origin,
            "status": status,
            "body": text,
            "fetched_at": self._clock.now(),
        }
        with self._warehouse.writing() as connection:
            connection.execute(delete(web_robots).where(web_robots.c.origin == origin))
            connection.execute(insert(web_robots), row)
        robots = read_robots(status, body)
        if not robots.is_reachable:
            answer = SourceError(
                f"it answered with status {status}",
                expected="robots.txt, or a status from 400 to 499",
            )
            self.failures.setdefault(origin, answer)
        return robots

    def _requested(self, url: str) -> tuple[int | None, bytes]:
        current = url
        for _ in range(MAX_ROBOTS_REDIRECTS + 1):
            try:
                response = self._client.request("GET", _replace_origin(self._addresses, current))
            except ConfigurationError as error:
                if current == url:
                    raise
                raise SourceError(
                    f"it redirects to {current[:200]}: {error.what}",
                    expected=error.expected,
                    found=error.found,
                    remedy=error.remedy,
                ) from error
            target = _find_location(response)
            following = target and resolved(current, target)
            if not following:
                return response.status, response.body
            current = following
        return 404, b""
