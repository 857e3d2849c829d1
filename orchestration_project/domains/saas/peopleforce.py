"""PeopleForce's tasks, pages and webhooks, read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration_project.domains.saas.events import Kind, TaskEvent
from orchestration_project.domains.saas.records import Task
from orchestration_project.domains.saas.wire import (
    identity,
    json_of,
    moment,
    part,
    storable,
    text,
    unreadable,
)

SYSTEM, TASK = "peopleforce", "task"

KINDS: Mapping[str, Kind] = {
    "create": "created",
    "update": "updated",
    "complete": "completed",
    "delete": "deleted",
    "destroy": "deleted",
}
"""By the stem of what follows `task_` in a webhook's action."""


@dataclass(frozen=True)
class Pagination:
    """Totals on a page: numbers of pages and tasks."""

    page: int
    pages: int
    count: int


def task_of(record: Any) -> Task:
    """Return a task as we know it.

    Raises:
        ContractError: The record is none.
    """
    fields = storable(record, "a task of PeopleForce")
    entity_id = identity(fields, "id", "a task of PeopleForce")
    what = f"PeopleForce's task {entity_id}"
    completed = fields.get("completed")
    if not isinstance(completed, bool):
        raise unreadable(what, "true or false in 'completed'", completed)
    assignee = part(fields, "assigned_to", what)
    return Task(
        system=SYSTEM,
        entity_type=TASK,
        entity_id=entity_id,
        title=text(fields, "title", what),
        description_html=text(fields, "description", what),
        is_completed=completed,
        created_at=moment(fields, "created_at", what),
        assignee_email=_trim_text(text(assignee, "email", what)),
        assignee_name=_trim_text(text(assignee, "full_name", what)),
        associated_name=_name_of(fields, what),
        fields=fields,
    )


def _name_of(fields: Mapping[str, Any], what: str) -> str | None:
    """Return whom a task is about: an object with a name, or the name."""
    if isinstance(fields.get("associated_to"), str):
        return _trim_text(fields["associated_to"])
    about = part(fields, "associated_to", what)
    return _trim_text(text(about, "full_name", what) or text(about, "name", what))


def _trim_text(found: str | None) -> str | None:
    return (found or "").strip() or None


def pagination_of(page: Mapping[str, Any]) -> Pagination:
    """Return the pagination that a page gives.

    Raises:
        ContractError: It does not.
    """
    what = "a page of PeopleForce's tasks"
    values = part(part(page, "metadata", what), "pagination", what)
    numbers = [values.get(name) for name in ("page", "pages", "count")]
    if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
        raise unreadable(what, "page, pages and count as numbers", values)
    return Pagination(*(int(number or 0) for number in numbers))


def event_in(body: bytes) -> TaskEvent:
    """Return the event of a PeopleForce webhook.

    Raises:
        ContractError: It is none.
    """
    what = "a webhook of PeopleForce's"
    values = storable(json_of(body), what)
    action = text(values, "action", what)
    if action is None:
        raise unreadable(what, "an 'action'", values)
    subject, _, verb = action.partition("_")
    if subject != TASK:
        return TaskEvent(SYSTEM, "other", None)
    kinds: list[Kind] = [KINDS[stem] for stem in KINDS if verb.startswith(stem)]
    kind = kinds[0] if kinds else "updated"
    return TaskEvent(SYSTEM, kind, identity(part(values, "data", what), "id", what))
