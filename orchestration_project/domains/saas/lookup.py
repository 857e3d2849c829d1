"""Parts of a task by their name or path, as conditions and mappings name them."""

import json
from typing import Any, Final

from orchestration_project.domains.saas.records import Task

NAMES: Final = (
    "title",
    "description_html",
    "is_completed",
    "created_at",
    "assignee_email",
    "assignee_name",
    "associated_name",
    "entity_id",
)
"""Names that every source has; others are paths such as ``fields.assigned_to.team``."""

FIELDS: Final = "fields."


class MissingPathError(LookupError):
    """A task has no such part; one that is null is there."""

    def __init__(self, path: str) -> None:
        super().__init__(f"the task has no {path}")
        self.path = path


def is_path(path: str) -> bool:
    """Whether a text names a part of a task, which a particular one may lack."""
    return path in NAMES or (path.startswith(FIELDS) and all(path.split(".")))


def lookup(task: Task, path: str) -> Any:
    """Return the part of a task at a path.

    Raises:
        MissingPathError: There is none.
    """
    if not path.startswith(FIELDS):
        if path not in NAMES:
            raise MissingPathError(path)
        return getattr(task, path)
    found: Any = task.fields
    for name in path.split(".")[1:]:
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            raise MissingPathError(path)
    return found


def as_text(value: Any) -> str:
    """Return a part of a task as the text that people would write for it; null is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
