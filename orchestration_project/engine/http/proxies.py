"""Proxies of a client, with a count of failures of each that all processes share.

A proxy that fails rests for 1 s, 2 s, 4 s and so on; then one request tries it. That with the
fewest failures is chosen, of equals the first. A status of the site is never a failure: no proxy is
changed because of a refusal.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx

from orchestration_project.engine.http.limits import BreakerOpenError
from orchestration_project.engine.http.request import AttemptError, Question
from orchestration_project.engine.http.shared_state import (
    CLOSED,
    BreakerState,
    HostKey,
    SharedState,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.redaction import hide
from orchestration_project.settings.values import PROXY_URL, passwords_in, tokens_in

SYSTEM_SUFFIX = "_proxy"
MAX_FAILURES = 10
MAX_REST_SECONDS = 600
PROBE_SECONDS = 120
"""Time after which a probe whose process was killed is made again."""

PROXY_AUTHENTICATION_REQUIRED = 407
GATEWAY_STATUSES = (502, 504)
"""Statuses of a proxy that may be about the server behind it."""

WAITED_SECONDS = 5
"""Rests that are so short are waited for, within the attempts of a request."""


@dataclass(frozen=True)
class Proxy:
    """A proxy.

    Attributes:
        url: Its URL, which may have a password.
        name: Its host and port.
    """

    url: str = field(repr=False)
    name: str

    @classmethod
    def of(cls, url: str) -> "Proxy":
        """Return the proxy of a URL, whose password is redacted from now on.

        Raises:
            ConfigurationError: It is not http or https with a host and port.
        """
        hide(*passwords_in(url), *tokens_in(url))
        parts = PROXY_URL.fullmatch(url)
        if parts is None or not 0 < int(parts["port"]) < 65_536:
            raise ConfigurationError(
                "invalid proxy: expected a URL with a port, e.g. http://proxy.example.org:3128"
            )
        return cls(url, f"{parts['host'].lower()}:{int(parts['port'])}")


class NoProxyLeftError(BreakerOpenError):
    """All proxies rest: nothing is requested, and nothing is known of the URL."""


class ProxyPool:
    """Proxies of a client and their health, which processes share.

    Args:
        proxies: In the order in which equals are preferred.
        state: Where the health is kept.
        system: Name of the client; clients of the same name share the health.
        now: The present in UTC.
    """

    def __init__(
        self,
        proxies: Sequence[Proxy],
        state: SharedState,
        *,
        system: str,
        now: Callable[[], datetime],
    ) -> None:
        self._keys = {proxy: HostKey(proxy.name, f"{system}{SYSTEM_SUFFIX}") for proxy in proxies}
        self._state = state
        self._system = system
        self._now = now

    def choose(self, avoided: Collection[Proxy], *, url: str) -> tuple[Proxy, bool]:
        """Return the proxy for a request, and whether the request probes it after its rest.

        Args:
            avoided: Proxies that are taken only if no other may be used.
            url: URL of the request, without secrets.

        Raises:
            NoProxyLeftError: All rest; says which, why, and until when.
        """
        breakers = {name: self._state.breaker(key) for name, key in self._keys.items()}
        for name, state in breakers.items():
            if state.retry_at is not None and name not in avoided and self._takes_probe(name):
                return name, True
        usable = [name for name, state in breakers.items() if state.retry_at is None]
        usable = [proxy for proxy in usable if proxy not in avoided] or usable
        if usable:
            return min(usable, key=lambda each: breakers[each].failure_count), False
        for proxy in avoided:
            if self._takes_probe(proxy):
                return proxy, True
        raise self._none_left(breakers, url)

    def succeeded(self, proxy: Proxy) -> None:
        """Count a failure less of a proxy that was connected; its rest is over."""

        def decide(state: BreakerState) -> tuple[BreakerState, None]:
            count = state.failure_count - 1
            fewer = state._replace(failure_count=count, opened_at=None, retry_at=None)
            return (fewer if count > 0 else CLOSED), None

        self._state.change_breaker(self._keys[proxy], decide)

    def failed(self, proxy: Proxy, failure: str) -> None:
        """Count a failure more of a proxy, and let it rest.

        ``failure`` holds no secrets.
        """

        def decide(state: BreakerState) -> tuple[BreakerState, None]:
            now, count = self._now(), min(state.failure_count + 1, MAX_FAILURES)
            return BreakerState(count, failure, now, now + _compute_rest(count)), None

        self._state.change_breaker(self._keys[proxy], decide)

    def give_up(self, proxy: Proxy) -> None:
        """Let the next request probe a proxy: the one that did ended without a result."""

        def decide(state: BreakerState) -> tuple[BreakerState, None]:
            return (state._replace(retry_at=self._now()) if state.retry_at else state), None

        self._state.change_breaker(self._keys[proxy], decide)

    def _takes_probe(self, proxy: Proxy) -> bool:
        """Whether this request is the one that tries a proxy whose rest is over."""

        def decide(state: BreakerState) -> tuple[BreakerState, bool]:
            now, longest = self._now(), timedelta(seconds=MAX_REST_SECONDS)
            # A time further away than we ever set comes from a clock that was set back.
            if state.retry_at is None or now < state.retry_at <= now + longest:
                return state, False
            return state._replace(retry_at=now + timedelta(seconds=PROBE_SECONDS)), True

        return self._state.change_breaker(self._keys[proxy], decide)

    def _none_left(self, found: dict[Proxy, BreakerState], url: str) -> NoProxyLeftError:
        now = self._now()
        waits = {name: _wait(state, now) for name, state in found.items()}
        resting = "; ".join(
            f"{name.name} rests for {waits[name]:.0f} s: {state.last_failure}"
            for name, state in found.items()
        )
        return NoProxyLeftError(
            f"{self._system} is not asked, because no proxy may be used",
            expected="a proxy that is not at rest",
            found=resting,
            remedy="see whether the proxies are up and their passwords right",
            retry_in_seconds=min(waits.values()),
            system=self._system,
            url=url,
        )


def _compute_rest(failure_count: int) -> timedelta:
    return timedelta(seconds=min(2 ** (failure_count - 1), MAX_REST_SECONDS))


def _wait(state: BreakerState, now: datetime) -> float:
    """Return the seconds after which a proxy may be asked for; of one that is probed now, 1."""
    if state.retry_at is None:
        return 0
    is_probed = state.opened_at and state.retry_at > state.opened_at + _compute_rest(
        state.failure_count
    )
    return 1 if is_probed else max((state.retry_at - now).total_seconds(), 0)


class Route:
    """Way of one request: its proxy, which stays the same for all attempts until it fails.

    Args:
        pool: The proxies.
        question: The request.
    """

    def __init__(self, pool: ProxyPool, question: Question) -> None:
        self._pool = pool
        self._question = question
        self._proxy: Proxy | None = None
        self._is_probe = False
        self._suspects: dict[Proxy, str] = {}

    def choose(self, request: httpx.Request, number: int, *, is_last: bool) -> None:
        """Give a request the proxy of its next attempt.

        Raises:
            AttemptError: No proxy may be used, but one may soon, and this is not the last attempt.
            NoProxyLeftError: No proxy may be used.
        """
        try:
            if self._proxy is None:
                url = self._question.url
                self._proxy, self._is_probe = self._pool.choose(self._suspects, url=url)
        except NoProxyLeftError as error:
            wait = error.retry_in_seconds
            if is_last or wait > WAITED_SECONDS:
                raise
            raise AttemptError(
                self._question, number, error.what, wait, is_of_proxy=True
            ) from error
        request.extensions["proxy"] = self._proxy

    def answered(self, status: int) -> str:
        """Judge an answer; return why it is a failure of the proxy, empty if it is not."""
        if self._proxy is None:
            return ""
        if status == PROXY_AUTHENTICATION_REQUIRED:
            return self._fail(f"status {status}: it refuses our user or password")
        if status in GATEWAY_STATUSES and self._question.url.startswith("http:"):
            self._suspect(f"status {status}")
            return ""
        for name, failure in self._suspects.items():
            if name != self._proxy:
                self._pool.failed(name, failure)
        self._suspects.clear()
        self._pool.succeeded(self._proxy)
        self._is_probe = False
        return ""

    def broke(self, error: httpx.TransportError, reason: str) -> str:
        """Judge an attempt without an answer; return why the proxy failed, empty: it may not have.

        Args:
            error: Its error.
            reason: The error in words, without secrets.
        """
        is_of_server = any(f"failed: {status}" in str(error) for status in GATEWAY_STATUSES)
        if isinstance(error, httpx.ProxyError) and not is_of_server:
            return self._fail(reason)
        self._suspect(reason)
        return ""

    def give_up(self) -> None:
        """End an attempt that has no result, as by an interrupt."""
        if self._proxy is not None and self._is_probe:
            self._pool.give_up(self._proxy)
            self._is_probe = False

    def _suspect(self, reason: str) -> None:
        """Note a failure that may be the server's: the proxy's, if another one is answered."""
        if self._proxy is not None and self._is_probe:
            self._fail(reason)
        elif self._proxy is not None:
            self._suspects[self._proxy], self._proxy = reason, None

    def _fail(self, reason: str) -> str:
        if self._proxy is None:
            return ""
        failed, self._proxy, self._is_probe = self._proxy, None, False
        self._pool.failed(failed, reason)
        return f"the proxy {failed.name} failed: {reason}"
