"""Refuses what is malformed, and answers what is refused behind it: in the form of who asks."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestration_project.gateway.api.openapi import PATH
from orchestration_project.gateway.api.problems import problem_of_refusal
from orchestration_project.gateway.limits import require_plain
from orchestration_project.gateway.refusal import Refusal
from orchestration_project.gateway.request import Place


class Refusing:
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
