"""The read-only endpoints of plugins: each request starts the plugin, which may read and answer."""

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from pydantic import ConfigDict, Field, model_validator
from starlette.responses import Response

from orchestration_project.engine.environment import open_clock
from orchestration_project.errors import OrchestrationError
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError, not_found, problem_of
from orchestration_project.gateway.api.services import Services
from orchestration_project.resources.plugins.records import REQUEST_PREFIX
from orchestration_project.resources.plugins.running import call_endpoint
from orchestration_project.resources.plugins.state import StoredPlugin, read_plugins

LOG = logging.getLogger(__name__)

MAX_PARAMETERS = 20
MAX_VALUE_CHARACTERS = 1_000
PARAMETER = re.compile(r"[a-z][a-z0-9_]{0,39}")

MAX_ANSWER_BYTES = 2**20

MAX_CALLS = 2
"""Plugins that answer at once: each is a process. Further requests are refused, not queued."""

RETRY_AFTER = {"retry-after": "2"}

POLICY = {
    "content-security-policy": "default-src 'none'; sandbox",
    "content-disposition": "inline",
    "cache-control": "no-store",
}
"""Headers of an answer: no browser runs anything of it."""

_calls = asyncio.BoundedSemaphore(MAX_CALLS)
_callers = set[str]()
"""Users whose request a plugin answers now."""


class EndpointWanted(Parameters):
    """Endpoint of a plugin, and its declared parameters, whose values the plugin checks itself."""

    model_config = ConfigDict(extra="allow", frozen=True)

    plugin: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,39}$",
        examples=["projects_board"],
        description="ID of the plugin",
    )
    endpoint: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,39}$",
        examples=["board"],
        description="Name of the endpoint in plugin.yaml",
    )

    @model_validator(mode="after")
    def _of_few_short_parameters(self) -> "EndpointWanted":
        parameters = self.parameters
        if len(parameters) > MAX_PARAMETERS:
            raise ValueError(f"expected at most {MAX_PARAMETERS} parameters")
        for name, value in parameters.items():
            if not PARAMETER.fullmatch(name):
                raise ValueError("invalid parameter: expected a name in lower case, e.g. status")
            if len(value) > MAX_VALUE_CHARACTERS:
                raise ValueError(f"expected values of at most {MAX_VALUE_CHARACTERS} characters")
        return self

    @property
    def parameters(self) -> Mapping[str, str]:
        """Parameters of the plugin's own."""
        return {name: str(value) for name, value in (self.model_extra or {}).items()}


async def call_plugin_endpoint(call: Call[EndpointWanted, Body]) -> Response:
    """Have an enabled plugin answer one of its granted endpoints; other parameters are its own."""
    endpoint_wanted = call.query
    stored = await call.services.in_thread(_require_granted, call.services, endpoint_wanted)
    user = call.caller.name
    if _calls.locked() or user in _callers:
        raise ProblemError(
            503,
            "too many plugins answer at the moment",
            expected=f"at most {MAX_CALLS} requests of endpoints at once, one of a user",
            remedy="repeat the request",
            headers=RETRY_AFTER,
        )
    _callers.add(user)
    try:
        async with _calls:
            return await call.services.in_thread(_answer, call.services, stored, endpoint_wanted)
    except OrchestrationError as error:
        raise problem_of(error, 500) from error  # clients retry 502
    finally:
        _callers.discard(user)


def _require_granted(services: Services, wanted: EndpointWanted) -> StoredPlugin:
    with services.warehouse.reading(seconds=services.read_seconds) as connection:
        plugins = read_plugins(connection, wanted.plugin)
    if not plugins or plugins[0].state != "enabled":
        raise not_found(f"enabled plugin not found: {wanted.plugin}")
    [stored] = plugins
    granted = {endpoint.name: endpoint for endpoint in stored.permissions.endpoints}
    if wanted.endpoint not in granted:
        raise ProblemError(
            404,
            f"endpoint of {wanted.plugin} not found: {wanted.endpoint}",
            expected=f"one of {', '.join(granted)}" if granted else "no endpoint: none is granted",
        )
    declared = granted[wanted.endpoint].parameters
    unknown = sorted(wanted.parameters.keys() - {*declared})
    if unknown:
        raise ProblemError(
            422,
            f"invalid parameters of {wanted.endpoint}: {', '.join(unknown)}",
            expected=f"of {', '.join(declared)}" if declared else "no parameters",
            remedy="leave them out, or declare them with the endpoint in plugin.yaml",
        )
    return stored


def _answer(services: Services, stored: StoredPlugin, wanted: EndpointWanted) -> Response:
    answer = call_endpoint(
        stored,
        wanted.endpoint,
        wanted.parameters,
        settings=services.settings,
        warehouse=services.warehouse,
        clock=open_clock(services.settings),
        request_id=f"{REQUEST_PREFIX}{uuid4().hex}",
        log=lambda level, text: LOG.log(
            logging.getLevelNamesMapping()[level.upper()],
            text,
            extra={"event": "plugin_endpoint_log_line"},
        ),
    )
    content = _encode_body(answer.content_type, answer.body)
    if len(content) > MAX_ANSWER_BYTES:
        raise ProblemError(
            500,
            f"the answer of the plugin {stored.id} is too large",
            expected=f"at most {MAX_ANSWER_BYTES:,} bytes",
            found=f"{len(content):,} bytes",
        )
    return Response(content, media_type=answer.content_type, headers=POLICY)


def _encode_body(content_type: str, body: Any) -> bytes:
    if content_type == "application/json" or not isinstance(body, str):
        return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    return body.encode("utf-8", "replace")


OPERATIONS = (
    Operation(
        "GET",
        "/plugins/{plugin}/endpoints/{endpoint}",
        "viewer",
        "Ask an endpoint of a plugin",
        call_plugin_endpoint,
        query=EndpointWanted,
        media={
            "application/json": {},
            "text/plain": {"type": "string"},
            "text/csv": {"type": "string"},
        },
        problems=(503,),
    ),
)
