"""Jira's issues, create screens and webhooks, read: Cloud's API v3, and Server's v2 beside it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from orchestration_project.domains.saas.events import Kind, TaskEvent
from orchestration_project.domains.saas.records import (
    FieldSpec,
    Issue,
    StatusCategory,
    Transition,
    User,
)
from orchestration_project.domains.saas.wire import (
    identity,
    json_of,
    moment,
    needed,
    part,
    storable,
    text,
    unreadable,
)

SYSTEM = "jira"

PROPERTY = "orchestration-source"
"""Entity property with the source of an issue: ``{"id": …}``."""

MAX_LABEL_LENGTH = 255

PERMISSIONS = ("BROWSE_PROJECTS", "CREATE_ISSUES", "EDIT_ISSUES", "TRANSITION_ISSUES")
"""Permissions that the account needs in a project, as Jira names them."""

CATEGORIES: Mapping[str, StatusCategory] = {
    "new": "new",
    "undefined": "new",  # "No Category", of statuses that came from old imports
    "indeterminate": "indeterminate",
    "done": "done",
}

COMMENTED = frozenset({"issue_commented", "issue_comment_edited", "issue_comment_deleted"})
"""Server's name of an update that is only a comment."""


def issue_of(record: Any) -> Issue:
    """Return an issue as we know it.

    Raises:
        ContractError: The record is none.
    """
    values = storable(record, "an issue of Jira")
    key = needed(values, "key", "an issue of Jira")
    what = f"Jira's issue {key}"
    fields = part(values, "fields", what)
    status = part(fields, "status", what)
    assignee = part(fields, "assignee", what)
    updated_at = moment(fields, "updated", what)
    if updated_at is None:
        raise unreadable(what, "a time in 'updated'", "null")
    source_id = _read_source_id(part(values, "properties", what), what)
    return Issue(
        key=key,
        issue_id=identity(values, "id", what),
        project=needed(part(fields, "project", what), "key", what),
        issue_type=needed(part(fields, "issuetype", what), "name", what),
        summary=text(fields, "summary", what) or "",
        description=_read_document(fields, what),
        status_name=needed(status, "name", what),
        status_category=_read_category(status, what),
        assignee_account_id=_read_account_id(assignee, what),
        updated_at=updated_at,
        source_id=source_id,
        fields=_drop_our_label(fields, source_id),
    )


def key_of(record: Any) -> str:
    """Return the key of an issue, also of one that cannot be read otherwise.

    Raises:
        ContractError: It has none.
    """
    what = "an issue of Jira"
    if not isinstance(record, dict):
        raise unreadable(what, "a JSON object", record)
    return needed(storable({"key": record.get("key")}, what), "key", what)


def source_id_of(record: Any) -> str | None:
    """Return the source id of an issue, also of one that cannot be read otherwise.

    Raises:
        ContractError: The record is not an issue, or its property not ours.
    """
    what = f"Jira's issue {key_of(record)}"
    return _read_source_id(part(record, "properties", what), what)


def label_of(source_id: str) -> str:
    """Return the label by which an issue is searched for.

    Jira finds issues by a property only where an app of ours had it indexed; by a label always.
    """
    return re.sub(r"[^\w.-]", "-", source_id)[:MAX_LABEL_LENGTH]


def _drop_our_label(fields: Mapping[str, Any], source_id: str | None) -> Mapping[str, Any]:
    labels = fields.get("labels")
    if source_id is None or not isinstance(labels, list):
        return fields
    return {**fields, "labels": [label for label in labels if label != label_of(source_id)]}


def _read_document(fields: Mapping[str, Any], what: str) -> Mapping[str, Any] | None:
    """Return the description as a document: Server, and webhooks of both, have it as text."""
    description = fields.get("description")
    if not isinstance(description, str):
        return part(fields, "description", what) or None
    lines = [line for line in description.splitlines() if line.strip()]
    paragraphs = [{"type": "paragraph", "content": [_build_text_node(line)]} for line in lines]
    return {"type": "doc", "version": 1, "content": paragraphs} if paragraphs else None


def _build_text_node(line: str) -> Mapping[str, str]:
    return {"type": "text", "text": line}


