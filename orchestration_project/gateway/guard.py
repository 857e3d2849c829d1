"""Authentication middleware for HTTP and WebSocket, on every path."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote

import anyio
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from itsdangerous import BadSignature, Signer
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.errors import OrchestrationError
from orchestration_project.gateway.bar import Installation
from orchestration_project.gateway.limits import BODY_SECONDS, ConcurrencyLimiter
from orchestration_project.gateway.pages import problem_page
from orchestration_project.gateway.request import (
    CURRENT,
    REAUTHENTICATE,
    REQUEST_ID,
    Place,
    Refusal,
    address_of,
    header_of,
    headers_of,
    require_same_origin,
)
from orchestration_project.services.access import (
    Access,
    AccessLog,
    AccessLogEntry,
    DeniedCaller,
    KnownCaller,
)

LOG = logging.getLogger(__name__)

PUBLIC_PATHS = frozenset(
    {"/login", "/auth/oidc/login", "/auth/oidc/callback", "/healthz", "/readyz"}
)
"""All that anybody may request; of these, what no route answers is not found, and no more."""

PUBLIC_PREFIXES = ("/hooks/",)
"""Whatever lies below verifies by itself who sent it."""

RECHECK_SECONDS = 5
"""Interval at which a websocket or a followed log is authenticated again."""

UNAVAILABLE_MESSAGE = "The database of keys and sessions does not respond. Try again in a moment."
UNAVAILABLE_RETRY_SECONDS = 5

EXPIRED_KEY_AUDIT_INTERVAL = timedelta(minutes=1)
"""A machine whose key has ended may send requests for ever: so often it is in the audit."""

THREADS = 8
"""Threads of the guard alone, so that slow GraphQL queries do not delay logins and logouts."""

T = TypeVar("T")


class AuthServices:
    """Shared part of login, guard and mutations: authentication and audit."""

    def __init__(
        self,
        access: Access,
        audit: AccessLog,
        place: Place,
        installation: Installation,
        *,
        secret: str,
        recheck_seconds: float = RECHECK_SECONDS,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self.access = access
        self.audit = audit
        self.place = place
        self.installation = installation
        self.recheck_seconds = recheck_seconds
        self.body_seconds = body_seconds
        self.cookie = "__Host-session" if place.is_secure else "session"
        self._signer = Signer(secret, salt="orchestration_project.session")
        self._threads = CapacityLimiter(THREADS)
        self._notes = set[asyncio.Task[None]]()
        self._noted_at: dict[str, datetime] = {}

    async def in_thread(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Return the result of ``function``, which waits for the database, without waiting here.

        Raises:
            Refusal: The database does not answer.
        """
        try:
            return await run_sync(partial(function, *arguments, **named), limiter=self._threads)
        except OrchestrationError as error:
            LOG.error(
                "the database of keys and sessions does not respond: %s",
                error,
                extra={"event": "access_unavailable"},
            )
            raise Refusal(
                503, UNAVAILABLE_MESSAGE, {"retry-after": str(UNAVAILABLE_RETRY_SECONDS)}
            ) from error

    def signed(self, token: str) -> str:
        """Return the content of a session's cookie."""
        return self._signer.sign(token).decode()

    def token_of(self, scope: Scope) -> str | None:
        """Return the token in a request's cookie; None if there is none that we signed."""
        for line in headers_of(scope, "cookie"):
            for part in line.split(";"):
                name, _, value = part.strip().partition("=")
                if name == self.cookie:
                    with suppress(BadSignature):
                        return self._signer.unsign(value.encode("latin-1")).decode()
        return None

    async def record(self, scope: Scope, operation: str, outcome: str, **said: Any) -> None:
        """Add a row about a request to the audit."""
        entry = AccessLogEntry(scope[REQUEST_ID], address_of(scope), operation, outcome, **said)
        await self.in_thread(self.audit.record, entry)

    async def by_key(self, scope: Scope, text: str, operation: str) -> KnownCaller:
        """Return whose key it is.

        Raises:
            Refusal: The key is unknown, or no key is read for now; always in the same words.
        """
        caller = await self.in_thread(self.access.by_key, text, address_of(scope))
        if isinstance(caller, KnownCaller):
            return caller
        await self._refuse(scope, caller, operation)
        raise AssertionError("a refusal is raised")

    async def count_failure(self, scope: Scope) -> None:
        """Count a login that failed in another way than by key.

        Raises:
            Refusal: Too many did from this address.
        """
        self._refuse_locked(await self.in_thread(self.access.failed_elsewhere, address_of(scope)))

    def _refuse_locked(self, refused: DeniedCaller) -> None:
        if refused.until:  # not in the audit: who is locked out could fill the disk with it
            seconds = (refused.until - self.access.clock.now()).total_seconds()
            text = "Too many logins failed. Wait some minutes, then try again."
            raise Refusal(429, text, {"retry-after": str(int(seconds) + 1)})

    async def _refuse(self, scope: Scope, refused: DeniedCaller, operation: str) -> None:
        self._refuse_locked(refused)
        if not (refused.is_over and self._is_noted(refused.key_id or "")):
            await self.record(scope, operation, "refused", key_id=refused.key_id, reason="key")
        raise unknown()

    def _is_noted(self, key_id: str) -> bool:
        """Whether it was written down a moment ago that a key is over; it counts as that now."""
        now, before = self.access.clock.now(), self._noted_at.get(key_id)
        if before and before <= now < before + EXPIRED_KEY_AUDIT_INTERVAL:
            return True
        self._noted_at[key_id] = now
        return False

    def note(self, found: KnownCaller) -> None:
        """Write down a use, later: a request shall not wait for who writes to the database."""
        if found.is_to_note:
            task = asyncio.create_task(self._note(found.principal))
            self._notes.add(task)
            task.add_done_callback(self._notes.discard)

    async def _note(self, principal: Principal) -> None:
        try:
            await self.in_thread(self.access.note_use, principal)
        except Refusal:
            LOG.warning(
                "the use by %s could not be recorded",
                principal.name,
                extra={"event": "use_not_recorded"},
            )


