"""Both systems as one ASGI application, with the faults before them and the people behind them."""

import json
import logging
import time
from datetime import datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from orchestration_demo.access import RefusedError
from orchestration_demo.clock import Clock
from orchestration_demo.saas.deliveries import Deliveries, Hook
from orchestration_demo.saas.faults import (
    MARK,
    PAGES,
    Fault,
    Faults,
    after_the_effect,
    before_the_effect,
)
from orchestration_demo.saas.issues import InvalidError, Issues
from orchestration_demo.saas.jira import Jira
from orchestration_demo.saas.people import Json, tasks
from orchestration_demo.saas.peopleforce import PeopleForce
from orchestration_demo.saas.tasks import Tasks

log = logging.getLogger("demo.saas")


class Systems:
    """PeopleForce and Jira; ``last_request`` is the monotonic time of the latest request.

    What people do, and what goes wrong, is asked for below `/demo`, without credentials.
    """

    def __init__(
        self, *, seed: int, task_count: int, clock: Clock, requests_per_second: int
    ) -> None:
        self.last_request = time.monotonic()
        self._clock = clock
        self._skew = timedelta(0)
        self._faults = Faults()
        self._deliveries = Deliveries(clock.now)
        self._tasks = Tasks(tasks(seed, task_count), self._deliveries.tell_of_task)
        self._issues = Issues(self._jira_now, self._deliveries.tell_of_issue)
        people_force = PeopleForce(self._tasks, requests_per_second)
        self._app = Starlette(
            routes=[
                Route("/health", self._health),
                *people_force.routes,
                *Jira(self._issues).routes,
                Route("/demo/state", self._state),
                Route("/demo/faults", self._plan, methods=["POST"]),
                Route("/demo/surroundings", self._surround, methods=["POST"]),
                Route("/demo/hooks", self._hook, methods=["POST"]),
                Route("/demo/deliveries", self._deliver, methods=["POST"]),
                Route("/demo/tasks", self._put_task, methods=["POST"]),
                Route("/demo/tasks/{number:int}", self._delete_task, methods=["DELETE"]),
                Route("/demo/issues/{key}", self._edit_issue, methods=["POST"]),
                Route("/demo/issues/{key}", self._delete_issue, methods=["DELETE"]),
            ],
            exception_handlers={RefusedError: _refused, InvalidError: _invalid},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and note when; what people do meets no faults."""
        self.last_request = time.monotonic()
        is_ours = scope.get("path", "").startswith(("/demo/", "/health"))
        await (self._app if is_ours else self._faulty)(scope, receive, send)
        self.last_request = time.monotonic()

    def _jira_now(self) -> datetime:
        return self._clock.now() + self._skew

    async def _faulty(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, unless a fault has it otherwise."""
        fault = self._faults.next(scope["method"], scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
            return
        log.info(
            "fault: %s for %s %s",
            fault.kind,
            scope["method"],
            scope["path"],
            extra={"event": "demo_saas_fault"},
        )
        if answer := before_the_effect(fault):
            await answer(scope, receive, send)
            return
        scope[MARK] = PAGES.get(fault.kind, 0)
        messages: list[Message] = []

        async def collect(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, collect)
        await after_the_effect(fault, messages, send)

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "source": "demo"})

    async def _state(self, _: Request) -> Response:
        """Return the whole state, and the number of writes from outside."""
        issues = [
            self._issues.shown(each) | {"properties": each.properties}
            for each in self._issues.all()
        ]
        return JSONResponse(
            {
                "tasks": self._tasks.all(),
                "issues": issues,
                "jira_writes": self._issues.writes,
                "peopleforce_writes": self._tasks.completions,
                "faults_met": self._faults.met,
            }
        )

    async def _plan(self, request: Request) -> Response:
        body = await _body(request)
        self._faults.plan([Fault(**each) for each in body.get("planned", [])])
        if "share" in body:
            self._faults.draw(seed=body["seed"], share=body["share"], kinds=body["kinds"])
        return JSONResponse({})

    async def _surround(self, request: Request) -> Response:
        """Set by how much Jira's clock is ahead, and how late its searches are, or end that."""
        body = await _body(request)
        self._skew = timedelta(seconds=body.get("jira_clock_ahead_seconds", 0))
        self._issues.index_lag = timedelta(seconds=body.get("jira_index_lag_seconds", 0))
        if body.get("is_indexed"):
            self._issues.index()
        return JSONResponse({})

    async def _hook(self, request: Request) -> Response:
        body = await _body(request)
        self._deliveries.register(body["system"], Hook(body["url"], body["secret"]))
        return JSONResponse({})

    async def _deliver(self, request: Request) -> Response:
        body = await _body(request)
        statuses = await run_in_threadpool(
            self._deliveries.send,
            seed=body.get("seed", 0),
            lost_share=body.get("lost_share", 0.0),
            twice_share=body.get("twice_share", 0.0),
            is_shuffled=body.get("is_shuffled", False),
        )
        return JSONResponse({"statuses": statuses})

    async def _put_task(self, request: Request) -> Response:
        return JSONResponse(self._tasks.put(await _body(request)))

    async def _delete_task(self, request: Request) -> Response:
        is_found = self._tasks.delete(request.path_params["number"])
        return JSONResponse({}, 200 if is_found else 404)

    async def _edit_issue(self, request: Request) -> Response:
        """Set fields of an issue, or have it take a step, as a person would."""
        issue = self._issues.get(request.path_params["key"])
        if issue is None:
            return JSONResponse({}, 404)
        body = await _body(request)
        self._issues.update(issue, body.get("fields", {}))
        is_done = "transition" not in body or self._issues.transition(issue, body["transition"])
        return JSONResponse({}, 200 if is_done else 400)

    async def _delete_issue(self, request: Request) -> Response:
        return JSONResponse({}, 200 if self._issues.delete(request.path_params["key"]) else 404)


async def _body(request: Request) -> Any:
    return json.loads(await request.body() or b"{}")


async def _refused(_: Request, error: Exception) -> Response:
    if not isinstance(error, RefusedError):
        raise error
    body: Json = {"errorMessages": [str(error)], "errors": {}}
    return JSONResponse(body, error.status, error.headers)


async def _invalid(_: Request, error: Exception) -> Response:
    if not isinstance(error, InvalidError):
        raise error
    return JSONResponse({"errorMessages": [], "errors": error.errors}, 400)