def _read_category(status: Mapping[str, Any], what: str) -> StatusCategory:
    key = needed(part(status, "statusCategory", what), "key", what)
    if key not in CATEGORIES:
        raise unreadable(what, f"a status category of {', '.join(CATEGORIES)}", key)
    return CATEGORIES[key]


def _read_account_id(person: Mapping[str, Any], what: str) -> str | None:
    """Return who somebody is: Cloud's account, or the name of an account on a Server."""
    return text(person, "accountId", what) or text(person, "name", what)


def _read_source_id(properties: Mapping[str, Any], what: str) -> str | None:
    return text(part(properties, PROPERTY, what), "id", what)


def transition_of(record: Any) -> Transition:
    """Return a step that an issue may take.

    Raises:
        ContractError: The record is none.
    """
    what = "a transition of Jira's"
    values = storable(record, what)
    status = part(values, "to", what)
    return Transition(
        transition_id=identity(values, "id", what),
        name=needed(values, "name", what),
        to_category=_read_category(status, what),
        to_name=needed(status, "name", what),
    )


def field_of(record: Any) -> FieldSpec:
    """Return a field of a create screen; Server and old Clouds say `key` for `fieldId`.

    Raises:
        ContractError: The record is none.
    """
    what = "a field of Jira's create screen"
    values = storable(record, what)
    field_id = needed(values, "fieldId" if "fieldId" in values else "key", what)
    schema = part(values, "schema", what)
    return FieldSpec(
        field_id=field_id,
        name=needed(values, "name", what),
        is_required=values.get("required") is True,
        type=needed(schema, "type", what),
        allowed_values=_read_allowed(values.get("allowedValues")),
        has_default=values.get("hasDefaultValue") is True,
        items=text(schema, "items", what) or "string",
        is_document=text(schema, "system", what) == "environment"
        or (text(schema, "custom", what) or "").endswith(":textarea"),
    )


def _read_allowed(values: Any) -> Sequence[str]:
    """Return the values that a field takes: of options the value, of others the name."""
    options = (
        [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
    )
    named = [option.get("value") or option.get("name") for option in options]
    return tuple(item for item in named if isinstance(item, str))


def user_of(record: Any) -> User:
    """Return somebody; the address is None where they hide it.

    Raises:
        ContractError: The record is none.
    """
    what = "a user of Jira's"
    values = storable(record, what)
    account_id = _read_account_id(values, what)
    if not account_id:
        raise unreadable(what, "an 'accountId'", "null")
    return User(account_id, text(values, "emailAddress", what), values.get("active") is True)


def user_of_address(users: Sequence[User], email: str) -> User | None:
    """Return the one active user of exactly this address; None: there is none, or several.

    A search of Jira's finds whoever has a part of it in a name or an address.
    """
    casefold = email.strip().casefold()
    same_users = [
        user for user in users if user.is_active and (user.email or "").casefold() == casefold
    ]
    return same_users[0] if casefold and len(same_users) == 1 else None


def event_in(body: bytes) -> TaskEvent:
    """Return the event of a Jira webhook, of Cloud or Server.

    Raises:
        ContractError: It is none.
    """
    what = "a webhook of Jira's"
    values = storable(json_of(body), what)
    name = needed(values, "webhookEvent", what)
    kind = _classify_event(name, values, what)
    if kind == "other":
        return TaskEvent(SYSTEM, "other", None)
    return TaskEvent(SYSTEM, kind, needed(part(values, "issue", what), "key", what))


def _classify_event(name: str, said: Mapping[str, Any], what: str) -> Kind:
    if name.startswith("comment_"):
        return "commented" if said.get("issue") else "other"  # a deleted one may not say whose
    plain: dict[str, Kind] = {"jira:issue_created": "created", "jira:issue_deleted": "deleted"}
    if name != "jira:issue_updated":
        return plain.get(name, "other")
    is_comment = text(said, "issue_event_type_name", what) in COMMENTED
    if is_comment and not part(said, "changelog", what):
        return "commented"
    status = part(part(part(said, "issue", what), "fields", what), "status", what)
    category = text(part(status, "statusCategory", what), "key", what)
    return "completed" if category == "done" else "updated"
