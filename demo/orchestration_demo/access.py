"""Access control: tokens for client credentials, and a rate limit per second."""

import base64
import hmac
import secrets
import time
from collections import deque
from collections.abc import Mapping

CLIENT_ID = "demo"
CLIENT_SECRET = "demo-secret"  # noqa: S105 - synthetic, and printed in the documents
TOKEN_SECONDS = 1_800


class RefusedError(Exception):
    """A request that is turned away: the HTTP ``status``, a text, and headers to send with it."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class Tokens:
    """Bearer tokens that this server gave out; a restart forgets them."""

    def __init__(self) -> None:
        self._expiry: dict[str, float] = {}

    def issue(self, authorization: str, grant_type: str) -> dict[str, object]:
        """Return the answer to a token request with an HTTP Basic ``authorization`` header."""
        expected = f"{CLIENT_ID}:{CLIENT_SECRET}".encode()
        if not hmac.compare_digest(_basic(authorization), expected):
            raise RefusedError(401, "Invalid client id or secret")
        if grant_type != "client_credentials":
            raise RefusedError(400, f"Unsupported grant_type: {grant_type!r}")
        token, now = secrets.token_urlsafe(32), time.monotonic()
        self._expiry = {name: end for name, end in self._expiry.items() if end >= now}
        self._expiry[token] = now + TOKEN_SECONDS
        return {"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS}

    def check(self, authorization: str | None) -> None:
        """Refuse an ``authorization`` header with an invalid token; no header is anonymous."""
        if authorization is None:
            return
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or self._expiry.get(token, 0) < time.monotonic():
            raise RefusedError(401, "Invalid or expired access token")


class RateLimit:
    """At most ``per_second`` requests within any second; 0 means as many as come."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._recent: deque[float] = deque()

    def check(self) -> None:
        """Count a request, or refuse it with the time to wait; what is refused does not count."""
        if not self._per_second:
            return
        now = time.monotonic()
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        if len(self._recent) >= self._per_second:
            raise RefusedError(429, "Too many requests", {"Retry-After": "1"})
        self._recent.append(now)


def _basic(authorization: str) -> bytes:
    """Return `client:secret` from an HTTP Basic header, or nothing."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:  # also of text that is not ASCII
        return b""
