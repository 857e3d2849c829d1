"""Tasks as they are stored: as text of a column, and as one digest to compare."""

import hashlib
import json
from datetime import datetime
from typing import Any

from orchestration_project.domains.saas.lookup import MissingPathError, lookup
from orchestration_project.domains.saas.records import Task
from orchestration_project.domains.saas.rules import RuleSet

ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), default=datetime.isoformat
)  # made once: a look hashes every task


def state_hash(task: Task, rules: RuleSet) -> str:
    """Return the SHA-256 of the parts of a task that rules use, and of the rules' version.

    What changes by itself, such as a view count, is not part of it unless a rule uses it.
    """
    content = [rules.version, *(_find_part(task, path) for path in rules.used)]
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: keys sorted, nothing but ASCII."""
    return ENCODER.encode(value)


def _find_part(task: Task, path: str) -> list[Any]:
    """Return a part of a task, so that null differs from what is not there."""
    try:
        return [lookup(task, path)]
    except MissingPathError:
        return []


def recorded(task: Task) -> str:
    """Return a task as JSON."""
    return canonical(vars(task))


def read_task(record: str) -> Task:
    """Return the task that was recorded."""
    document = json.loads(record)
    created_at = document["created_at"]
    document["created_at"] = datetime.fromisoformat(created_at) if created_at else None
    return Task(**document)
