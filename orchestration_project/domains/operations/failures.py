"""Failure category of a step or run: one word, from the names of its exceptions."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, cast

from orchestration_project.errors import OrchestrationError

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

OTHERS: dict[str, Category] = {
    "DagsterExecutionInterruptedError": "canceled",
    "DagsterAssetCheckFailedError": "contract",
    "Failure": "refused",
}
"""Names of Dagster's own; a `Failure` that carries no cause was raised on purpose."""


def step_category(classes: Sequence[str], refusals: Iterable[str]) -> str:
    """Return why a step failed.

    Args:
        classes: Names of the exception and of what caused it, the outermost first.
        refusals: Categories of the partitions that it held back, if that is what it failed by.
    """
    most = Counter(sorted(refusals)).most_common(1)
    return most[0][0] if most else _named(classes) or "defect"


def run_category(steps: Sequence[str], classes: Sequence[str]) -> str:
    """Return why a run failed: as its first failed step; without one, its process is gone.

    Args:
        steps: Categories of the steps that failed, the first first.
        classes: Names of what Dagster gives as the run's own error, if it does.
    """
    return steps[0] if steps else _named(classes) or "crash"


def _named(classes: Sequence[str]) -> str | None:
    if DATABASE_ERRORS.intersection(classes):
        return "database"
    ours = _of_ours()
    known = [ours[name] for name in classes if name in ours]
    return known[0] if known else next((OTHERS[name] for name in classes if name in OTHERS), None)


def is_ours(class_name: str) -> bool:
    """Whether an error of this name is one of ours, whose text has a remedy."""
    return class_name in _of_ours()


def _of_ours() -> dict[str, Category]:
    return {kind.__name__: cast("Category", kind.category) for kind in _kinds(OrchestrationError)}


def _kinds(kind: type[OrchestrationError]) -> Iterator[type[OrchestrationError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _kinds(each)
