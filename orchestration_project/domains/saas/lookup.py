"""Parts of a task by their name or path, as conditions and mappings name them."""

from typing import Any, Final

from orchestration_project.domains.saas.records import Task
from orchestration_project.engine.contracts.matching import find_member

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
    try:
        return find_member(task.fields, path.split(".")[1:])
    except LookupError:
        raise MissingPathError(path) from None
