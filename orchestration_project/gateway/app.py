"""The gateway's parts put together: routes anybody may ask for, those of who is known, Dagster."""

from collections.abc import Sequence
from http import HTTPStatus

from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestration_project.gateway.api.origins import AllowedOrigins
from orchestration_project.gateway.connection_limits import mark_authenticated
from orchestration_project.gateway.guard import Doors, Guard
from orchestration_project.gateway.headers import Edge
from orchestration_project.gateway.login import Login
from orchestration_project.gateway.mutations import Mutations
from orchestration_project.gateway.refusing import Refusing


def create_app(
    doors: Doors,
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
        doors: Who may come in, and the audit.
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
        [*login.private_routes(), *private],
        redirect_slashes=False,
        default=Mutations(doors, dagster),
    )
    for_anybody.default = _not_found  # never Dagster, whatever is missing here
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
    answering = AllowedOrigins(Refusing(guard, doors.place), origins)
    return Edge(answering, doors.place, doors.access.clock)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("Not Found", HTTPStatus.NOT_FOUND)(scope, receive, send)
