"""Jira's issues: what there is, what may be set, and what happens to them."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from orchestration_demo.saas.adf import problem_of
from orchestration_demo.saas.people import PEOPLE, Json, Person
from orchestration_demo.saas.projects import PROJECTS, Field, Project, status

MAX_SUMMARY_LENGTH = 255

OnChange = Callable[[str, Json, list[Json]], None]
"""Takes the webhook event's name, the issue as it is then, and what changed of it."""


class InvalidError(Exception):
    """Jira refuses what is to be set; ``errors`` by field."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(str(errors))
        self.errors = dict(errors)


@dataclass
class Issue:
    """One issue; ``indexed_at`` is when searches begin to find it as it is."""

    issue_id: str
    key: str
    project: Project
    issue_type: str
    values: dict[str, Any]
    status: str
    created_at: datetime
    updated_at: datetime
    indexed_at: datetime
    properties: dict[str, Any] = field(default_factory=dict)


class Issues:
    """All issues; each change calls ``on_change``, and ``now`` is the time by Jira's clock."""

    def __init__(self, now: Callable[[], datetime], on_change: OnChange) -> None:
        self._now = now
        self._on_change = on_change
        self._issues: dict[str, Issue] = {}
        self._next: dict[str, int] = dict.fromkeys(PROJECTS, 1)
        self.index_lag = timedelta(0)
        self.writes = 0  # creates, updates and transitions from outside

    def create(self, fields: Mapping[str, Any], properties: Mapping[str, Any]) -> Issue:
        """Make an issue.

        Raises:
            InvalidError: Something of it is refused.
        """
        project = _project_of(fields)
        issue_type = _issue_type_of(project, fields)
        rest = {name: each for name, each in fields.items() if name not in ("project", "issuetype")}
        errors = _errors(project, rest, is_new=True)
        if errors:
            raise InvalidError(errors)
        number = self._next[project.key]
        self._next[project.key] += 1
        now = self._now()
        issue = Issue(
            issue_id=str(10_000 + sum(self._next.values())),
            key=f"{project.key}-{number}",
            project=project,
            issue_type=issue_type,
            values=copy.deepcopy(rest),
            status="To Do",
            created_at=now,
            updated_at=now,
            indexed_at=now + self.index_lag,
            properties=dict(properties),
        )
        self._issues[issue.key] = issue
        self._on_change("jira:issue_created", self.shown(issue), [])
        return issue

    def get(self, key: str) -> Issue | None:
        """Return an issue by its key or id."""
        return self._issues.get(key) or next(
            (each for each in self._issues.values() if each.issue_id == key), None
        )

    def update(self, issue: Issue, fields: Mapping[str, Any]) -> None:
        """Set fields.

        Raises:
            InvalidError: Something of it is refused.
        """
        errors = _errors(issue.project, fields, is_new=False)
        if errors:
            raise InvalidError(errors)
        changes = [
            _change(name, issue.values.get(name), value)
            for name, value in fields.items()
            if issue.values.get(name) != value
        ]
        if changes:
            issue.values |= copy.deepcopy(dict(fields))
            self._changed(issue, changes)

    def transition(self, issue: Issue, transition_id: str) -> bool:
        """Go to another status; return whether there is this way from where the issue is."""
        step = issue.project.workflow.get(transition_id)
        if step is None or issue.status not in step[2]:
            return False
        before, issue.status = issue.status, step[1]
        self._changed(issue, [_change("status", before, issue.status)])
        return True

    def delete(self, key: str) -> bool:
        """Delete an issue; return whether there was one."""
        issue = self._issues.pop(key, None)
        if issue is not None:
            self._on_change("jira:issue_deleted", self.shown(issue), [])
        return issue is not None

    def index(self) -> None:
        """Have searches find all that there is."""
        for each in self._issues.values():
            each.indexed_at = self._now()

    def searchable(self) -> list[Issue]:
        """Return the issues that a search can find by now, the oldest first."""
        return [each for each in self._issues.values() if each.indexed_at <= self._now()]

    def all(self) -> list[Issue]:
        """Return every issue, the oldest first."""
        return list(self._issues.values())

    def shown(self, issue: Issue) -> Json:
        """Return an issue as the API has it."""
        project, values = issue.project, issue.values
        fields: Json = {
            "summary": values.get("summary"),
            "description": values.get("description"),
            "project": {"id": project.project_id, "key": project.key, "name": project.name},
            "issuetype": {"id": issue.issue_type, "name": project.issue_types[issue.issue_type]},
            "status": status(issue.status),
            "assignee": _shown_user(_account_of(values.get("assignee"))),
            "labels": values.get("labels") or [],
            "created": jira_time(issue.created_at),
            "updated": jira_time(issue.updated_at),
        }
        known = ("summary", "description", "assignee", "labels")
        fields |= {name: each for name, each in values.items() if name not in known}
        return copy.deepcopy({"id": issue.issue_id, "key": issue.key, "fields": fields})

    def _changed(self, issue: Issue, changes: list[Json]) -> None:
        issue.updated_at = self._now()
        self._on_change("jira:issue_updated", self.shown(issue), changes)


