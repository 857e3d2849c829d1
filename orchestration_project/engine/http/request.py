"""Requests: what is asked, shown without secrets; what is refused, and what is retried when."""

import logging
import re
import ssl
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

import httpx
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

from orchestration_project.errors import ConfigurationError, SourceError
from orchestration_project.redaction import redacted
from orchestration_project.settings import without_secrets

SECRET_WORDS = re.compile("authorization|cookie|key|password|secret|signature|token")
SECRET_LENGTH = 4  # to hide every "1" of a text would hide the text, and no secret
TOKEN_LENGTH = 12  # in ?sort_key=symbol, just the name sounds like a secret
QUOTED_CHARACTERS = 200
HTTP_URL = re.compile(r"(https?://)([^/?#\s\\]+)((?:[/?#].*)?)", re.IGNORECASE | re.DOTALL)
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
SENT_AS_WRITTEN = "/?#:@!$&'()*+,;=%"  # of a path and a query, beside letters, digits and _.-~


TOO_MANY_REQUESTS = 429
RETRIED_STATUSES = frozenset({TOO_MANY_REQUESTS, 500, 502, 503, 504})


@dataclass(frozen=True)
class RetryPolicy:
    """When an attempt is followed by another one.

    Attributes:
        max_attempts: Attempts per request, the first included.
        wait_seconds: Wait before the second attempt, doubled for each further one; a random share
            of up to the same again is added.
        statuses: Statuses that are retried; any other is returned to the caller.
        throttling_statuses: Those of them that demand fewer requests.
        is_throttled: Whether an answer's body says to come later, of a source that says so with a
            status of success; then it is retried.
    """

    max_attempts: int = 5
    wait_seconds: float = 0.5
    statuses: Collection[int] = RETRIED_STATUSES
    throttling_statuses: Collection[int] = (TOO_MANY_REQUESTS,)
    is_throttled: Callable[[bytes], bool] = lambda _: False


@dataclass(frozen=True)
class Question:
    """One request as it may be shown: in logs, errors and state files."""

    system: str
    method: str
    url: str
    secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(
        cls,
        system: str,
        method: str,
        url: str,
        headers: Mapping[str, str],
        basic_auth: tuple[str, str] | None,
    ) -> "Question":
        """Return the request with the values that must not be shown set apart.

        Raises:
            SourceError: ``url`` is none.
        """
        try:
            secrets = _collect_secrets(url, headers, basic_auth)
            return cls(system, method, _hide(secrets, redacted(without_secrets(url))), secrets)
        except ValueError:  # its text quotes the URL, whose secrets are not known
            raise SourceError(
                f"{system}: what should be a URL cannot be asked over HTTP",
                expected="a URL such as https://host/path",
                remedy="correct the setting or the answer that the URL comes from",
                system=system,
            ) from None

    def quote(self, text: str) -> str:
        """Return the first characters of ``text``, escaped to ASCII, its secrets hidden."""
        return ascii(_hide(self.secrets, redacted(text))[:QUOTED_CHARACTERS])

    @property
    def tokens(self) -> tuple[str, ...]:
        """The secrets that are too long for a common word, without "Bearer"."""
        return tuple(
            secret
            for secret in self.secrets
            if len(secret) >= TOKEN_LENGTH and secret.split() == [secret]
        )


def _collect_secrets(
    url: str, headers: Mapping[str, str], basic_auth: tuple[str, str] | None
) -> tuple[str, ...]:
    """Return the secret values in every spelling in which a source may send them back."""
    parts = urlsplit(url)
    query = [pair.partition("=")[::2] for pair in parts.query.split("&")]
    named = [*headers.items(), *query]
    values = {value for name, value in named if SECRET_WORDS.search(name.lower())}
    of_url = unquote(parts.username or ""), unquote(parts.password or "")
    for user, password in (basic_auth or ("", ""), of_url):
        values |= {password, b64encode(f"{user}:{password}".encode()).decode()}
    values |= {parts.password or ""}
    values |= {value.split()[-1] for value in values if value.strip()}  # without "Bearer"
    values |= {unquote(value) for value in values}
    return tuple(sorted((value for value in values if len(value) >= SECRET_LENGTH), key=len))[::-1]


