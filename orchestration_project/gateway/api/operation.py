"""One operation of the API: declared once, for the route, its guard and the OpenAPI document."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import GenericAlias
from typing import Any, Generic, Literal, Self, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.errors import OrchestrationError
from orchestration_project.gateway.api.problems import (
    ProblemError,
    problem_of,
    wrong_fields,
)
from orchestration_project.gateway.api.services import Services
from orchestration_project.gateway.request import is_storable

TIME_LIMIT_SECONDS = 30.0
"""Time limit of an operation; a streamed response has limits of its own."""

MAX_BODY_BYTES = 256 * 1024

RoleName = Literal["viewer", "operator", "admin"]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="after")
    def _of_storable_texts(self) -> Self:
        if not is_storable(self.model_dump()):
            raise ValueError("a text has NUL or half a character, which no database can hold")
        return self


class Parameters(_Given):
    """Parameters of a path and query; one that is not known is refused."""


class Body(_Given):
    """Request body; unknown fields are refused."""


class EmptyBody(Body):
    """Nothing."""


Q = TypeVar("Q", bound=Parameters)
B = TypeVar("B", bound=Body)


@dataclass(frozen=True)
class Call(Generic[Q, B]):
    """A request that was read and may be answered."""

    services: Services
    caller: Principal
    query: Q
    body: B
    request: Request

    async def dagster(self, document: str, **variables: Any) -> Mapping[str, Any]:
        """Ask Dagster's GraphQL in the caller's name; return ``data``."""
        return await self.services.dagster.ask(self.request.scope, document, variables)


Answer = BaseModel | Response
Handler = Callable[[Call[Any, Any]], Awaitable[Answer]]


@dataclass(frozen=True)
class Operation:
    """Operation of the API.

    Attributes:
        path: Below /api/v1; a part in braces is a field of ``query``.
        role: The least role that may.
        answer: The model of the JSON that is answered.
        media: Other forms of the answer, by media type: their JSON schema.
        headers: Request headers that mean something, with their description.
        problems: Statuses of problems besides those that every operation may answer.
        takes_file: Whether the handler reads the body of the request itself, piece by piece, and
            for as long as pieces come.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    role: RoleName
    summary: str
    handler: Handler
    query: type[Parameters] = Parameters
    body: type[Body] | None = None
    answer: type[BaseModel] | None = None
    media: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    problems: tuple[int, ...] = ()
    takes_file: bool = False

    @property
    def name(self) -> str:
        """Name of the operation in the OpenAPI document."""
        return self.handler.__name__


def endpoint(operation: Operation, services: Services) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint that answers requests for ``operation``."""
    return partial(_handle_request, operation, services)


async def _handle_request(operation: Operation, services: Services, request: Request) -> Response:
    try:
        return await _answer(operation, services, request)
    except ProblemError as error:
        return error.response()
    except OrchestrationError as error:
        return problem_of(error).response()
    except TimeoutError as error:
        usual = f"this took longer than {TIME_LIMIT_SECONDS:.0f} s, and is not waited for"
        return ProblemError(504, str(error) or usual, remedy="ask for less at once").response()


async def _answer(operation: Operation, services: Services, request: Request) -> Response:
    caller = services.caller()
    await _require_role(operation, services, request, caller)
    query = _parse_parameters(operation.query, request)
    body = await _parse_body(operation, request)
    call = Call(services, caller, query, body, request)
    async with asyncio.timeout(None if operation.takes_file else TIME_LIMIT_SECONDS):
        # What was begun goes on: it may hold a lock, or launch, when it is not waited for any more.
        shield = await asyncio.shield(asyncio.ensure_future(operation.handler(call)))
    if isinstance(shield, Response):
        return shield
    headers = {"cache-control": "no-store"}
    return JSONResponse(shield.model_dump(mode="json"), operation.status, headers)


async def _require_role(
    operation: Operation, services: Services, request: Request, caller: Principal
) -> None:
    if not caller.role.covers(Role(operation.role)):
        await services.refused(request.scope, f"{operation.method} {operation.path}")
        raise ProblemError(
            403,
            f"your role, {caller.role}, may not do this",
            expected=f"the role {operation.role}",
        )


def _parse_parameters(model: type[Parameters], request: Request) -> Parameters:
    entries: dict[str, Any] = dict(request.path_params)
    twice = []
    for name in dict.fromkeys(request.query_params.keys()):
        values = request.query_params.getlist(name)
        if _can_repeat(model, name):
            entries[name] = values
        elif len(values) == 1 and name not in request.path_params:
            entries[name] = values[0]
        else:
            twice.append({"loc": [name], "msg": "given more than once"})
    if twice:
        raise wrong_fields(twice)
    try:
        return model(**entries)
    except ValidationError as error:
        raise wrong_fields(error.errors(include_url=False, include_input=False)) from None


def _can_repeat(model: type[Parameters], name: str) -> bool:
    known_field_info = model.model_fields.get(name)
    return (
        known_field_info is not None
        and isinstance(known_field_info.annotation, GenericAlias)
        and (get_origin(known_field_info.annotation) is list)
    )


async def _parse_body(operation: Operation, request: Request) -> Body:
    content, model = b"" if operation.takes_file else await _read(request), operation.body
    if model is None:
        return EmptyBody()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content and kind != "application/json":
        raise ProblemError(415, "a body is taken as application/json alone")
    try:
        return model.model_validate_json(content or b"{}", strict=True)
    except ValidationError as error:
        raise wrong_fields(error.errors(include_url=False, include_input=False)) from None


async def _read(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(TIME_LIMIT_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > MAX_BODY_BYTES:
                    raise ProblemError(413, f"a body has at most {MAX_BODY_BYTES} bytes")
    except ClientDisconnect:
        raise HTTPException(400, "the connection ended within the body") from None
    return bytes(body)
