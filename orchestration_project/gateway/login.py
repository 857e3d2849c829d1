"""Logging in by key, and out; and the session that lies between."""

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Scope

from orchestration_project.engine.contracts.addresses import choose_next_path
from orchestration_project.engine.contracts.roles import Principal
from orchestration_project.gateway.guard import AuthServices
from orchestration_project.gateway.limits import read_form
from orchestration_project.gateway.pages import login_page, session_page
from orchestration_project.gateway.request import (
    Refusal,
    address_of,
    current_user,
    header_of,
    require_same_origin,
)
from orchestration_project.services.access.rules.members import Member

WRONG_KEY = "This key does not open anything. Is it whole, and still valid?"


class Login:
    """The routes of logging in by key: at the root, beside the API."""

    def __init__(self, doors: AuthServices, *, has_provider: bool) -> None:
        self._doors = doors
        self._has_provider = has_provider

    def public_routes(self) -> list[Route]:
        """Return the routes that need no login."""
        return [
            Route("/login", self._page, methods=["GET"]),
            Route("/login", self._log_in, methods=["POST"]),
        ]

    def private_routes(self) -> list[Route]:
        """Return the routes of authenticated users."""
        return [
            Route("/session", _show_session, methods=["GET"]),
            Route("/logout", _send_to_session, methods=["GET"]),
            Route("/logout", self._log_out, methods=["POST"]),
        ]

    async def _page(self, request: Request) -> Response:
        """Show the form for a key; `next` is the path to go on to."""
        text = choose_next_path(request.query_params.get("next", ""))
        installation = self._doors.installation
        return login_page(installation, wanted=text, has_provider=self._has_provider)

    async def _log_in(self, request: Request) -> Response:
        """Begin a session by the form fields `key` and `next`; the cookie identifies it."""
        scope = request.scope
        require_same_origin(scope, self._doors.place, is_needed=False)
        form = await read_form(request)
        text = choose_next_path(form.get("next", ""))
        try:
            known_caller = await self._doors.by_key(scope, form.get("key", "").strip(), "login")
        except Refusal as refusal:
            problem = WRONG_KEY if refusal.status == 401 else refusal.text
            return login_page(
                self._doors.installation,
                wanted=text,
                has_provider=self._has_provider,
                problem=problem,
                status=refusal.status,
                headers=refusal.headers,
            )
        self._doors.note(known_caller)
        response = RedirectResponse(text, 303)
        await begin_session(self._doors, scope, response, known_caller.principal)
        return response

    async def _log_out(self, request: Request) -> Response:
        """End the session, and all of the user with the form field `everywhere=yes`."""
        user, token = current_user(), self._doors.token_of(request.scope)
        is_everywhere = (await read_form(request)).get("everywhere") == "yes"
        if is_everywhere:
            await self._doors.in_thread(self._doors.access.end_everywhere, user)
        if token:
            await self._doors.in_thread(self._doors.access.end, token)
        target = "everywhere" if is_everywhere else None
        await self._doors.record(request.scope, "logout", "done", user=user, target=target)
        response = RedirectResponse("/login", 303, headers={"clear-site-data": '"cache"'})
        response.delete_cookie(
            self._doors.cookie, secure=self._doors.place.is_secure, httponly=True, samesite="lax"
        )
        return response


async def begin_session(
    doors: AuthServices,
    scope: Scope,
    response: Response,
    principal: Principal,
    member: Member | None = None,
) -> None:
    """Begin a session, end the one that was, and put the cookie of the new one in ``response``.

    What the cookie holds is always made here: one that was planted in the browser is worth nothing.
    """
    before = doors.token_of(scope)
    if before:
        await doors.in_thread(doors.access.end, before)
    token = await doors.in_thread(doors.access.begin, principal, address_of(scope), member=member)
    await doors.record(scope, "login", "done", user=principal)
    response.set_cookie(
        doors.cookie,
        doors.signed(token),
        max_age=int(doors.access.limits.absolute.total_seconds()),
        secure=doors.place.is_secure,
        httponly=True,
        samesite="lax",  # strict would ask again whoever follows a link in an alert
    )


async def _show_session(request: Request) -> Response:
    """Return user, role, way of the login and key ID as JSON, or as a page to browsers."""
    user = current_user()
    if "text/html" in header_of(request.scope, "accept"):
        return session_page(user)
    session = {"user": user.name, "role": user.role.value, "way": user.way, "key_id": user.key_id}
    return JSONResponse(session, headers={"cache-control": "no-store"})


async def _send_to_session(_request: Request) -> Response:
    """Redirect to `/session`, whose page has the form."""
    return RedirectResponse("/session", 303)