def jira_time(moment: datetime) -> str:
    """Return a time as Jira writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}+0000"


def user_shown(person: Person) -> Json:
    """Return a user as the API has it."""
    found: Json = {
        "accountId": person.account_id,
        "accountType": "atlassian",
        "displayName": person.name,
        "active": person.is_active,
    }
    return found | ({"emailAddress": person.email} if person.email else {})


def _shown_user(account_id: str | None) -> Json | None:
    found = [each for each in PEOPLE if account_id and each.account_id == account_id]
    return user_shown(found[0]) if found else None


def _account_of(value: Any) -> str | None:
    given = (value.get("accountId") or value.get("id")) if isinstance(value, dict) else None
    return given if isinstance(given, str) else None


def _project_of(fields: Mapping[str, Any]) -> Project:
    given = fields.get("project")
    named = given if isinstance(given, dict) else {}
    for project in PROJECTS.values():
        if named.get("key") == project.key or named.get("id") == project.project_id:
            if "CREATE_ISSUES" in project.refused:
                text = "You do not have permission to create issues in this project."
                raise InvalidError({"project": text})
            return project
    raise InvalidError({"project": "valid project is required"})


def _issue_type_of(project: Project, fields: Mapping[str, Any]) -> str:
    given = fields.get("issuetype")
    named = given if isinstance(given, dict) else {}
    for type_id, name in project.issue_types.items():
        if named.get("id") == type_id or named.get("name") == name:
            return type_id
    raise InvalidError({"issuetype": "Specify a valid issue type"})


def _errors(project: Project, fields: Mapping[str, Any], *, is_new: bool) -> dict[str, str]:
    errors = {
        name: f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
        for name in fields
        if name not in project.fields
    }
    for name, each in project.fields.items():
        if name in ("project", "issuetype"):
            continue
        if name in fields and (problem := _problem(name, each, fields[name])):
            errors[name] = problem
        is_requested = is_new and each.is_required and not each.has_default
        if is_requested and fields.get(name) in (None, "") and name not in errors:
            errors[name] = f"{each.name} is required."
    return errors


def _problem(name: str, each: Field, value: Any) -> str | None:
    """Return why a field does not take a value, None where it does."""
    if value is None:
        return "You must specify a summary of the issue." if name == "summary" else None
    if name == "description":
        return problem_of(value)
    return CHECKS.get(each.kind, _any)(each, value)


def _any(_: Field, __: Any) -> str | None:
    return None


def _text_problem(_: Field, value: Any) -> str | None:
    if not isinstance(value, str):
        return "Operation value must be a string"
    if not value.strip():
        return "You must specify a summary of the issue."
    if "\n" in value or "\r" in value:
        return "The summary is invalid because it contains newline characters."
    if len(value) > MAX_SUMMARY_LENGTH:
        return f"Summary must be less than {MAX_SUMMARY_LENGTH} characters."
    return None


def _user_problem(_: Field, value: Any) -> str | None:
    account_id = _account_of(value)
    if any(each.account_id == account_id and each.is_active for each in PEOPLE if account_id):
        return None
    return f"User '{account_id}' cannot be assigned issues."


def _labels_problem(_: Field, value: Any) -> str | None:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        return "data was not an array"
    spaced = [each for each in value if any(letter.isspace() for letter in each)]
    return f"The label '{spaced[0]}' contains spaces which is invalid." if spaced else None


def _date_problem(_: Field, value: Any) -> str | None:
    try:
        datetime.strptime(value, "%Y-%m-%d")  # noqa: DTZ007 - a day
    except (TypeError, ValueError):
        return f"Error parsing date string: {value}"
    return None


def _option_problem(each: Field, value: Any) -> str | None:
    named = value if isinstance(value, dict) else {}
    given = named.get("value") or named.get("name")
    return None if given in each.options else f"Option value '{given}' is not valid"


CHECKS: Mapping[str, Callable[[Field, Any], str | None]] = {
    "string": _text_problem,
    "user": _user_problem,
    "array": _labels_problem,
    "date": _date_problem,
    "option": _option_problem,
    "priority": _option_problem,
}


def _change(name: str, before: Any, after: Any) -> Json:
    return {
        "field": name,
        "fieldtype": "jira",
        "fieldId": name,
        "from": None if before is None else str(before),
        "fromString": None if before is None else str(before),
        "to": None if after is None else str(after),
        "toString": None if after is None else str(after),
    }
