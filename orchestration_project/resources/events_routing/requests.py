"""The action http_request: a request signed by Standard Webhooks to a declared target."""

import json
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from orchestration_project.connections.clock import Clock
from orchestration_project.connections.http import HttpClient
from orchestration_project.connections.http.addresses import AddressGuard
from orchestration_project.connections.http.connecting import user_agent
from orchestration_project.contracts.attempts import may_pass
from orchestration_project.contracts.matching import HOPS_HEADER, TargetFields
from orchestration_project.contracts.webhooks.schemes import SCHEMES, standard_headers
from orchestration_project.contracts.webhooks.sources import SHORTEST_SECRET_BYTES
from orchestration_project.engine.environment import address_guard, open_shared_state
from orchestration_project.errors import ConfigurationError, SourceError, TransientError
from orchestration_project.redaction import hide
from orchestration_project.registry import (
    ActionEnvironment,
    ActionExamination,
    ActionFindings,
    ActionRequest,
    Registry,
    RoutingAction,
)
from orchestration_project.settings import Settings, read_secrets

REQUEST_SECONDS = 60

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class RequestTarget(BaseModel):
    """Declaration of a receiver of Standard Webhooks, whose secret is ROUTING_SECRET_<TARGET>.

    Attributes:
        url: https:// URL without user and query; default: ROUTING_URL_<TARGET>, also with these.
        type: Type of the message, by which the receiver distinguishes kinds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    url: str | None = Field(
        default=None, pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?$", max_length=2000
    )
    type: str = Field(default="routed", pattern=r"^[!-~]{1,200}$")


def secret_names(target: str) -> tuple[str, str]:
    """Return the variables of a target's URL and of its secret."""
    return f"ROUTING_URL_{target.upper()}", f"ROUTING_SECRET_{target.upper()}"


def _fields(_: RequestTarget, __: Registry, ___: Settings) -> TargetFields:
    return TargetFields({}, others="json")


def _examine(given: ActionExamination) -> ActionFindings:
    """Examine URL and secret; no name is resolved, and nothing is sent."""
    declared: RequestTarget = given.declared
    url_name, secret_name = secret_names(given.target)
    try:
        if declared.url is not None:
            _require_usable(declared.url, given.target, address_guard(given.settings))
    except ConfigurationError as error:
        return ActionFindings([("", error.line)])
    if declared.url is None:
        _require_usable(_secret(url_name), given.target, address_guard(given.settings))
    _key(secret_name)
    return ActionFindings()


def _require_usable(url: str, target: str, guard: AddressGuard) -> None:
    guard.check(url)
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise ConfigurationError(
            f"invalid url of the target {target}: expected https://, "
            "e.g. https://partner.example.org/hooks",
            remedy=f"correct WEBHOOKS_FILE or {secret_names(target)[0]}",
        )


def _send(request: ActionRequest, given: ActionEnvironment) -> str:
    """Send the fields in one signed request, whose id is the idempotency key."""
    declared: RequestTarget = request.declared
    url_name, secret_name = secret_names(request.target)
    url = declared.url or _secret(url_name)
    guard = address_guard(given.settings)
    _require_usable(url, request.target, guard)
    is_local = urlsplit(url).hostname in LOOPBACK
    body = _body(request, declared)
    key = _key(secret_name)
    headers = standard_headers(key, request.idempotency_key, body, now=Clock().now())
    with HttpClient(
        system=f"routing_{request.target}",
        state=open_shared_state(given.settings),
        requests_per_second=0,
        now=Clock().now,
        user_agent=user_agent(),
        use_environment=not is_local,
        deadline_seconds=REQUEST_SECONDS,
        guard=guard,
    ) as http:
        response = http.request(
            "POST",
            url,
            headers={
                **headers,
                "Content-Type": "application/json",
                HOPS_HEADER: ",".join(request.hops),
            },
            content=body,
            is_repeatable=False,
        )
    if 200 <= response.status < 300:
        return f"HTTP {response.status}"
    raise (TransientError if may_pass(response.status) else SourceError)(
        f"the target {request.target} did not accept a request",
        expected="a status from 200 to 299",
        found=f"HTTP {response.status}",
        remedy=f"check the receiver, {secret_name} and the rule {request.rule_id}",
    )


def _body(request: ActionRequest, declared: RequestTarget) -> bytes:
    """Return the message, the same for all attempts."""
    message = {
        "type": declared.type,
        "timestamp": request.planned_at.isoformat(),
        "data": request.fields,
    }
    return json.dumps(message, ensure_ascii=True, sort_keys=True).encode()


def _secret(name: str) -> str:
    found = read_secrets(name).get(name)
    if not found:
        raise ConfigurationError(
            f"{name} is not set",
            expected=f"{name} or {name}_FILE",
            remedy="set it, or end the rules of the target",
        )
    hide(found)
    return found


def _key(name: str) -> bytes:
    try:
        key = SCHEMES["standard"].key(_secret(name))
    except ValueError:  # its cause may quote the secret
        key = b""
    if len(key) < SHORTEST_SECRET_BYTES:
        expected = f"expected whsec_ and Base64 of {SHORTEST_SECRET_BYTES} bytes or more"
        raise ConfigurationError(f"invalid {name}: {expected}", remedy=f"correct {name}")
    return key


HTTP_REQUEST = RoutingAction(
    name="http_request",
    description="Sends the fields in a request signed by Standard Webhooks.",
    declaration=RequestTarget,
    fields=_fields,
    send=_send,
    examine=_examine,
)
