"""Failure category of a step or run, and what an observation says of partitions without rows."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, cast

from orchestration_project.errors import OrchestrationError, error_text

Category = Literal[
    "source",
    "contract",
    "configuration",
    "transient",
    "database",
    "refused",
    "crash",
    "canceled",
    "defect",
]
"""The first four are those of `errors.py`, whose docs have the remedy of each."""

TRANSIENT_CATEGORIES: tuple[Category, ...] = ("transient", "database", "crash")
"""Kinds of failure that another try may mend; the others stay until somebody changes something."""

PERMANENT_REASONS: Mapping[str, str] = {
    "source": "the source would send the same response; inspect the capture",
    "contract": "it stays quarantined until the source or a rule changes; then load or replay it",
    "configuration": "a setting or run config has to be corrected first",
    "refused": "the step ended itself on purpose",
    "canceled": "somebody ended it",
    "defect": "it is a defect; a retry would fail the same way",
}
"""Why a kind of failure is not retried by itself, by its category."""

DATABASE_ERRORS = frozenset(
    {
        "DBAPIError",
        "DataError",
        "DatabaseError",
        "IntegrityError",
        "InterfaceError",
        "InternalError",
        "NotSupportedError",
        "OperationalError",
        "ProgrammingError",
    }
)
"""Names of database errors (PEP 249), also used by SQLAlchemy."""

DAGSTER_ERRORS: dict[str, Category] = {
    "DagsterExecutionInterruptedError": "canceled",
    "DagsterAssetCheckFailedError": "contract",
    "Failure": "refused",
}
"""Names of Dagster's own; a `Failure` that carries no cause was raised on purpose."""


def classify_step(classes: Sequence[str], refusals: Iterable[str]) -> str:
    """Return why a step failed.

    Args:
        classes: Names of the exception and of what caused it, the outermost first.
        refusals: Categories of the partitions that it quarantined, if that is what it failed by.
    """
    most_common = Counter(sorted(refusals)).most_common(1)
    return most_common[0][0] if most_common else _find_category(classes) or "defect"


def run_category(steps: Sequence[str], classes: Sequence[str]) -> str:
    """Return why a run failed: as its first failed step; without one, its process is gone.

    Args:
        steps: Categories of the steps that failed, the first first.
        classes: Names of what Dagster gives as the run's own error, if it does.
    """
    return steps[0] if steps else _find_category(classes) or "crash"


def _find_category(classes: Sequence[str]) -> str | None:
    if DATABASE_ERRORS.intersection(classes):
        return "database"
    ours = _map_categories()
    known_names = [ours[name] for name in classes if name in ours]
    return (
        known_names[0]
        if known_names
        else next((DAGSTER_ERRORS[name] for name in classes if name in DAGSTER_ERRORS), None)
    )


def is_ours(class_name: str) -> bool:
    """Whether an error of this name is one of ours, whose text has a remedy."""
    return class_name in _map_categories()


def _map_categories() -> dict[str, Category]:
    return {
        kind.__name__: cast("Category", kind.category) for kind in _walk_kinds(OrchestrationError)
    }


def _walk_kinds(kind: type[OrchestrationError]) -> Iterator[type[OrchestrationError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _walk_kinds(subclass)


QUARANTINED = "quarantined"
OUTCOMES = (QUARANTINED, "held back")
"""Outcomes of quarantined partitions; earlier versions wrote the second."""

NO_DATA, NOT_PUBLISHED = "no data", "not published"
WITHOUT_DATA = (NO_DATA, NOT_PUBLISHED)
"""Outcomes of partitions that are not materialized, and have not failed."""

MAX_PART_LENGTH = 4000
"""Characters of one line of an error: an event with five assets stays small."""

PARTS = {"expected": "expected", "found": "found", "what_to_do": "what to do", "where": "where"}
"""Labels of the lines of an error by name of the metadata."""


class Quarantine(NamedTuple):
    """Why a partition was quarantined: category of the error, and its text."""

    category: str
    is_retryable: bool
    reason: str


def format_quarantine(error: OrchestrationError) -> Mapping[str, str | bool]:
    """Return the lines that explain a quarantined partition, the reason first."""
    lines = {name: error.parts[label][:MAX_PART_LENGTH] for name, label in PARTS.items()}
    return {
        "outcome": QUARANTINED,
        "reason": error.what,
        **{name: text for name, text in lines.items() if text},
        "category": error.category,
        "is_retryable": error.is_retryable,
    }


def read_quarantine(metadata: Mapping[str, object]) -> Quarantine | None:
    """Return the quarantine that an observation with this metadata reports; None if it has none."""
    if metadata.get("outcome") not in OUTCOMES:
        return None
    parts = {label: str(metadata.get(name, "")) for name, label in PARTS.items()}
    reason = error_text(str(metadata.get("reason", "")), parts)
    is_retryable = bool(metadata.get("is_retryable", True))
    return Quarantine(str(metadata["category"]), is_retryable, reason)
