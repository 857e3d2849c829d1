"""`GET /approvals`: actions that wait for a second person, who confirms or refuses them there."""

import json
from collections.abc import Mapping
from html import escape

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import ROLE_OF_ACTION, Principal, Role
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.guard import AuthServices
from orchestration_project.gateway.limits import read_form
from orchestration_project.gateway.pages import tables_page
from orchestration_project.gateway.request import Refusal, current_user
from orchestration_project.services.access.approvals import (
    MAX_REASON_CHARACTERS,
    OPEN_STATES,
    REQUESTED,
    UNCLAIMED,
    Approval,
    Approvals,
)

PATH = "/approvals"
TITLE = "Approvals"
EXPLANATION = (
    "Actions that FOUR_EYES names take effect only after another person than the requester "
    "confirmed exactly these parameters. Then start the action again with the same parameters."
)
HEADINGS = (
    *("Action", "Parameters", "Reason", "Requested by", "Since (UTC)", "Expires (UTC)", "State"),
    "Decision",
)

FORM = """<form method="post" action="/approvals">
<input type="hidden" name="approval_id" value="{approval_id}">
<input type="hidden" name="sha256" value="{sha256}">
{fields}</form>"""
BUTTON = '<button type="submit" name="decision" value="{decision}">{label}</button>'
REASON = '<label>Reason <input name="reason" maxlength="{max_characters}"></label>'


def routes(warehouse: Warehouse, doors: AuthServices) -> list[Route]:
    """Return the routes of the page, for operators and admins."""
    approvals = Approvals(warehouse, Clock())

    async def show(problem: str = "") -> Response:
        user = _require_operator()
        rows = await run_in_threadpool(approvals.listed)
        tables = [("", HEADINGS, [_render_cells(approval, user) for approval in rows])]
        alert = f'<p role="alert">{escape(problem)}</p>' if problem else ""
        status = 422 if problem else 200
        return tables_page(
            *(TITLE, EXPLANATION, tables, doors.installation, user), form=alert, status=status
        )

    async def page(_request: Request) -> Response:
        return await show()

    async def decide(request: Request) -> Response:
        user = _require_operator()
        fields = await read_form(request)
        names = ("approval_id", "decision")
        target = json.dumps({name: fields.get(name, "")[:40] for name in names})

        async def record(outcome: str, step: int) -> None:
            operation = f"POST {PATH}"
            await doors.record(
                request.scope, operation, outcome, user=user, target=target, step=step
            )

        await record("asked", 1)
        try:
            await run_in_threadpool(_decide, approvals, fields, user)
        except ConfigurationError as error:
            await record("failed", 2)
            return await show(str(error))
        await record("done", 2)
        return RedirectResponse(PATH, 303)

    return [Route(PATH, page, methods=["GET"]), Route(PATH, decide, methods=["POST"])]


def _require_operator() -> Principal:
    user = current_user()
    if not user.role.covers(Role.OPERATOR):
        raise Refusal(403, "Approvals need the role operator.")
    return user


def _decide(approvals: Approvals, fields: Mapping[str, str], user: Principal) -> None:
    """Decide as the fields of the form request.

    Raises:
        ConfigurationError: The user may not, or the request is another one meanwhile.
    """
    approval_id = fields.get("approval_id", "")
    match fields.get("decision"):
        case "request":
            approvals.claim(approval_id, user)
        case "confirm":
            approvals.confirm(approval_id, fields.get("sha256", ""), user)
        case "refuse":
            approvals.refuse(approval_id, fields.get("reason", ""), user)
        case other:
            raise ConfigurationError(
                "invalid decision",
                expected="request, confirm or refuse",
                found=repr(other),
                remedy="use the buttons of the page",
            )


def _render_cells(approval: Approval, user: Principal) -> tuple[str, ...]:
    parameters = "<br>".join(
        escape(f"{name}: {json.dumps(value)}") for name, value in approval.parameters.items()
    )
    texts = (
        approval.reason,
        approval.requested_by or "no login",
        f"{approval.requested_at:%Y-%m-%d %H:%M}",
        f"{approval.expires_at:%Y-%m-%d %H:%M}",
        f"{approval.state} by {approval.decided_by}" if approval.decided_by else approval.state,
    )
    return (escape(approval.action), parameters, *map(escape, texts), _render_form(approval, user))


def _render_form(approval: Approval, user: Principal) -> str:
    if approval.state not in OPEN_STATES or not user.role.covers(ROLE_OF_ACTION[approval.action]):
        return ""
    decisions = {UNCLAIMED: "request", REQUESTED: "confirm"}
    decision = decisions.get(approval.state)
    is_own = approval.requested_by == user.name
    fields = [REASON.format(max_characters=MAX_REASON_CHARACTERS)]
    if decision and not is_own:
        fields.insert(0, BUTTON.format(decision=decision, label=decision.capitalize()))
    label = "Withdraw" if is_own else "Refuse"
    fields.append(BUTTON.format(decision="refuse", label=label))
    return FORM.format(
        approval_id=escape(approval.approval_id), sha256=approval.sha256, fields="\n".join(fields)
    )
