"""How much a request may be: its headers, its body, its time, and how many at once."""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.types import Message, Receive, Scope

from orchestration_project.engine.contracts.addresses import is_plain_path, parse_host
from orchestration_project.gateway.request import Place, Refusal, header_of

HEADER_BYTES = 16 * 1024
BODY_BYTES = 1024 * 1024
FORM_BYTES = 16 * 1024
BODY_SECONDS = 20
"""For a whole body: no program of ours or page of Dagster's takes a second."""

HOUR = timedelta(hours=1)

MAX_CONCURRENT_REQUESTS = 32
"""Requests of one key or person; a browser has 6 to a host in flight."""


def require_plain(scope: Scope, place: Place) -> None:
    """Refuse a request whose headers, host or path could mean two things.

    Raises:
        Refusal: Saying which.
    """
    number = len(scope["path"]) + len(scope["query_string"])
    if number + sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > HEADER_BYTES:
        raise Refusal(431, f"The headers are longer than {HEADER_BYTES // 1024} KiB.")
    if parse_host(header_of(scope, "host")) not in place.hosts:
        raise Refusal(421, "This host is not served here; ALLOWED_HOSTS may name it.")
    if not is_plain_path(scope["path"]):
        raise Refusal(400, "Invalid path.")


async def read_body(
    scope: Scope, receive: Receive, *, most: int = BODY_BYTES, seconds: float = BODY_SECONDS
) -> bytes:
    """Return the body of a request.

    Raises:
        Refusal: It is longer than ``most`` bytes, does not come in time, or breaks off.
    """
    announced = header_of(scope, "content-length")
    too_long = Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is over {most} bytes.")
    if announced.isdecimal() and int(announced) > most:
        raise too_long
    parts, size = list[bytes](), 0
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise Refusal(HTTPStatus.BAD_REQUEST, "The connection ended within the body.")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > most:
                    raise too_long
                if not message.get("more_body"):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
    except TimeoutError:
        text = f"The body did not come within {seconds} s."
        raise Refusal(HTTPStatus.REQUEST_TIMEOUT, text, {"connection": "close"}) from None


async def read_form(request: Request) -> dict[str, str]:
    """Return the first value of each field of a form.

    Raises:
        Refusal: It is not a form, or a large one.
    """
    media_type = header_of(request.scope, "content-type").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise Refusal(415, "Only a form is accepted here.")
    body = await read_body(request.scope, request.receive, most=FORM_BYTES)
    fields = parse_qs(body.decode("latin-1"))
    return {name: values[0] for name, values in fields.items()}


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a receive that gives ``body`` first, which was read before, and then what follows."""
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return first.pop() if first else await receive()

    return next_message


class HourlyQuota:
    """Counts the actions of each caller in the last hour, in this process."""

    def __init__(self) -> None:
        self._times: defaultdict[str, deque[datetime]] = defaultdict(deque)

    def take(self, caller: str, most: int, now: datetime) -> int:
        """Count one more and return 0; where ``most`` is reached, return the seconds to wait."""
        times = self._times[caller]
        while times and times[0] <= now - HOUR:
            times.popleft()
        if len(times) >= most:
            return int((times[0] + HOUR - now).total_seconds()) + 1
        times.append(now)
        return 0


class ConcurrencyLimiter:
    """Counts the concurrent requests of each caller."""

    def __init__(self) -> None:
        self._inside: Counter[str] = Counter()

    @contextmanager
    def one_more(self, who: str) -> Iterator[None]:
        """Count one more request of ``who`` while it lasts.

        Raises:
            Refusal: There are too many.
        """
        if self._inside[who] >= MAX_CONCURRENT_REQUESTS:
            raise Refusal(429, "Too many requests at once.", {"retry-after": "1"})
        self._inside[who] += 1
        try:
            yield
        finally:
            self._inside[who] -= 1
            if not self._inside[who]:
                del self._inside[who]