def unknown() -> Refusal:
    """Return the one answer to whoever is not known, whatever they brought."""
    return Refusal(
        401,
        "Log in at /login, or send a key as X-API-Key or Authorization: Bearer.",
        {"www-authenticate": "Bearer"},
    )


class Guard:
    """Serves public paths to everybody, and the others to authenticated callers."""

    def __init__(
        self, doors: AuthServices, *, public: ASGIApp, private: ASGIApp, is_open: bool = False
    ) -> None:
        """Let everybody in as an admin where it ``is_open``."""
        self._doors = doors
        self._public = public
        self._private = private
        self._is_open = is_open
        self._crowd = ConcurrencyLimiter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            return await self._private(scope, receive, send)
        if scope["type"] == "http" and is_public(scope["path"]):
            return await self._public(scope, receive, send)
        try:
            who = await self._who(scope)
        except Refusal as refusal:
            if not _is_page_request(scope):
                raise
            answer = _send_to_login(scope) if refusal.status == 401 else problem_page(refusal)
            return await answer(scope, receive, send)
        CURRENT.set(who.principal)
        scope[REAUTHENTICATE] = partial(self._is_still, who.principal, scope)
        self._doors.note(who)
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if changes:
            await self._require_own_page(scope, who.principal)
        with self._crowd.one_more(f"{scope['type']} {who.principal.name}"):
            if scope["type"] == "websocket":
                return await self._while_known(who.principal, scope, receive, send)
            return await self._private(scope, receive, send)

    async def _require_own_page(self, scope: Scope, principal: Principal) -> None:
        """Refuse requests that a page of another site makes in a user's name, and record them."""
        is_cookie = principal.way == "session"
        try:
            require_same_origin(scope, self._doors.place, is_needed=is_cookie)
        except Refusal:
            values = {"user": principal, "reason": "another site"}
            await self._doors.record(scope, _name_operation(scope), "refused", **values)
            raise

    async def _who(self, scope: Scope) -> KnownCaller:
        """Return who asks: a key that is sent counts before a cookie.

        Raises:
            Refusal: The caller is unknown.
        """
        if self._is_open:
            return KnownCaller(Principal("anybody", Role.ADMIN, "open"))
        key = _read_key(scope)
        if key is not None:
            return await self._doors.by_key(scope, key, _name_operation(scope))
        token = self._doors.token_of(scope)
        who = await self._doors.in_thread(self._doors.access.by_session, token) if token else None
        if who is None:
            raise unknown()
        return who

    async def _while_known(
        self, principal: Principal, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve a websocket until it ends, or until who opened it may no more."""

        async def watch() -> None:
            while await self._is_still(principal, scope):
                await anyio.sleep(self._doors.recheck_seconds)
            group.cancel_scope.cancel()

        refusal: Refusal | None = unknown()
        async with anyio.create_task_group() as group:
            group.start_soon(watch)
            try:
                await self._private(scope, receive, send)
                refusal = None
            except Refusal as found:  # a group of tasks would wrap it
                refusal = found
            group.cancel_scope.cancel()
        if refusal:
            raise refusal

    async def _is_still(self, principal: Principal, scope: Scope) -> bool:
        try:
            return (await self._who(scope)).principal == principal
        except Refusal:  # also without the database: an authenticated caller comes again
            return False


def is_public(path: str) -> bool:
    """Whether anybody may request ``path``, which is compared letter by letter."""
    return path in PUBLIC_PATHS or path.startswith(PUBLIC_PREFIXES)


def _read_key(scope: Scope) -> str | None:
    """Return the key that a request brings, None if it brings none."""
    key, bearer = header_of(scope, "x-api-key"), header_of(scope, "authorization")
    if key and bearer:
        raise Refusal(400, "The request has two keys.")
    if bearer:
        kind, _, key = bearer.partition(" ")
        return key.strip() if kind.lower() == "bearer" else ""
    return key or None


def _name_operation(scope: Scope) -> str:
    return f"{scope.get('method', 'WEBSOCKET')} {scope['path']}"


def _is_page_request(scope: Scope) -> bool:
    is_read = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
    return is_read and "text/html" in header_of(scope, "accept") and not _has_key(scope)


def _has_key(scope: Scope) -> bool:
    return bool(headers_of(scope, "x-api-key") or headers_of(scope, "authorization"))


def _send_to_login(scope: Scope) -> RedirectResponse:
    query = scope["query_string"].decode("latin-1")
    text = quote(scope["path"]) + (f"?{query}" if query else "")
    return RedirectResponse(f"/login?next={quote(text, safe='')}", 303)
