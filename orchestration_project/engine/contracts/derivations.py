"""Runs that sensors request to derive tables: each over consecutive partitions, named by inputs."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol


class Versioned(Protocol):
    """A rule names the partitions that can be derived, and what each is derived of."""

    def candidates(self, landed: Mapping[str, Any]) -> Sequence[str]:
        """Return every partition that can be derived."""
        ...

    def version(self, key: str, landed: Mapping[str, Any]) -> str:
        """Return the version, in words, that a derivation of ``key`` would have now."""
        ...


@dataclass(frozen=True)
class RecomputationRequest:
    """A run over consecutive partitions, with a version that makes it unique."""

    first: str
    last: str
    run_key: str


def requests(
    rules: Iterable[Versioned],
    due: Iterable[tuple[str, str]],
    landed: Mapping[str, Any],
    *,
    database: datetime | None,
    day: date,
) -> list[RecomputationRequest]:
    """Return the runs that derive the partitions between each (first, last) of ``due``.

    The run key names what is derived from what, in which database (by when its first partition
    landed), and the day: a run that failed is asked for again when its inputs change or on the
    next day, not at every tick.
    """
    entries = []
    for first, last in due:
        between = [
            rule.version(key, landed)
            for rule in rules
            for key in rule.candidates(landed)
            if first <= key <= last
        ]
        digest = hashlib.sha256("\n".join([str(database), *between]).encode()).hexdigest()[:16]
        entries.append(RecomputationRequest(first, last, f"{first}...{last}@{digest} ({day})"))
    return entries
