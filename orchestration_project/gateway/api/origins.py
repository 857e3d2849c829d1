"""Pages of other origins: those that are allowed may call the API with a key, never by a cookie."""

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestration_project.gateway.api.openapi import PATH

PREFLIGHT_SECONDS = 600

OF_BROWSERS = frozenset(
    {
        *(b"origin", b"cookie", b"sec-fetch-site"),
        *(b"sec-fetch-mode", b"sec-fetch-dest", b"sec-fetch-user"),
    }
)
"""Headers without which a request is as good as one of a program: it needs a key."""


class AllowedOrigins:
    """Answers what browsers ask before they call across origins, and lets them read the answer.

    It stands before all that may refuse a request, or a page could not read why.
    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self._app = app
        allowed = [each.lower() for each in allowed]  # as browsers send them
        self._allowed = frozenset(each.encode() for each in allowed)
        self._across = CORSMiddleware(
            self._by_key_alone,
            allow_origins=allowed,
            allow_methods=["GET", "POST"],
            allow_headers=[
                *("Authorization", "X-API-Key", "Content-Type"),
                *("Idempotency-Key", "Last-Event-ID", "Range"),
            ],
            expose_headers=["ETag", "Content-Range", "Retry-After", "X-Request-Id"],
            max_age=PREFLIGHT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass; one of an allowed origin as if no browser had sent it."""
        is_across = self._is_across(scope)
        await (self._across if is_across else self._app)(scope, receive, send)

    def _is_across(self, scope: Scope) -> bool:
        if scope["type"] != "http" or not scope["path"].startswith(f"{PATH}/"):
            return False
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        return len(origins) == 1 and origins[0] in self._allowed

    async def _by_key_alone(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [each for each in scope["headers"] if each[0] not in OF_BROWSERS]
        await self._app({**scope, "headers": headers}, receive, send)
