"""Tasks as text of a column, and back."""

import json
from datetime import datetime

from orchestration_project.domains.saas.hashing import canonical
from orchestration_project.domains.saas.records import Task


def recorded(task: Task) -> str:
    """Return a task as JSON."""
    return canonical(vars(task))


def read_task(record: str) -> Task:
    """Return the task that was recorded."""
    found = json.loads(record)
    created_at = found["created_at"]
    found["created_at"] = datetime.fromisoformat(created_at) if created_at else None
    return Task(**found)
