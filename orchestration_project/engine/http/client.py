"""Client of one system over HTTP: returns whole responses, or raises errors with a remedy."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Self, TypedDict

import httpx
import stamina

from orchestration_project.engine.http.addresses import AddressGuard
from orchestration_project.engine.http.connecting import Transport, use_deadline
from orchestration_project.engine.http.encodings import (
    ACCEPTED,
    CutBodyError,
    EncodingError,
    TooLargeError,
    decode_content,
)
from orchestration_project.engine.http.limits import (
    NO_ANSWER,
    USUAL_BREAKER,
    Admission,
    Breaker,
    BreakerPolicy,
    HostPlaces,
    RateLimiter,
    Tally,
)
from orchestration_project.engine.http.proxies import NoProxyLeftError, Proxy, ProxyPool, Route
from orchestration_project.engine.http.request import (
    AttemptError,
    Question,
    RetryPolicy,
    build_request,
    build_trust_error,
    find_short_wait,
    is_about_certificate,
    log_answer,
    parse_retry_after,
    replace_lines_with_urls,
    retry_decision,
)
from orchestration_project.engine.http.shared_state import HostKey, Rate, SharedState
from orchestration_project.engine.tracing.spans import open_span
from orchestration_project.errors import SourceError, ThrottledError, TransientError
from orchestration_project.redaction import hide

MAX_BACKOFF_SECONDS = 30
ERROR_BODY_BYTES = 4096  # read of the body of a retried status, which is only quoted
MIB = 1024 * 1024


@dataclass(frozen=True)
class Response:
    """A whole answer.

    Attributes:
        url: What was asked, without secrets.
        headers: By name in lower case; a repeated header's values are joined by ", ".
        body: The bytes that the source sent, decoded where the client accepts encodings. Otherwise
            it requests `identity`; a source that compresses all the same says so in
            `content-encoding`.
    """

    url: str
    status: int
    headers: dict[str, str]
    body: bytes


class _Manners:
    """Rate limit, breaker, counts and places of one host."""

    def __init__(
        self, limiter: RateLimiter | None, breaker: Breaker, tally: Tally, places: HostPlaces
    ) -> None:
        self.limiter = limiter
        self.breaker = breaker
        self.tally = tally
        self.places = places

    @contextmanager
    def turn(self, check: Callable[[], None]) -> Iterator[None]:
        """Let an attempt leave when rate and places allow, and hold its places for the block.

        ``check`` is called again and again while the rate makes it wait; its error ends that.
        """
        with self.places.hold(lambda: self.limiter.wait(check) if self.limiter else None):
            yield


@dataclass(frozen=True)
class AnswerLimits:
    """Limits of an answer.

    Attributes:
        timeout_seconds: Longest silence of the source, and longest time to connect.
        deadline_seconds: Longest time for one attempt as a whole.
        max_body_bytes: Largest body that is accepted, before and after it is decoded.
        accepts_encodings: Whether bodies may come in gzip, deflate, zstd or brotli; they are
            returned decoded.
    """

    timeout_seconds: float = 30
    deadline_seconds: float = 120
    max_body_bytes: int = 64 * MIB
    accepts_encodings: bool = False


def _do_nothing() -> None:
    pass


@dataclass(frozen=True)
class Hooks:
    """Functions that a client calls; an error, as of a quota or kill switch, ends the attempt.

    Attributes:
        before_attempt: Called before each attempt.
        before_sending: Called while an attempt waits for the rate, when it leaves, and when its
            connection is made.
        rate_of: Limit on attempts at a host of this name, in place of that of the client: of any
            interval, such as the delay in its robots.txt. None: no limit.
        places_of: Places that an attempt at a host of this name takes while it is in flight.
    """

    before_attempt: Callable[[], None] = _do_nothing
    before_sending: Callable[[], None] = _do_nothing
    rate_of: Callable[[str], Rate | None] | None = None
    places_of: Callable[[str], HostPlaces] = lambda _: HostPlaces()


@dataclass(frozen=True)
class Network:
    """Way of requests out of this machine.

    Attributes:
        use_environment: Whether proxies (`HTTPS_PROXY`, `NO_PROXY`, …) and an own certificate
            authority (`SSL_CERT_FILE`, `SSL_CERT_DIR`) come from the environment; a program on
            this machine is asked without.
        guard: Checks each request, as of URLs that users declare; None: URLs are an operator's.
        proxies: Proxies for all requests, in place of those of the environment; their health is
            shared as rates are. Without any that may be used, nothing is requested.
    """

    use_environment: bool = True
    guard: AddressGuard | None = None
    proxies: Sequence[Proxy] = ()


USUAL_RETRIES, USUAL_LIMITS, NO_HOOKS = RetryPolicy(), AnswerLimits(), Hooks()
OUTSIDE, INSIDE = Network(), Network(use_environment=False)
"""Systems elsewhere, and programs on this machine."""


class Policies(TypedDict, total=False):
    """Policies of a client, by argument; those that lack are the default ones."""

    requests_per_second: int
    retries: RetryPolicy
    breaker: BreakerPolicy
    limits: AnswerLimits
    hooks: Hooks
    network: Network


class HttpClient:
    """One system's manners: timeouts, pooled connections, retries, rate limit, breaker.

    Safe to use from many threads at once. Rate and breaker of a host are shared by all processes
    that name the same ``system`` and ``state``.

    Args:
        system: Short name in logs, errors and state, such as `finra_api`.
        state: What is shared with other processes; this client closes it.
        now: The present in UTC, real and not simulated: processes compare it.
        user_agent: How we introduce ourselves.
        requests_per_second: Limit on attempts at a host, in any second; 0: no limit.
        retries: When an attempt is followed by another one.
        breaker: When a system that fails is not asked for a while.
        limits: Limits of an answer.
        hooks: Functions that each attempt calls.
        network: Way of requests out of this machine.

    Raises:
        ConfigurationError: A proxy's address or the certificates are unusable.
    """

    def __init__(
        self,
        *,
        system: str,
        state: SharedState,
        now: Callable[[], datetime],
        user_agent: str,
        requests_per_second: int = 0,
        retries: RetryPolicy = USUAL_RETRIES,
        breaker: BreakerPolicy = USUAL_BREAKER,
        limits: AnswerLimits = USUAL_LIMITS,
        hooks: Hooks = NO_HOOKS,
        network: Network = OUTSIDE,
    ) -> None:
        self._system = system
        self._now = now
        self._user_agent = user_agent
        self._state = state
        usual = Rate(requests_per_second) if requests_per_second else None
        self._rate_of = hooks.rate_of or (lambda _: usual)
        self._retries = retries
        self._breaker = breaker
        self._limits = limits
        self._hooks = hooks
        self._guard = network.guard
        self._encoding_header = {"Accept-Encoding": ACCEPTED} if limits.accepts_encodings else {}
        self._transport = Transport(use_environment=network.use_environment, guard=network.guard)
        proxies = network.proxies
        self._proxies = ProxyPool(proxies, state, system=system, now=now) if proxies else None
        self._hosts: dict[str, _Manners] = {}
        self._hosts_lock = Lock()
        replace_lines_with_urls()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def pause(self, url: str, reason: str) -> None:
        """Open the breaker of the host of a URL at once; ``reason`` holds no secrets."""
        self._manners_of(httpx.URL(url).host).breaker.open(reason)

    def close(self) -> None:
        """Close connections and state; what other processes use stays."""
        self._transport.close()
        with closing(self._state):
            for manners in self._hosts.values():
                manners.tally.flush()

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: object = None,
        content: bytes | None = None,
        basic_auth: tuple[str, str] | None = None,
        is_repeatable: bool = True,
        may_pass: Callable[[Response], bool] = lambda _: False,
    ) -> Response:
        """Return the whole response, of any status that is not retried.

        The body is ``json``, or ``content`` as it is, whose type is to be among the headers.

        Redirects are not followed. Connection errors, timeouts, broken answers and the client's
        statuses to retry are retried, later if `Retry-After` requests it. A request that is
        not ``is_repeatable`` leaves once: it may have had its effect although no answer came, and
        only the caller can find out. An answer that ``may_pass`` is retried too, after its
        `Retry-After` where that is short; the last attempt's is returned.

        Raises:
            ThrottledError: No attempt succeeded; the last answer asked for fewer requests.
            TransientError: No attempt succeeded, or the system is not asked for now.
            SourceError: The URL is not for HTTP, or the body is too large or not in its encoding.
            ConfigurationError: The source's certificate is not trusted, the request malformed, or
                refused by the guard.
        """
        question = Question.of(self._system, method, url, headers or {}, basic_auth)
        if self._guard is not None:
            self._guard.check(url)
        hide(*question.tokens)
        request = build_request(
            question,
            url,
            headers=self._encoding_header | dict(headers or {}),
            content=json if content is None else content,
            basic_auth=basic_auth,
            user_agent=self._user_agent,
            timeout_seconds=min(self._limits.timeout_seconds, self._limits.deadline_seconds),
        )
        attempts = self._retries.max_attempts if is_repeatable else 1
        with open_span(
            "http", "client", method=method, url=question.url, system=self._system
        ) as opened_span:
            response = self._admitted(question, request, attempts, may_pass)
            if opened_span is not None:
                opened_span.set(status=response.status, byte_count=len(response.body))
            return response

    def _admitted(
        self,
        question: Question,
        request: httpx.Request,
        attempts: int,
        may_pass: Callable[[Response], bool],
    ) -> Response:
        """Return the answer, and report the outcome of the request to the breaker."""
        manners = self._manners_of(request.url.host)
        admission = self._admission(question, manners.breaker)
        try:
            response = self._persist(
                question,
                request,
                manners,
                attempts,
                may_pass,
            )
        except AttemptError as error:
            if error.is_of_proxy:  # no news of the system
                manners.breaker.give_up(admission)
                raise self._given_up(question, error, 0) from error
            raise self._given_up(question, error, manners.breaker.failed(str(error))) from error
        except SourceError:  # it answered
            if admission.is_news:
                manners.breaker.succeeded()
            raise
        except BaseException:  # a certificate, a quota, an interrupt: no news of the system
            manners.breaker.give_up(admission)
            raise
        if admission.is_news:
            manners.breaker.succeeded()
        return response

    def _manners_of(self, host: str) -> _Manners:
        """Return those of a host, the same for all of its ports."""
        name = host.lower().rstrip(".")
        with self._hosts_lock:
            if name not in self._hosts:
                key, rate = HostKey(name, self._system), self._rate_of(name)
                breaker = Breaker(self._state, key, self._breaker, now=self._now)
                limiter = RateLimiter(self._state, key, rate) if rate else None
                tally, places = Tally(self._state, key), self._hooks.places_of(name)
                self._hosts[name] = _Manners(limiter, breaker, tally, places)
            return self._hosts[name]

    def _admission(self, question: Question, breaker: Breaker) -> Admission:
        if self._breaker.ignores_breaker:
            return Admission(is_news=True)
        return breaker.admit(url=question.url)

    def _persist(
        self,
        question: Question,
        request: httpx.Request,
        manners: _Manners,
        attempts: int,
        may_pass: Callable[[Response], bool],
    ) -> Response:
        """Return the answer of the first attempt that succeeds; raise the last one's error."""
        route = Route(self._proxies, question) if self._proxies else None
        for attempt in stamina.retry_context(
            on=retry_decision,
            attempts=attempts,
            timeout=None,
            wait_initial=self._retries.wait_seconds,
            wait_jitter=self._retries.wait_seconds,
            wait_max=MAX_BACKOFF_SECONDS,
        ):
            with attempt:
                self._hooks.before_attempt()
                with manners.turn(self._hooks.before_sending):
                    self._hooks.before_sending()
                    if route is not None:
                        route.choose(request, attempt.num, is_last=attempt.num == attempts)
                    response = self._attempt(question, request, manners.tally, attempt.num, route)
                if attempt.num < attempts and may_pass(response):
                    wait = find_short_wait(response.headers, self._now)
                    raise AttemptError(question, attempt.num, _quote_body(question, response), wait)
                return response
        raise AssertionError("stamina ends by a return or an error")

    def _attempt(
        self,
        question: Question,
        request: httpx.Request,
        tally: Tally,
        number: int,
        route: Route | None,
    ) -> Response:
        started = time.monotonic()
        try:
            answer, body = self._receive(question, request)
        except httpx.TransportError as error:
            tally.add(NO_ANSWER, is_retry=number > 1)
            reason = question.quote(f"{type(error).__name__}: {error}")
            failure = route.broke(error, reason) if route is not None else ""
            raise AttemptError(
                question, number, failure or reason, is_of_proxy=bool(failure)
            ) from error
        except BaseException:
            if route is not None:
                route.give_up()
            raise
        status = answer.status_code
        tally.add(str(status), is_retry=number > 1)
        if route is not None and (failure := route.answered(status)):
            raise AttemptError(question, number, failure, is_of_proxy=True)
        answer.headers.encoding = "latin-1"
        headers = dict(answer.headers.items())
        response = Response(question.url, status, headers, body)
        throttled = self._retries.is_throttled(body)
        if throttled or status in self._retries.statuses:
            throttled = throttled or status in self._retries.throttling_statuses
            wait = parse_retry_after(headers, self._now)
            reason = _quote_body(question, response)
            raise AttemptError(question, number, reason, wait, is_throttled=throttled)
        log_answer(question, status, len(body), time.monotonic() - started)
        return response

    def _receive(self, question: Question, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        try:
            with (
                use_deadline(self._limits.deadline_seconds, self._hooks.before_sending),
                closing(self._transport.handle_request(request)) as answer,
            ):
                if answer.status_code in self._retries.statuses:
                    return answer, _start_of(answer)
                return answer, self._decoded(question, answer, self._whole(question, answer))
        except httpx.TransportError as error:
            if is_about_certificate(error):
                raise build_trust_error(question, error) from error
            raise

    def _whole(self, question: Question, answer: httpx.Response) -> bytes:
        pieces, size = list[bytes](), 0
        for piece in answer.iter_raw():
            pieces.append(piece)
            size += len(piece)
            if size > self._limits.max_body_bytes:
                raise self._endless(question, f"status {answer.status_code}, more than that")
        return b"".join(pieces)

    def _decoded(self, question: Question, answer: httpx.Response, body: bytes) -> bytes:
        if not self._limits.accepts_encodings or question.method == "HEAD":
            return body
        try:
            return decode_content(body, answer.headers, max_bytes=self._limits.max_body_bytes)
        except CutBodyError as error:
            raise httpx.RemoteProtocolError(str(error)) from error
        except TooLargeError as error:
            raise self._endless(question, f"{len(body)} bytes that decode to {error}") from error
        except EncodingError as error:
            raise SourceError(
                f"the body of {question.method} {question.url} cannot be decoded",
                expected=f"one of {ACCEPTED}, as its Content-Encoding says",
                found=question.quote(str(error)),
                remedy="report it to the source",
                system=self._system,
                url=question.url,
            ) from error

    def _endless(self, question: Question, found: str) -> SourceError:
        return SourceError(
            f"{self._system} answered {question.method} {question.url} without end",
            expected=f"a body of at most {self._limits.max_body_bytes} bytes",
            found=found,
            remedy="request less at a time",
            system=self._system,
            url=question.url,
        )

    def _given_up(
        self, question: Question, error: AttemptError, retry_in_seconds: float
    ) -> TransientError:
        when = "later"
        if error.retry_after is not None:
            when = (
                f"after {self._now() + timedelta(seconds=error.retry_after):%Y-%m-%d %H:%M:%S %Z}"
            )
        kind = ThrottledError if error.is_throttled else TransientError
        if error.is_of_proxy:
            kind = NoProxyLeftError
        return kind(
            f"{self._system} did not answer {question.method} {question.url}",
            expected="an answer that is whole, and not a status of overload or failure",
            found=str(error),
            remedy=f"see whether the source is up and can be reached from here; ask again {when}",
            retry_in_seconds=max(retry_in_seconds, error.retry_after or 0),
            system=self._system,
            url=question.url,
            attempts=error.number,
        )


def _quote_body(question: Question, response: Response) -> str:
    return f"status {response.status} with {question.quote(response.body.decode(errors='replace'))}"


def _start_of(answer: httpx.Response) -> bytes:
    """Return enough of the body to quote it."""
    body = b""
    for piece in answer.iter_raw():
        body += piece
        if len(body) >= ERROR_BODY_BYTES:
            break
    return body
