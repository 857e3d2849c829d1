"""The action http_request: a request signed by Standard Webhooks to a declared target."""

import json

from pydantic import BaseModel, ConfigDict, Field

from orchestration_project.engine.contracts.attempts import may_pass
from orchestration_project.engine.contracts.matching import TargetFields
from orchestration_project.engine.contracts.webhooks.sources import HOPS_HEADER
from orchestration_project.engine.environment import build_address_guard
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
from orchestration_project.services.signed_requests import Receiver, post_signed, read_signing_key
from orchestration_project.settings import Settings, read_secrets


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


def _list_fields(_: RequestTarget, __: Registry, ___: Settings) -> TargetFields:
    return TargetFields({}, others="json")


def _examine(given: ActionExamination) -> ActionFindings:
    """Examine URL and secret; no name is resolved, and nothing is sent."""
    declared: RequestTarget = given.declared
    url_name, secret_name = secret_names(given.target)
    guard = build_address_guard(given.settings)
    try:
        if declared.url is not None:
            _build_receiver(given.target, declared.url).require_usable(guard)
    except ConfigurationError as error:
        return ActionFindings([("", error.line)])
    if declared.url is None:
        _build_receiver(given.target, _read_secret(url_name)).require_usable(guard)
    read_signing_key(secret_name, _read_secret(secret_name))
    return ActionFindings()


def _build_receiver(target: str, url: str) -> Receiver:
    return Receiver(
        name=f"the target {target}",
        system=f"routing_{target}",
        url=url,
        origin=f"WEBHOOKS_FILE or {secret_names(target)[0]}",
    )


def _send(request: ActionRequest, given: ActionEnvironment) -> str:
    """Send the fields in one signed request, whose id is the idempotency key."""
    declared: RequestTarget = request.declared
    url_name, secret_name = secret_names(request.target)
    receiver = _build_receiver(request.target, declared.url or _read_secret(url_name))
    receiver.require_usable(build_address_guard(given.settings))
    status = post_signed(
        receiver,
        read_signing_key(secret_name, _read_secret(secret_name)),
        request.idempotency_key,
        _build_body(request, declared),
        given.settings,
        {HOPS_HEADER: ",".join(request.hops)},
    )
    if 200 <= status < 300:
        return f"HTTP {status}"
    error_class = TransientError if may_pass(status) else SourceError
    raise error_class(
        f"the target {request.target} did not accept a request",
        expected="a status from 200 to 299",
        found=f"HTTP {status}",
        remedy=f"check the receiver, {secret_name} and the rule {request.rule_id}",
    )


def _build_body(request: ActionRequest, declared: RequestTarget) -> bytes:
    """Return the message, the same for all attempts."""
    message = {
        "type": declared.type,
        "timestamp": request.planned_at.isoformat(),
        "data": request.fields,
    }
    return json.dumps(message, ensure_ascii=True, sort_keys=True).encode()


def _read_secret(name: str) -> str:
    secret = read_secrets(name).get(name)
    if not secret:
        raise ConfigurationError(
            f"{name} is not set",
            expected=f"{name} or {name}_FILE",
            remedy="set it, or end the rules of the target",
        )
    hide(secret)
    return secret


HTTP_REQUEST = RoutingAction(
    name="http_request",
    description="Sends the fields in a request signed by Standard Webhooks.",
    declaration=RequestTarget,
    fields=_list_fields,
    send=_send,
    examine=_examine,
)
