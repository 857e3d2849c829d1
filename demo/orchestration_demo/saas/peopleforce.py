"""PeopleForce's API v3 over HTTP: tasks, their pages, and their completion."""

import hmac
import math

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestration_demo.access import RateLimit, RefusedError
from orchestration_demo.saas.faults import shifted
from orchestration_demo.saas.tasks import PAGE_TASKS, Tasks

API_KEY = "demo-key"
BASE = "/peopleforce/api/public/v3"
BOOLEANS = {"true": True, "false": False}


class PeopleForce:
    """The routes over ``tasks``."""

    def __init__(self, tasks: Tasks, requests_per_second: int) -> None:
        self._tasks = tasks
        self._rate = RateLimit(requests_per_second)
        self.routes = [
            Route(f"{BASE}/tasks", self._page),
            Route(f"{BASE}/tasks/{{number:int}}", self._task),
            Route(f"{BASE}/tasks/{{number:int}}/complete", self._complete, methods=["PUT"]),
        ]

    def _admit(self, request: Request) -> None:
        given = request.headers.get("x-api-key", "")
        if not hmac.compare_digest(given.encode(), API_KEY.encode()):
            raise RefusedError(401, "Invalid API key")
        self._rate.check()

    async def _page(self, request: Request) -> Response:
        self._admit(request)
        completed = BOOLEANS.get(request.query_params.get("completed", ""))
        requested = request.query_params.get("page", "1")
        if not requested.isdecimal() or int(requested) < 1:
            return JSONResponse({"error": "page is invalid"}, 400)
        tasks, count = self._tasks.page(shifted(request, int(requested)), completed)
        pagination = {
            "page": int(requested),
            "pages": max(1, math.ceil(count / PAGE_TASKS)),
            "count": count,
            "items": len(tasks),
        }
        return JSONResponse({"data": tasks, "metadata": {"pagination": pagination}})

    async def _task(self, request: Request) -> Response:
        self._admit(request)
        return _found(self._tasks.get(request.path_params["number"]))

    async def _complete(self, request: Request) -> Response:
        self._admit(request)
        return _found(self._tasks.complete(request.path_params["number"]))


def _found(task: object) -> Response:
    if task is None:
        return JSONResponse({"error": "Record not found"}, 404)
    return JSONResponse({"data": task})