def _hide(secrets: tuple[str, ...], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def build_request(
    question: Question,
    url: str,
    *,
    headers: Mapping[str, str],
    content: object,
    basic_auth: tuple[str, str] | None,
    user_agent: str,
    timeout_seconds: float,
) -> httpx.Request:
    """Return the request that asks ``question``, with ``content``: bytes as they are, else as JSON.

    The credentials of ``url`` are among its headers.

    Raises:
        SourceError: ``url`` is not for HTTP.
        ConfigurationError: HTTP cannot express a header.
    """
    address, credentials = _split_credentials(question, url)
    sent = httpx.Headers({"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "identity"})
    if user_and_password := basic_auth or credentials:
        sent["Authorization"] = f"Basic {b64encode(':'.join(user_and_password).encode()).decode()}"
    if not all(HEADER_NAME.fullmatch(name) for name in headers) or not all(
        value.isascii() and value.isprintable() for value in headers.values()
    ):
        raise build_request_error(question)
    sent.update({name: value.strip(" ") for name, value in headers.items()})
    return httpx.Request(
        question.method,
        address,
        headers=sent,
        content=content if isinstance(content, bytes) else None,
        json=None if isinstance(content, bytes) else content,
        extensions={"timeout": httpx.Timeout(timeout_seconds).as_dict()},
    )


def _split_credentials(question: Question, url: str) -> tuple[str, tuple[str, str] | None]:
    match = HTTP_URL.fullmatch(url)
    if match is None:
        raise build_url_error(question)
    scheme, authority, path = match.groups()
    address = f"{scheme}{authority.rpartition('@')[2]}"
    try:
        parts = urlsplit(f"{scheme}{authority}")
        has_host = _has_host(address)
        address += quote(path, SENT_AS_WRITTEN)
    except (ValueError, httpx.InvalidURL):
        raise build_url_error(question) from None  # its text quotes the URL
    if not has_host:
        raise build_url_error(question)
    if parts.username is None:
        return address, None
    return address, (unquote(parts.username), unquote(parts.password or ""))


@lru_cache(maxsize=100)
def _has_host(address: str) -> bool:
    """Whether an address without path and credentials, the same of many requests, has a host.

    Raises:
        ValueError: Its port is out of range.
        httpx.InvalidURL: It is not one.
    """
    parts = urlsplit(address)
    host, _ = parts.hostname, parts.port  # raises ValueError of a port that there cannot be
    httpx.URL(address)
    return bool(host)


def is_about_certificate(error: BaseException | None) -> bool:
    """Whether ``error`` comes from a certificate that could not be verified."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def build_trust_error(question: Question, error: Exception) -> ConfigurationError:
    """Return the error of a source whose certificate no trusted authority signed."""
    return ConfigurationError(
        f"the certificate behind {question.url} is not trusted",
        expected="one of a public authority, or of the one in SSL_CERT_FILE or SSL_CERT_DIR",
        found=str(error),
        remedy="behind a proxy with its own authority, or with a private source, set "
        "SSL_CERT_FILE to the PEM file of that authority; else do not send anything there",
        system=question.system,
        url=question.url,
    )


def build_url_error(question: Question) -> SourceError:
    """Return the error of a URL with another scheme, or without a host."""
    return SourceError(
        f"{question.system}: {question.url!r} cannot be asked over HTTP",
        expected="a URL such as https://host/path",
        remedy="correct the setting or the answer that the URL comes from",
        system=question.system,
        url=question.url,
    )


def build_request_error(question: Question) -> ConfigurationError:
    """Return the error of a request that HTTP cannot express."""
    return ConfigurationError(
        f"{question.method} {question.url} cannot be sent as HTTP",
        expected="a method and headers of printable ASCII",
        remedy="look for a line break or an accent in a token or key",
        system=question.system,
        url=question.url,
    )


MAX_RETRY_AFTER_SECONDS = 60  # a longer wait holds a run for nothing: the run may come again
MAX_READ_RETRY_AFTER_SECONDS = 366 * 24 * 3600  # what is longer is taken for this

logger = logging.getLogger("orchestration_project.http")


class AttemptError(Exception):
    """One attempt failed in a way that another may not."""

    def __init__(
        self,
        question: Question,
        number: int,
        reason: str,
        retry_after: float | None = None,
        *,
        is_throttled: bool = False,
        is_of_proxy: bool = False,
    ) -> None:
        super().__init__(reason)
        self.question = question
        self.number = number
        self.retry_after = retry_after  # seconds, if the source named a time
        self.is_throttled = is_throttled  # the source asked for fewer requests
        self.is_of_proxy = is_of_proxy  # the source was not asked


def retry_decision(error: Exception) -> bool | float:
    """Return to stamina whether to retry: with its own backoff, or after so many seconds."""
    if not isinstance(error, AttemptError):
        return False
    if error.retry_after is None:
        return True
    return error.retry_after if error.retry_after <= MAX_RETRY_AFTER_SECONDS else False


def parse_retry_after(headers: Mapping[str, str], now: Callable[[], datetime]) -> float | None:
    """Return the seconds that the source asks us to wait; None if it does not say."""
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), MAX_READ_RETRY_AFTER_SECONDS)
    due = _parse_http_date(value)
    if due is None:
        return None
    # By the source's own clock where it sends its time: ours may differ.
    wait = due - (_parse_http_date(headers.get("date", "")) or now())
    return min(max(wait.total_seconds(), 0.0), MAX_READ_RETRY_AFTER_SECONDS)


def find_short_wait(headers: Mapping[str, str], now: Callable[[], datetime]) -> float | None:
    """Return the seconds that the source asks us to wait, where a run waits for so long."""
    wait = parse_retry_after(headers, now)
    return wait if wait is not None and wait <= MAX_RETRY_AFTER_SECONDS else None


def _parse_http_date(value: str) -> datetime | None:
    try:
        return parsedate_to_datetime(value).replace(tzinfo=UTC)  # HTTP dates are in GMT
    except (ValueError, OverflowError):  # the latter of numbers that no day has
        return None


def replace_lines_with_urls() -> None:
    """Replace, for the process, the log lines of urllib3 and stamina that hold whole URLs."""
    for name in ("connection", "connectionpool", "poolmanager", "response"):
        logging.getLogger(f"urllib3.{name}").addFilter(_refuse)
    set_on_retry_hooks([_log_retry])


def log_answer(question: Question, status: int, byte_count: int, elapsed_seconds: float) -> None:
    """Log that an attempt succeeded."""
    logger.debug(
        "%s: %s %s: status %d, %d bytes in %.3f s",
        question.system,
        question.method,
        question.url,
        status,
        byte_count,
        elapsed_seconds,
        extra={"event": "http_request_answered"},
    )


def _refuse(_: logging.LogRecord) -> bool:
    return False


def _log_retry(details: RetryDetails) -> None:
    error = details.caused_by
    if not isinstance(error, AttemptError):
        logger.warning(
            "retry of an unexpected error: %s",
            type(error).__name__,
            extra={"event": "unexpected_error_retried"},
        )
        return
    logger.warning(
        "%s: %s %s failed (attempt %d: %s); next attempt in %.2f s",
        error.question.system,
        error.question.method,
        error.question.url,
        error.number,
        error,
        details.wait_for,
        extra={"event": "http_request_retried"},
    )
