"""What is refused anywhere behind the edge is answered in the form of who asks."""

import asyncio
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from orchestration_project.errors import TransientError
from orchestration_project.gateway.refusal import Refusal
from orchestration_project.gateway.refusing import Refusing
from orchestration_project.gateway.request import Place

PLACE = Place(frozenset({"gateway"}))


def failing(error: Exception) -> Refusing:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return Refusing(app, PLACE)


def asked(app: Refusing, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.get(path)

    return asyncio.run(ask())


def test_while_the_database_does_not_answer_all_are_told_to_come_later_and_not_why(caplog):
    app = failing(TransientError("no answer from db.internal:5432"))
    page, program = asked(app, "/graphql"), asked(app, "/api/v1/runs")
    assert [each.status_code for each in (page, program)] == [503, 503]
    assert [each.headers["retry-after"] for each in (page, program)] == ["5", "5"]
    assert page.json() == {"errors": [{"message": "The database does not answer at present."}]}
    assert program.headers["content-type"] == "application/problem+json"
    assert (program.json()["category"], "db.internal" in program.text) == ("transient", False)
    assert "db.internal:5432" in caplog.text


@pytest.mark.parametrize(
    ("error", "code"), [(TransientError("no answer"), 4503), (Refusal(401, "Who?"), 4401)]
)
def test_a_websocket_that_is_refused_is_closed_with_the_status(error: Exception, code: int):
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nobody waits for a message")

    scope = {"type": "websocket", "path": "/graphql", "headers": [(b"host", b"gateway")]}
    asyncio.run(failing(error)(scope, receive, send))
    assert sent == [{"type": "websocket.close", "code": code}]
