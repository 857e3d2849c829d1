"""Runs that sensors request to derive tables: each over consecutive partitions, named by inputs."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Protocol

from orchestration_project.engine.contracts.partition_tags import RANGE_END, RANGE_START
from orchestration_project.engine.contracts.ticks import (
    ONCE_A_DAY,
    REQUESTED,
    PlannedRun,
    TickPlan,
    choose_runs,
)


class Versioned(Protocol):
    """A rule names the partitions that can be derived, and what each is derived of."""

    def candidates(self, loaded: Mapping[str, Any]) -> Sequence[str]:
        """Return every partition that can be derived."""
        ...

    def version(self, key: str, loaded: Mapping[str, Any]) -> str:
        """Return the version, in words, that a derivation of ``key`` would have now."""
        ...


@dataclass(frozen=True)
class RecomputationRequest:
    """A run over consecutive partitions, with a version that makes it unique."""

    first: str
    last: str
    run_key: str


def build_requests(
    rules: Iterable[Versioned],
    due: Iterable[tuple[str, str]],
    loaded: Mapping[str, Any],
    *,
    database: datetime | None,
    day: date,
) -> list[RecomputationRequest]:
    """Return the runs that derive the partitions between each (first, last) of ``due``.

    The run key names what is derived from what, in which database (by when its first partition
    loaded), and the day: a run that failed is requested again when its inputs change or on the
    next day, not at every tick.
    """
    entries = []
    for first, last in due:
        between = [
            rule.version(key, loaded)
            for rule in rules
            for key in rule.candidates(loaded)
            if first <= key <= last
        ]
        digest = hashlib.sha256("\n".join([str(database), *between]).encode()).hexdigest()[:16]
        entries.append(RecomputationRequest(first, last, f"{first}...{last}@{digest} ({day})"))
    return entries


def plan_run(request: RecomputationRequest, job_name: str) -> PlannedRun:
    """Return the run of a request, by the job of this name."""
    return PlannedRun(
        run_key=request.run_key,
        job_name=job_name,
        tags={RANGE_START: request.first, RANGE_END: request.last},
    )


def plan_derivations(
    due: Collection[str],
    runs: Sequence[PlannedRun],
    known_keys: Collection[str],
    *,
    running: str = "",
    current: str = "",
    left_out: str = "",
) -> TickPlan:
    """Return which derivations a tick requests: none while a run is under way.

    Args:
        due: Keys of partitions that are out of date.
        runs: Runs over all of them.
        known_keys: Those of their run keys that a run has.
        running: A sentence about a run that derives them; empty: none is under way.
        current: A sentence for a tick at which nothing is due.
        left_out: A sentence about partitions that are out of date, and not due.
    """
    if not due:
        return TickPlan(skip_reason=f"Nothing to do: {current}{left_out}")
    if running:
        return TickPlan(skip_reason=running)
    chosen = choose_runs(runs, known_keys)
    places = {
        REQUESTED: _find_within(chosen.requested, due),
        "asked_today": _find_within(chosen.requested_today, due),
    }
    if not chosen.requested:
        reason = f"Not derived, and requested today: {_describe(runs)}; {ONCE_A_DAY}{left_out}"
        return TickPlan(places=places, skip_reason=reason)
    message = f"Requested {_describe(chosen.requested)}.{left_out}"
    return TickPlan(requests=chosen.requested, places=places, message=message)


def _find_within(runs: Iterable[PlannedRun], keys: Collection[str]) -> list[str]:
    """Return the keys that each run is over; a key twice, if two are."""
    ranges = [(run.tags[RANGE_START], run.tags[RANGE_END]) for run in runs]
    return [key for first, last in ranges for key in keys if first <= key <= last]


def _describe(runs: Iterable[PlannedRun]) -> str:
    return ", ".join(f"{run.tags[RANGE_START]} to {run.tags[RANGE_END]}" for run in runs)
