"""The API as routes below /api/v1, with its document."""

from collections.abc import Sequence
from http import HTTPStatus
from importlib import import_module

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from orchestration_project.engine.warehouse.connecting import may_pass
from orchestration_project.gateway.api import (
    aggregates,
    alerts,
    analyst_sql,
    approvals,
    artifacts,
    attention,
    audit,
    automation,
    backfills,
    changes,
    data,
    explanation,
    flags,
    logs,
    operations,
    pauses,
    pipelines,
    presets,
    program_logs,
    row_diff,
    runs,
    schedules,
    traces,
    uploads,
)
from orchestration_project.gateway.api.openapi import PATH, document
from orchestration_project.gateway.api.operation import Operation, endpoint
from orchestration_project.gateway.api.problems import RETRY_AFTER_SECONDS, ProblemError
from orchestration_project.gateway.api.services import Services
from orchestration_project.gateway.pages import api_page
from orchestration_project.registry import Registry
from orchestration_project.services.dagster_instance import find_driver_error, list_outage_errors


def operations_of(registry: Registry) -> Sequence[Operation]:
    """Return all operations of the API: those of every installation, then those of the domains."""
    module_types = [
        attention,
        alerts,
        runs,
        logs,
        backfills,
        pipelines,
        data,
        aggregates,
        explanation,
        row_diff,
        changes,
        analyst_sql,
        artifacts,
        presets,
        automation,
        operations,
        pauses,
        approvals,
        schedules,
        flags,
        uploads,
        traces,
        program_logs,
        audit,
    ]
    modules = [import_module(name) for domain in registry.domains for name in domain.api]
    return [operation for module in [*module_types, *modules] for operation in module.OPERATIONS]


def routes(services: Services) -> list[BaseRoute]:
    """Return the routes of the API; who asks is known before they are asked."""
    operations = operations_of(services.registry())
    described = document(operations)

    async def openapi(_: Request) -> Response:
        return JSONResponse(described)

    async def docs(request: Request) -> Response:
        return api_page(described, f"{request.url.scheme}://{request.url.netloc}")

    each = [
        Route(operation.path, endpoint(operation, services), methods=[operation.method])
        for operation in operations
    ]
    app = Starlette(
        routes=[Route("/openapi.json", openapi), Route("/docs", docs), *each],
        exception_handlers={
            HTTPException: _answer_http_error,
            Exception: _answer_defect,
            **dict.fromkeys(list_outage_errors(), _answer_outage),
        },
    )
    app.router.redirect_slashes = False
    return [Mount(PATH, app)]


async def _answer_http_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    details = {404: "path not found", 405: "this path does not accept this method"}
    detail = details.get(error.status_code, error.detail)
    return ProblemError(error.status_code, detail, headers=error.headers).response()


async def _answer_outage(_: Request, error: Exception) -> Response:
    """Answer for Dagster's database while it is away; what is not passing is a defect."""
    if not may_pass(find_driver_error(error)):
        raise error
    headers = {"retry-after": str(RETRY_AFTER_SECONDS)}
    return ProblemError(503, "Dagster's database does not respond", headers=headers).response()


async def _answer_defect(_: Request, error: Exception) -> Response:
    """Answer an unexpected error without its text, which goes to the log."""
    phrase = HTTPStatus.INTERNAL_SERVER_ERROR.phrase
    return ProblemError(500, f"{phrase}: see the gateway's log").response()
