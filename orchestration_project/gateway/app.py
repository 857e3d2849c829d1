"""The gateway's parts put together: routes anybody may request, those of who is known, Dagster."""

from collections.abc import Sequence
from http import HTTPStatus

from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestration_project.gateway.api.openapi import PATH
from orchestration_project.gateway.api.problems import problem_of_refusal
from orchestration_project.gateway.bar import style_route
from orchestration_project.gateway.connection_limits import mark_authenticated
from orchestration_project.gateway.guard import AuthServices, Guard
from orchestration_project.gateway.headers import Edge
from orchestration_project.gateway.limits import require_plain
from orchestration_project.gateway.login import Login
from orchestration_project.gateway.mutations import Mutations
from orchestration_project.gateway.request import Place, Refusal


class RefusalHandler:
    """Stands before the guard, behind what adds headers to every answer."""

    def __init__(self, app: ASGIApp, place: Place) -> None:
        self._app = app
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and answer it where it is refused."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        has_begun = False

        async def sent(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            require_plain(scope, self._place)
            await self._app(scope, receive, sent)
        except Refusal as refusal:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 4000 + refusal.status})
            elif not has_begun:
                is_of_api = scope["path"].startswith(f"{PATH}/")
                answer = problem_of_refusal(refusal).response() if is_of_api else refusal.response()
                await answer(scope, receive, send)
        return None


PREFLIGHT_SECONDS = 600

BROWSER_HEADERS = frozenset(
    {
        *(b"origin", b"cookie", b"sec-fetch-site"),
        *(b"sec-fetch-mode", b"sec-fetch-dest", b"sec-fetch-user"),
    }
)
"""Headers without which a request is as good as one of a program: it needs a key."""


class AllowedOrigins:
    """Answers the preflight requests of browsers across origins, and lets them read the answers.

    It stands before all that may refuse a request, or a page could not read why.
    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self._app = app
        allowed = [name.lower() for name in allowed]  # as browsers send them
        self._allowed = frozenset(name.encode() for name in allowed)
        self._across = CORSMiddleware(
            self._by_key_alone,
            allow_origins=allowed,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=[
                *("Authorization", "X-API-Key", "Content-Type"),
                *("Idempotency-Key", "Last-Event-ID", "Range", "traceparent"),
            ],
            expose_headers=[
                *("ETag", "Content-Range", "Retry-After", "X-Request-Id", "X-Trace-Id"),
            ],
            max_age=PREFLIGHT_SECONDS,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request pass; one of an allowed origin as if no browser had sent it."""
        if self._is_across(scope):
            await self._across(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_across(self, scope: Scope) -> bool:
        if scope["type"] != "http" or not scope["path"].startswith(f"{PATH}/"):
            return False
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        return len(origins) == 1 and origins[0] in self._allowed

    async def _by_key_alone(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [each for each in scope["headers"] if each[0] not in BROWSER_HEADERS]
        await self._app({**scope, "headers": headers}, receive, send)


def create_app(
    doors: AuthServices,
    dagster: ASGIApp,
    *,
    has_provider: bool = False,
    public: Sequence[BaseRoute] = (),
    private: Sequence[BaseRoute] = (),
    is_open: bool = False,
    origins: Sequence[str] = (),
) -> ASGIApp:
    """Return the gateway around ``dagster``.

    Args:
        doors: Authentication, and the audit log.
        dagster: Dagster's web server; it is asked for whatever no route answers.
        has_provider: Whether ``public`` has the routes of OpenID Connect.
        public: Routes for everybody, at paths that `guard.PUBLIC_PATHS` or its prefixes name.
        private: Routes for whoever is known.
        is_open: Whether everybody is known, as an admin.
        origins: Of pages elsewhere that may call the API with a key.
    """
    login = Login(doors, has_provider=has_provider)
    for_anybody = Router([*login.public_routes(), *public], redirect_slashes=False)
    for_known = Router(
        [*login.private_routes(), style_route(), *private],
        redirect_slashes=False,
        default=Mutations(doors, dagster),
    )
    for_anybody.default = _answer_not_found  # never Dagster, whatever is missing here
    answered = ExceptionMiddleware(for_known)

    async def for_authenticated(scope: Scope, receive: Receive, send: Send) -> None:
        mark_authenticated(scope)
        await answered(scope, receive, send)

    guard = Guard(
        doors,
        public=ExceptionMiddleware(for_anybody),  # or a refusal that a route raises would be a 500
        private=for_authenticated,
        is_open=is_open,
    )
    answering = AllowedOrigins(RefusalHandler(guard, doors.place), origins)
    return Edge(answering, doors.place, doors.access.clock)


async def _answer_not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("Not Found", HTTPStatus.NOT_FOUND)(scope, receive, send)
