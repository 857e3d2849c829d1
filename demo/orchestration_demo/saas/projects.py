"""Jira's projects: their fields, issue types, and the ways from one status to another."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestration_demo.saas.people import Json

CATEGORIES: Mapping[str, Json] = {
    "new": {"id": 2, "key": "new", "colorName": "blue-gray", "name": "To Do"},
    "indeterminate": {
        "id": 4,
        "key": "indeterminate",
        "colorName": "yellow",
        "name": "In Progress",
    },
    "done": {"id": 3, "key": "done", "colorName": "green", "name": "Done"},
}

STATUSES: Mapping[str, str] = {
    "To Do": "new",
    "In Progress": "indeterminate",
    "Done": "done",
    "Cancelled": "done",  # a trap: of the same category, and it comes first
}
STATUS_IDS = {"To Do": "10000", "In Progress": "3", "Done": "10001", "Cancelled": "10002"}

PERMISSIONS = ("BROWSE_PROJECTS", "CREATE_ISSUES", "EDIT_ISSUES", "TRANSITION_ISSUES")


@dataclass(frozen=True)
class Field:
    """A field of the create screen.

    Attributes:
        name: As people see it.
        kind: Its type in Jira's schema.
        is_required: Whether an issue must have it.
        has_default: Whether Jira fills it where no caller does.
        options: The values that it takes; empty: any.
    """

    name: str
    kind: str
    is_required: bool = False
    has_default: bool = False
    options: tuple[str, ...] = ()


FIELDS: Mapping[str, Field] = {
    "project": Field("Project", "project", is_required=True),
    "issuetype": Field("Issue Type", "issuetype", is_required=True),
    "summary": Field("Summary", "string", is_required=True),
    "reporter": Field("Reporter", "user", is_required=True, has_default=True),
    "description": Field("Description", "string"),
    "assignee": Field("Assignee", "user"),
    "labels": Field("Labels", "array"),
    "duedate": Field("Due date", "date"),
    "priority": Field("Priority", "priority", has_default=True, options=("High", "Medium", "Low")),
}

TRANSITIONS = {
    "41": ("Cancel", "Cancelled", tuple(STATUSES)),
    "11": ("Reopen", "To Do", ("In Progress", "Done", "Cancelled")),
    "21": ("Start", "In Progress", ("To Do",)),
    "31": ("Done", "Done", ("To Do", "In Progress")),
}
"""Transitions by id: name, where to, from where."""

STEP_BY_STEP = {**TRANSITIONS, "31": ("Done", "Done", ("In Progress",))}


@dataclass(frozen=True)
class Project:
    """A project; ``refused`` are the permissions that we lack there."""

    key: str
    name: str
    project_id: str
    issue_types: Mapping[str, str]
    fields: Mapping[str, Field]
    workflow: Mapping[str, tuple[str, str, tuple[str, ...]]]
    refused: frozenset[str] = field(default_factory=frozenset)


DEPARTMENT = {"customfield_10050": Field("Department", "option", True, False, ("People", "IT"))}

PROJECTS = {
    each.key: each
    for each in (
        Project("HR", "People", "10000", {"10001": "Task", "10002": "Bug"}, FIELDS, TRANSITIONS),
        Project("IT", "Hardware", "10010", {"10001": "Task"}, FIELDS, STEP_BY_STEP),
        Project(
            "OPS", "Operations", "10020", {"10003": "Request"}, FIELDS | DEPARTMENT, TRANSITIONS
        ),
        Project(
            "SECRET",
            "Closed",
            "10030",
            {"10001": "Task"},
            FIELDS,
            TRANSITIONS,
            frozenset({"CREATE_ISSUES", "EDIT_ISSUES"}),
        ),
    )
}


def described(field_id: str, each: Field) -> Json:
    """Return a field as createmeta has it."""
    found: Json = {
        "required": each.is_required,
        "schema": {"type": each.kind, "system": field_id},
        "name": each.name,
        "key": field_id,
        "hasDefaultValue": each.has_default,
        "operations": ["set"],
        "fieldId": field_id,
    }
    if each.options:
        found["allowedValues"] = [
            {"id": str(place), "value": option, "name": option}
            for place, option in enumerate(each.options, start=10_000)
        ]
    return found


def status(name: str) -> Json:
    """Return a status as issues have it."""
    return {
        "name": name,
        "id": STATUS_IDS[name],
        "statusCategory": dict(CATEGORIES[STATUSES[name]]),
    }
