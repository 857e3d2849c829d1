"""Pages of the shop for members: a login form with a CSRF token, and a session in a cookie."""

import secrets
from collections.abc import Sequence
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

USER = "crawler"
WRONG_PASSWORD = "wrong-password"  # noqa: S105 - refused
MEMBER_PAGES = 5


class Members:
    """Routes for members. Every password is taken but one: sessions are what is shown here."""

    def __init__(self) -> None:
        self._tokens: set[str] = set()
        self._sessions: set[str] = set()

    @property
    def routes(self) -> Sequence[Route]:
        """The routes."""
        return [
            Route("/login", self._form),
            Route("/login", self._login, methods=["POST"]),
            Route("/members", self._list),
            Route("/members/{number:int}", self._page),
            Route("/members/expired", lambda _: RedirectResponse("/login", 302)),
        ]

    def _form(self, _: Request) -> Response:
        token = secrets.token_urlsafe(16)
        self._tokens.add(token)
        answer = HTMLResponse(
            "<form action=/search><input name=q></form>"
            '<form id=login method=post><input type=hidden name=csrf value="'
            f'{token}"><input name=user><input type=password name=password>'
            "<button name=go value=1>Log in</button></form>"
        )
        answer.set_cookie("csrf", token, httponly=True)
        return answer

    async def _login(self, request: Request) -> Response:
        sent = dict(parse_qsl((await request.body()).decode()))
        user, password, token = (sent.get(name, "") for name in ("user", "password", "csrf"))
        is_token = token in self._tokens and request.cookies.get("csrf") == token
        if not is_token or sent.get("go") != "1":
            return HTMLResponse("<h1>the form has expired</h1>", 419)
        if user != USER or password == WRONG_PASSWORD:
            return HTMLResponse(f"<h1>{user}, {password}: no such member</h1>")
        session = secrets.token_urlsafe(16)
        self._sessions.add(session)
        answer = RedirectResponse("/members", 303)
        answer.set_cookie("session", session, httponly=True, path="/")
        answer.set_cookie("theme", "light", expires=3_600)
        answer.delete_cookie("csrf")
        return answer

    def _is_member(self, request: Request) -> bool:
        return request.cookies.get("session") in self._sessions and "csrf" not in request.cookies

    def _list(self, request: Request) -> Response:
        if not self._is_member(request):
            return RedirectResponse("/login", 302)
        links = "".join(
            f'<a class=member href="/members/{each}">{each}</a>'
            for each in range(1, MEMBER_PAGES + 1)
        )
        return HTMLResponse(f"<a href=/logout>log out</a>{links}")

    def _page(self, request: Request) -> Response:
        if not self._is_member(request):
            return RedirectResponse("/login", 302)
        number = request.path_params["number"]
        return HTMLResponse(f"<a href=/logout>log out</a><i class=sku>M{number}</i>")
