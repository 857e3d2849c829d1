"""Approvals: requests of actions that need a second person, and the decisions on them."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pydantic import Field

from orchestration_project.engine.contracts.api.edits import ApprovalList, ApprovalShown
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.audit import record
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import problem_of
from orchestration_project.gateway.api.runs import Name
from orchestration_project.services.access.approvals import (
    MAX_REASON_CHARACTERS,
    Approval,
    Approvals,
)

PATH = "/approvals"
ONE = f"{PATH}/{{approval_id}}"


class ApprovalWanted(Parameters):
    """A request."""

    approval_id: Name = Field(description="ID of the request")


class ConfirmedApproval(Body):
    """Confirmation of exactly what was read."""

    sha256: str = Field(max_length=64, description="SHA-256 of the request, as it was read")


class RefusedApproval(Body):
    """Refusal of a request."""

    reason: str = Field(
        min_length=1, max_length=MAX_REASON_CHARACTERS, description="Reason in words"
    )


async def list_approvals(call: Call[Parameters, Body]) -> ApprovalList:
    """List the requests of actions that need a second person, at most 200."""
    approvals = await call.services.in_thread(_build_approvals(call).listed)
    return ApprovalList(approvals=[_render_approval(approval) for approval in approvals])


async def claim_approval(call: Call[ApprovalWanted, Body]) -> ApprovalShown:
    """Claim an action that was started without a login."""
    approval_id, caller = call.query.approval_id, call.caller
    return await _decide(call, "request", lambda: _build_approvals(call).claim(approval_id, caller))


async def confirm_approval(call: Call[ApprovalWanted, ConfirmedApproval]) -> ApprovalShown:
    """Confirm a request as another person than who requested it; it takes effect when restarted."""
    approval_id, sha256, caller = call.query.approval_id, call.body.sha256, call.caller
    return await _decide(
        call, "confirm", lambda: _build_approvals(call).confirm(approval_id, sha256, caller)
    )


async def refuse_approval(call: Call[ApprovalWanted, RefusedApproval]) -> ApprovalShown:
    """Refuse a request; whoever requested it withdraws it so."""
    approval_id, reason, caller = call.query.approval_id, call.body.reason, call.caller
    return await _decide(
        call, "refuse", lambda: _build_approvals(call).refuse(approval_id, reason, caller)
    )


async def _decide(
    call: Call[ApprovalWanted, Any], action: str, decide: Callable[[], Approval]
) -> ApprovalShown:
    audited = (call, PATH, {"approval": call.query.approval_id, "action": action})
    await record(*audited, "asked", step=1)
    try:
        decided = await call.services.in_thread(decide)
    except ConfigurationError as error:
        await record(*audited, "failed", step=2, reason=error.category)
        raise problem_of(error, 422) from error
    await record(*audited, "done", step=2)
    return _render_approval(decided)


def _build_approvals(call: Call[Any, Any]) -> Approvals:
    return Approvals(call.services.warehouse, call.services.clock)


def _render_approval(approval: Approval) -> ApprovalShown:
    return ApprovalShown.model_validate(asdict(approval))


OPERATIONS = (
    Operation("GET", PATH, "operator", "List approvals", list_approvals, answer=ApprovalList),
    Operation(
        *("POST", f"{ONE}/request", "operator", "Request an approval", claim_approval),
        query=ApprovalWanted,
        answer=ApprovalShown,
    ),
    Operation(
        *("POST", f"{ONE}/confirm", "operator", "Confirm an approval", confirm_approval),
        query=ApprovalWanted,
        body=ConfirmedApproval,
        answer=ApprovalShown,
    ),
    Operation(
        *("POST", f"{ONE}/refuse", "operator", "Refuse an approval", refuse_approval),
        query=ApprovalWanted,
        body=RefusedApproval,
        answer=ApprovalShown,
    ),
)
