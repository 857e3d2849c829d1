"""Transport faults of the two systems: planned by request, or drawn by a seed.

A fault is met before the effect of a request (`too_many`, `unavailable`, `html`) or after it
(`lost`, `slow`, `cut`): then the work is done and the caller receives no answer.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import Message, Send

KINDS = ("too_many", "unavailable", "html", "lost", "slow", "cut", "repeat_page", "skip_page")
PAGES = {"repeat_page": -1, "skip_page": 1}
BAD_GATEWAY_BODY = "<!DOCTYPE html><html><body><h1>We'll be back soon</h1></body></html>"
MARK = "demo.page_shift"


@dataclass(frozen=True)
class Fault:
    """A fault of the requests whose method and path fit, ``times`` often.

    Attributes:
        kind: One of `KINDS`.
        method: Of the request; empty: any.
        path: A part of its path; empty: any.
        times: How many requests meet it.
        seconds: Of `slow`, and what `too_many` asks to wait.
    """

    kind: str
    method: str = ""
    path: str = ""
    times: int = 1
    seconds: float = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}")


class Faults:
    """Those that are planned come first; else a request meets one with a chance of ``share``."""

    def __init__(self) -> None:
        self._planned: list[Fault] = []
        self._chance = random.Random(0)  # noqa: S311 - to be repeated
        self._share = 0.0
        self._kinds: Sequence[str] = ()
        self.met = 0  # by how many requests

    def plan(self, planned: Sequence[Fault]) -> None:
        """Have the next requests that fit meet these."""
        self._planned += planned

    def draw(self, *, seed: int, share: float, kinds: Sequence[str]) -> None:
        """Have each request from now on meet one of ``kinds`` with a chance of ``share`` (0-1)."""
        self._chance = random.Random(seed)  # noqa: S311 - to be repeated
        self._share, self._kinds = share, kinds

    def next(self, method: str, path: str) -> Fault | None:
        """Return what a request meets, and count it."""
        fault = self._next(method, path)
        self.met += fault is not None
        return fault

    def _next(self, method: str, path: str) -> Fault | None:
        for place, each in enumerate(self._planned):
            if each.method in ("", method) and each.path in path:
                left = replace(each, times=each.times - 1)
                self._planned[place : place + 1] = [left] if left.times > 0 else []
                return each
        if self._share and self._chance.random() < self._share:
            return Fault(self._chance.choice(self._kinds), seconds=0)
        return None


def before_the_effect(fault: Fault) -> Response | None:
    """Return what a request is answered instead of being worked on, if it is not."""
    if fault.kind == "too_many":
        headers = {"Retry-After": str(int(fault.seconds))}
        return JSONResponse({"errorMessages": ["Rate limit exceeded"]}, 429, headers)
    if fault.kind == "unavailable":
        return JSONResponse({"errorMessages": ["Service unavailable"]}, 503)
    if fault.kind == "html":
        return HTMLResponse(BAD_GATEWAY_BODY, 200)
    return None


async def after_the_effect(fault: Fault, answer: Sequence[Message], send: Send) -> None:
    """Send what the caller gets of ``answer``."""
    if fault.kind == "slow":
        await asyncio.sleep(fault.seconds)
    if fault.kind == "lost":  # the head alone: the server closes the connection
        headers = [(b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        return
    if fault.kind == "cut":
        body = b"".join(each.get("body", b"") for each in answer)
        cut = Response(body[: len(body) // 2] or b"{", media_type="application/json")
        answer = [
            {"type": "http.response.start", "status": 200, "headers": cut.raw_headers},
            {"type": "http.response.body", "body": cut.body},
        ]
    for message in answer:
        await send(message)


def shifted(request: Request, page: int) -> int:
    """Return the page that is served for ``page``: a fault repeats the one before, or skips one."""
    return max(1, page + request.scope.get(MARK, 0))
