"""The action jira_issue of webhook routing: an issue, created once per idempotency key.

What the newest issue is, is recorded before the request: a later attempt looks among the issues
after it, which rests on no search index.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from orchestration_project.domains.saas.values import UnfitValueError, values_of, violations
from orchestration_project.engine.contracts.matching import HOP_LABEL, TargetFields
from orchestration_project.errors import ContractError, TransientError
from orchestration_project.registry import (
    ActionEnvironment,
    ActionExamination,
    ActionFindings,
    ActionRequest,
    Registry,
    RoutingAction,
)
from orchestration_project.resources.saas.applying import AMBIGUOUS_STATUSES
from orchestration_project.resources.saas.systems import RefusedError, TargetSystem
from orchestration_project.resources.saas.validating import PROVING
from orchestration_project.settings import Settings

PERMISSIONS = ("BROWSE_PROJECTS", "CREATE_ISSUES")
"""Permissions that creating and finding an issue need."""


class IssueTarget(BaseModel):
    """Declaration of a project that issues are created in.

    Attributes:
        project: Key of the project, such as HR.
        issue_type: Name of the issue type.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    project: str = Field(pattern=r"^[A-Z][A-Z0-9_]{0,30}$")
    issue_type: str = Field(min_length=1, max_length=100)


def _list_fields(_: IssueTarget, __: Registry, ___: Settings) -> TargetFields:
    return TargetFields(
        {"summary": "text", "description": "text"}, frozenset({"summary"}), others="json"
    )


def _send(request: ActionRequest, given: ActionEnvironment) -> str:
    """Create the issue, unless an earlier attempt did; return its key."""
    declared: IssueTarget = request.declared
    target: TargetSystem = given.open("jira")
    try:
        if request.progress is not None:
            found = target.find_after(request.progress, request.idempotency_key)
            if found is not None:
                return found.key
        else:
            given.record_progress(target.mark(declared.project))
        fields = _convert_values(target, declared, request)
        issue = target.create(
            declared.project, declared.issue_type, fields, request.idempotency_key
        )
    except RefusedError as error:
        if error.http_status not in AMBIGUOUS_STATUSES:
            raise
        raise TransientError(
            error.what, expected=error.expected, found=error.found, remedy=error.remedy
        ) from error
    return issue.key


def _convert_values(target: TargetSystem, declared: IssueTarget, request: ActionRequest) -> Any:
    """Return the fields as Jira takes them; labels name the rules, for the hops of its webhooks."""
    specs = {
        field.field_id: field
        for field in target.create_fields(declared.project, declared.issue_type)
    }

    def account(email: str) -> str | None:
        user = target.user_by_email(email)
        return user.account_id if user else None

    try:
        fields = dict(values_of(request.fields, specs, account).fields)
    except UnfitValueError as error:
        raise ContractError(
            f"an issue of {declared.project} cannot take a field",
            expected="fields and values of the issue type",
            found=str(error),
            remedy=f"correct the mappings of {request.rule_id}, then replay the dead letter",
        ) from None
    labels = [f"{HOP_LABEL}{hop}" for hop in request.hops]
    return {**fields, "labels": [*(fields.get("labels") or ()), *labels]}


def _examine(given: ActionExamination) -> ActionFindings:
    """Ask Jira for the project, the issue type and its fields."""
    declared: IssueTarget = given.declared
    project, issue_type = declared.project, declared.issue_type
    target: TargetSystem = given.open("jira")
    try:
        missing = sorted(set(PERMISSIONS) - target.permissions(project))
        specs = [] if missing else target.create_fields(project, issue_type)
    except RefusedError as error:
        if error.http_status not in PROVING:
            return ActionFindings(doubt=error.line)
        issues = f"issues of type {issue_type} in project {project}"
        return ActionFindings([("", f"Jira offers no {issues}: {error.found or error.what}")])
    if missing:
        return ActionFindings([("", f"Jira grants no permission {missing[0]} in {project}")])
    filled = {"labels": None, **given.values}  # labels name the rules
    found = [(text.split()[0].rstrip(":"), text) for text in violations(filled, specs)]
    return ActionFindings([(name if name in filled else "", text) for name, text in found])


JIRA_ISSUE = RoutingAction(
    name="jira_issue",
    description="Creates an issue in a Jira project that WEBHOOKS_FILE names.",
    declaration=IssueTarget,
    fields=_list_fields,
    send=_send,
    examine=_examine,
)
