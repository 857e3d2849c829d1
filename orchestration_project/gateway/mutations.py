"""Access rules for requests to Dagster's web server: reads pass, mutations need a permission.

A mutation is an `application/json` POST to exactly `/graphql` that names mutations which we know,
all of which the role may request. It is in the audit before Dagster sees it, and again with what
came of it before that is answered: what cannot be written down is not requested.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestration_project.engine.contracts.addresses import is_log_key
from orchestration_project.engine.contracts.roles import Role, may_call
from orchestration_project.gateway.graphql import (
    GraphqlDocument,
    outcome_of,
    read_document,
    target_of,
)
from orchestration_project.gateway.guard import AuthServices
from orchestration_project.gateway.limits import BODY_BYTES, read_body, replayed
from orchestration_project.gateway.request import Refusal, current_user, header_of, is_storable

LOG = logging.getLogger(__name__)

GRAPHQL = "/graphql"
REPORTS = ("/report_asset_materialization/", "/report_asset_check/", "/report_asset_observation/")
"""Mutations that report events without a run."""

MAX_SUBSCRIPTIONS = 16
"""Subscriptions of one websocket; a page of Dagster's has a few, and reconnects."""

READERS, SHORT_CHARACTERS = 2, 8 * 1024
"""Threads in which documents are read that are longer than those of the pages."""

TEXT_EXPECTED = 1003
"""The code with which a websocket ends on which anything but text comes (RFC 6455)."""

NUL = re.compile(r"\\u(?:0000|\{0+\})")
"""As GraphQL writes it within a text."""

LOGS = "/logs/"
"""Path of a run's compute logs."""

MAX_COMPLETE_MESSAGE_CHARACTERS = 1_000
"""Characters of a message that a subscription is over, which bears nothing but its id."""

NOTEBOOKS = ("/notebook", "/dagit/notebook")
"""Path at which Dagster reads a file of the machine that the request names."""

DEBUG_FILES = "/download_debug/"
"""Path at which Dagster sends all events of a run as stored, with stack traces."""


T = TypeVar("T")


