"""Records of the two sides of a sync in common terms: tasks and issues.

Times are aware and in UTC. What a system leaves out or gives as null is None; its text is kept
letter by letter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

StatusCategory = Literal["new", "indeterminate", "done"]
"""Category of a status, whatever its name: not begun, in progress, ended."""


@dataclass(frozen=True)
class Task:
    """A record of the source.

    Attributes:
        fields: The JSON object as it came, for rules and mappings on any part of it.
    """

    system: str
    entity_type: str
    entity_id: str
    title: str | None
    description_html: str | None
    is_completed: bool
    created_at: datetime | None
    assignee_email: str | None
    assignee_name: str | None
    associated_name: str | None
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Issue:
    """A record of the target.

    Attributes:
        description: An ADF document; None: there is none.
        source_id: What our entity property says it was made of; None: it has no such property.
        fields: The JSON object `fields` as it came: what mappings wrote is found here by its id.
    """

    key: str
    issue_id: str
    project: str
    issue_type: str
    summary: str
    description: Mapping[str, Any] | None
    status_name: str
    status_category: StatusCategory
    assignee_account_id: str | None
    updated_at: datetime
    source_id: str | None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Transition:
    """A step that an issue may take now, and the status that it leads to."""

    transition_id: str
    name: str
    to_category: StatusCategory
    to_name: str = ""


@dataclass(frozen=True)
class FieldSpec:
    """A field that an issue can be created with.

    Attributes:
        type: In the target's words: string, user, date, option, array, number, priority …
        allowed_values: Names or values of which it takes one; empty: it takes any.
        items: Of an array what is in it, in the same words.
        is_document: Whether its text is a document, as a description's is.
    """

    field_id: str
    name: str
    is_required: bool
    type: str
    allowed_values: Sequence[str] = ()
    has_default: bool = False
    items: str = "string"
    is_document: bool = False


@dataclass(frozen=True)
class User:
    """Somebody whom an issue can be assigned to."""

    account_id: str
    email: str | None
    is_active: bool
