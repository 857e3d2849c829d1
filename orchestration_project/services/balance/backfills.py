"""Equation of a backfill: what it was to make = what its runs did of it + what got no run.

Dagster has both, each in its own place: the target is stored when the backfill is requested, and
the ends of partitions are events of runs.
"""

import time
from collections import Counter
from datetime import datetime

import dagster as dg

from orchestration_project.engine.contracts.balance import Balance, UnbalancedError
from orchestration_project.engine.dagster_private.backfills import (
    BulkActionStatus,
    PartitionBackfill,
    find_backfills,
)
from orchestration_project.engine.equations import SubjectBalance, record_balance
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.services.alerts.rules.decisions import Progress
from orchestration_project.services.backfills import (
    ACTIVE,
    backfill_ends,
    find_newest_backfill,
    find_target_units,
    is_over,
    list_newer_backfills,
)
from orchestration_project.tables.operations_runs import operations_runs

MAX_RUNS = 1000
"""Runs of a backfill whose events are read; the equation of one with more is not counted."""

SECONDS_PER_TICK = 15
"""Time after which no further backfill is read in a tick."""

WITHOUT_RUN = {
    BulkActionStatus.CANCELED: "canceled",
    BulkActionStatus.FAILED: "never_started",
}
"""Place of partitions without a run, by how the backfill ended."""


def compute_balance(
    instance: dg.DagsterInstance, backfill: PartitionBackfill, repository: dg.RepositoryDefinition
) -> Balance:
    """Return the equation of a backfill that ended.

    A partition that no run of a completed backfill ended is nowhere: it is the difference.
    """
    ends = backfill_ends(instance, backfill.backfill_id, MAX_RUNS)
    targets = {} if ends is None else find_target_units(backfill, repository, ends)
    if ends is None or not targets:
        return Balance("backfill", None, {})
    without_run = WITHOUT_RUN.get(backfill.status)
    counts = Counter(
        ends.get(unit, "upstream_failed" if is_left_out else without_run)
        for unit, is_left_out in targets.items()
    )
    places = {text: count for text, count in sorted(counts.items(), key=str) if text}
    return Balance("backfill", len(targets), places)


def record_ended_backfills(
    instance: dg.DagsterInstance,
    repository: dg.RepositoryDefinition,
    warehouse: Warehouse,
    progress: Progress,
    now: datetime,
) -> tuple[Progress, list[str]]:
    """Record the equation of each backfill that ended since the last look; return what differs.

    A look reads the newest backfill and those that have not ended, however many there were.
    """
    if progress.newest_backfill is None:  # those that ended before are not recorded
        active = [backfill.backfill_id for backfill in find_backfills(instance, statuses=ACTIVE)]
        update = {"newest_backfill": find_newest_backfill(instance), "open_backfills": active}
        return progress.model_copy(update=update), []
    newer = list_newer_backfills(instance, progress.newest_backfill)
    waiting, problems = [], list[str]()
    until = time.monotonic() + SECONDS_PER_TICK
    for backfill_id in [*progress.open_backfills, *reversed(newer)]:
        backfill = instance.get_backfill(backfill_id)
        if backfill is None:
            continue
        if time.monotonic() > until or not is_over(instance, backfill):
            waiting.append(backfill_id)
            continue
        try:
            _record(instance, backfill, repository, warehouse, now)
        except UnbalancedError as error:
            problems.append(str(error))
        except OrchestrationError as error:  # the next look records it
            waiting.append(backfill_id)
            problems.append(f"The balance of {backfill_id} cannot be recorded: {error}")
    newest = newer[0] if newer else progress.newest_backfill
    update = {"newest_backfill": newest, "open_backfills": waiting}
    return progress.model_copy(update=update), problems


def _record(
    instance: dg.DagsterInstance,
    backfill: PartitionBackfill,
    repository: dg.RepositoryDefinition,
    warehouse: Warehouse,
    now: datetime,
) -> None:
    balance = compute_balance(instance, backfill, repository)
    stage = SubjectBalance(operations_runs.name, f"backfill {backfill.backfill_id}", balance)
    with warehouse.writing() as connection:
        record_balance(connection, stage, run_id="", at=now)