class Mutations:
    """Stands before Dagster's web server, behind the guard."""

    def __init__(self, doors: AuthServices, dagster: ASGIApp) -> None:
        self._doors = doors
        self._dagster = dagster
        self._readers = CapacityLimiter(READERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to Dagster, or refuse it."""
        if scope["type"] == "websocket":
            receive, send = self._subscriptions_alone(scope, receive, send)
            return await self._dagster(scope, receive, send)
        if scope["type"] == "lifespan":
            return await self._dagster(scope, receive, send)
        if scope["method"] in ("GET", "HEAD"):
            if scope["path"] == GRAPHQL and "text/html" not in header_of(scope, "accept"):
                raise Refusal(405, "GraphQL requests must use POST.", {"allow": "POST"})
            if scope["path"] in NOTEBOOKS or scope["path"].startswith(DEBUG_FILES):
                await self._require_role(scope, [f"{scope['method']} {scope['path']}"], "")
            _require_log(scope)
            return await self._dagster(scope, receive, send)
        is_report = scope["path"].startswith(REPORTS)
        if scope["method"] != "POST" or not (is_report or scope["path"] == GRAPHQL):
            raise Refusal(405, "This path does not accept this method.", {"allow": "GET, HEAD"})
        _require_json(scope)
        scope = _normalise_scope(scope)
        body = await read_body(scope, receive, seconds=self._doors.body_seconds)
        judged = _report(scope) if is_report else await self._read(_read_mutations, body)
        operations, target, untyped = judged
        if not operations:
            return await self._dagster(scope, replayed(body, receive), send)
        await self._require_role(scope, operations, target)
        await self._require_types(scope, operations, target, untyped)
        return await self._audited(scope, replayed(body, receive), send, operations, target)

    def _subscriptions_alone(
        self, scope: Scope, receive: Receive, send: Send
    ) -> tuple[Receive, Send]:
        """Return a receive that ends a websocket on which anything but a subscription is requested.

        And a send that removes the subscriptions that ended.

        Raises:
            Refusal: It is not the websocket of GraphQL.
        """
        if scope["path"] != GRAPHQL:
            raise Refusal(404, "Websocket not found.")

        begun = set[str]()

        async def next_message() -> Message:
            message = await receive()
            if message["type"] != "websocket.receive":
                return message
            text = message.get("text")
            if text is None:
                LOG.warning(
                    "%s sent a binary frame by websocket",
                    current_user().name,
                    extra={"event": "binary_frame_rejected"},
                )
                await send({"type": "websocket.close", "code": TEXT_EXPECTED})
                return {"type": "websocket.disconnect", "code": TEXT_EXPECTED}
            await self._read(_require_subscription, text, begun)
            return message

        async def send_on(message: Message) -> None:
            text = message.get("text") or ""
            sent = _parse_object(text) if 0 < len(text) <= MAX_COMPLETE_MESSAGE_CHARACTERS else {}
            if sent.get("type") == "complete":
                begun.discard(str(sent.get("id")))
            await send(message)

        return next_message, send_on

    async def _read(self, read: Callable[..., T], text: bytes | str, *more: Any) -> T:
        """Return the result of ``read`` for a text; a long one is read in a thread."""
        if len(text) <= SHORT_CHARACTERS:
            return read(text, *more)
        return await run_sync(read, text, *more, limiter=self._readers)

    async def _require_role(self, scope: Scope, operations: list[str], target: str) -> None:
        user = current_user()
        refused = [name for name in operations if not _may(user.role, name)]
        if refused:
            await self._note_refusal(scope, operations, target, f"{user.role} may not")
            raise Refusal(403, f"{user.name} is {user.role}, and may not request {refused[0]}.")

    async def _require_types(
        self, scope: Scope, operations: list[str], target: str, untyped: Sequence[str]
    ) -> None:
        if untyped:
            await self._note_refusal(scope, operations, target, f"no __typename of {untyped[0]}")
            text = f"Ask for __typename in what {untyped[0]} returns: the audit goes by it."
            raise Refusal(400, text)

    async def _note_refusal(
        self, scope: Scope, operations: list[str], target: str, reason: str
    ) -> None:
        values = {"user": current_user(), "target": target, "reason": reason}
        await self._doors.record(scope, _join_names(operations), "refused", **values)

    async def _audited(
        self, scope: Scope, receive: Receive, send: Send, operations: list[str], target: str
    ) -> None:
        user, name = current_user(), _join_names(operations)
        await self._doors.record(scope, name, "asked", user=user, target=target)
        answer = list[Message]()

        async def keep(message: Message) -> None:
            answer.append(message)

        outcome, reason = "failed", "no answer"
        try:
            await self._dagster(scope, receive, keep)
            outcome, reason = _read_outcome(answer)
        finally:
            await self._doors.record(
                scope, name, outcome, step=2, user=user, target=target, reason=reason
            )
        for message in answer:
            await send(message)


def _read_outcome(answer: Sequence[Message]) -> tuple[str, str | None]:
    status = answer[0]["status"]
    return outcome_of(status, b"".join(entry.get("body", b"") for entry in answer))


def _may(role: Role, operation: str) -> bool:
    """Whether a role may request a mutation; what is named by method and path is an admin's."""
    return role.covers(Role.ADMIN) if " " in operation else may_call(role, operation)


def _join_names(operations: list[str]) -> str:
    return " ".join(operations)


def _require_json(scope: Scope) -> None:
    """Refuse any other type: a page of another site may send those without asking.

    Raises:
        Refusal: It is another, or there is more than one.
    """
    media_type = header_of(scope, "content-type").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise Refusal(415, "Only application/json is accepted here.")


def _normalise_scope(scope: Scope) -> Scope:
    """Return the request so that Dagster reads the body that is judged here, and nothing else.

    Of any other type, also one in other letters, it takes the query from the address.
    """
    kept_pairs = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    headers = [*kept_pairs, (b"content-type", b"application/json")]
    query = b"" if scope["path"] == GRAPHQL else scope["query_string"]
    return {**scope, "headers": headers, "query_string": query}


def _report(scope: Scope) -> tuple[list[str], str, Sequence[str]]:
    base, _, asset = scope["path"][1:].partition("/")
    return [f"POST /{base}"], json.dumps({"asset": asset}), ()


def _read_mutations(body: bytes) -> tuple[list[str], str, Sequence[str]]:
    """Return the mutations of a GraphQL request, what they are about, and which are untyped."""
    text, variables = _extract_query(_parse_object(body))
    document = read_document(text)
    if "subscription" in document.kinds:
        raise Refusal(400, "A subscription must use a websocket.")
    if "mutation" not in document.kinds:
        return [], "", ()
    return list(document.mutations), target_of(text, variables), document.untyped


def _parse_object(body: bytes | str) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise Refusal(400, "The body is not a JSON object.")
    return document


def _extract_query(data: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    text, variables = data.get("query"), data.get("variables") or {}
    if isinstance(variables, str):
        variables = _parse_object(variables)
    if not isinstance(text, str) or not isinstance(variables, dict):
        raise Refusal(400, "The body has no GraphQL query, or invalid variables.")
    _require_texts([text, variables, data.get("operationName")])
    return text, variables


def _require_texts(given: Sequence[Any]) -> None:
    """Refuse texts that Dagster's storage cannot hold, and fails by."""
    try:
        are_storable = is_storable(list(given))
    except RecursionError:
        raise Refusal(400, "The variables are nested too deeply.") from None
    if not are_storable or NUL.search(given[0]):
        raise Refusal(400, "A text has a NUL or an unpaired surrogate.")


def _require_log(scope: Scope) -> None:
    """Refuse the path of a log that no run can have."""
    path = scope["path"]
    if path.startswith(LOGS) and not is_log_key(path.removeprefix(LOGS).split("/")[:-1]):
        raise Refusal(404, "Log not found.")


def _require_subscription(sent: str, begun: set[str]) -> None:
    """Refuse a message without a subscription, or one too many; ``begun`` are those that go on."""
    if len(sent) > BODY_BYTES:
        raise Refusal(413, "The message is too long.")
    data = _parse_object(sent)
    if data.get("type") == "stop":
        begun.discard(str(data.get("id")))
    if data.get("type") != "start":
        return
    begun.add(str(data.get("id")))
    if len(begun) > MAX_SUBSCRIPTIONS:
        raise Refusal(429, f"At most {MAX_SUBSCRIPTIONS} subscriptions at once.")
    payload = data.get("payload")
    if not isinstance(payload, dict):
        raise Refusal(400, "The message has no payload.")
    document: GraphqlDocument = read_document(_extract_query(payload)[0])
    if document.kinds != {"subscription"}:
        raise Refusal(400, "Only subscriptions may use a websocket.")
