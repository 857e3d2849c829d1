"""Dagster's GraphQL, asked from within by the way that its pages take: guard, roles, audit hold."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from orchestration_project.gateway.api.problems import (
    ProblemError,
    WrongField,
    not_found,
    problem_of_refusal,
)
from orchestration_project.gateway.request import Refusal

KEPT_HEADERS = frozenset({b"host", b"cookie", b"authorization", b"x-api-key", b"user-agent"})
"""Headers of the caller's request that identify the caller; its origin is already verified."""

CONFLICTS = ("TerminateRunFailure", "RunConflict", "ConflictingExecutionParamsError")
NOT_FOUND = ("NotFoundError", "NotFound")

PAUSED = "PausedError"
"""Class of the error of a launch that a pause refuses."""


class Dagster:
    """Sends questions to ``app``, which serves `/graphql`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def ask(
        self, caller: Scope, document: str, variables: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return ``data`` of the answer to a question that the caller of a request asks.

        Raises:
            ProblemError: Dagster refused, or could not answer.
        """
        body = json.dumps({"query": document, "variables": variables}).encode()
        try:
            content = await _post_body(self._app, _build_scope(caller, len(body)), body)
        except Refusal as refusal:
            raise problem_of_refusal(refusal) from refusal
        answer = _parse_answer(content)
        messages = [str(error.get("message")) for error in answer.get("errors") or []]
        if messages or answer.get("data") is None:  # an error in `data` makes the status 500
            raise ProblemError(500, "; ".join(messages) or "Dagster did not answer")
        return answer["data"]


def result(data: Mapping[str, Any], name: str, *expected: str) -> Mapping[str, Any]:
    """Return the field ``name`` of an answer, one of Dagster's unions.

    Raises:
        ProblemError: It is of none of the ``expected`` types, but reports an error.
    """
    member = data[name]
    kind = member["__typename"]
    if kind in expected:
        return member
    texts = [str(error["message"]) for error in member.get("errors") or []]
    detail = str(member.get("message") or "; ".join(texts) or kind).strip()
    if kind == "UnauthorizedError":
        raise ProblemError(403, "Dagster's permissions do not let you do this")
    if kind.endswith(NOT_FOUND):
        raise not_found(detail)
    if kind == "RunConfigValidationInvalid":
        wrong = [WrongField(field="config", problem=text) for text in texts]
        raise ProblemError(422, "the job cannot take this config", errors=wrong)
    is_conflict = kind in CONFLICTS or member.get("className") == PAUSED
    raise ProblemError(409 if is_conflict else 500, detail)


def _parse_answer(content: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(content)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _build_scope(caller: Scope, body_bytes: int) -> Scope:
    """Return the scope of a request for `/graphql` that the caller's own page might send."""
    kept_pairs = [(name, value) for name, value in caller["headers"] if name in KEPT_HEADERS]
    host = next((value for name, value in kept_pairs if name == b"host"), b"")
    headers = [
        *kept_pairs,
        (b"origin", caller["scheme"].encode() + b"://" + host),
        (b"content-type", b"application/json"),
        (b"content-length", str(body_bytes).encode()),
    ]
    dropped = ("app", "router", "endpoint", "path_params", "root_path", "app_root_path")
    return {
        **{name: value for name, value in caller.items() if name not in dropped},
        "method": "POST",
        "path": "/graphql",
        "raw_path": b"/graphql",
        "root_path": "",
        "query_string": b"",
        "headers": headers,
    }


async def _post_body(app: ASGIApp, scope: Scope, body: bytes) -> bytes:
    parts = list[bytes]()

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    return b"".join(parts)
