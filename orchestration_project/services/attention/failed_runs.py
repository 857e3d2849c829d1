"""Failed runs that nothing made good since, from the ledger: by asset and partition, or by step."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, exists, func, literal, or_, select

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.attention.rules import (
    Attempt,
    Entry,
    Expectation,
    advise,
    find_failure_start,
)
from orchestration_project.tables.catalogue import asset_of
from orchestration_project.tables.operations_runs import operations_runs, operations_steps
from orchestration_project.tables.spine import deliveries

if TYPE_CHECKING:
    import dagster as dg

MAX_STEPS_READ = 5_000
"""Failed steps and runs that are read, the latest first."""

MAX_RANGE_KEYS = 2_000
"""Largest failed range whose partitions are compared one by one with what was loaded since."""

MAX_CLOCK_SKEW = timedelta(hours=1)
"""Skew of clocks by which a step may end before its run was created; the index is of ends."""

QUARANTINE_CATEGORIES = ("contract", "source")
"""Categories of failures by which a partition is quarantined."""

Partitions: TypeAlias = "Mapping[tuple[str, ...], dg.PartitionsDefinition]"

_runs, _steps = operations_runs.c, operations_steps.c
_LATER = operations_runs.alias("later_runs")
_LATER_STEPS = operations_steps.alias("later_steps")


class _Failure(NamedTuple):
    """A failed step, or a failed run without one; ``unit`` is its asset, or job and step."""

    unit: str
    partition: str
    asset: str
    run_id: str
    job: str
    domain: str
    category: str
    error: str
    created_at: datetime
    ended_at: datetime

    @property
    def attempt(self) -> Attempt:
        return Attempt(self.unit, self.partition, self.created_at, self.ended_at)


class FailedRuns(NamedTuple):
    """Entries of failed runs, and whether there are more failures than were read."""

    entries: list[Entry]
    is_cut: bool


def read_failed_runs(warehouse: Warehouse, find_partitions: Callable[[], Partitions]) -> FailedRuns:
    """Return the latest failed run of each asset and partition, or of each step without asset.

    A run that failed by partitions that it quarantined is left out: these have their own entries.

    Args:
        warehouse: Has the ledger.
        find_partitions: Returns the partitions of the assets, by the path of their key. It is
            called only for ranges: it imports definitions.
    """
    with warehouse.reading() as connection:
        read = _read_failures(connection)
        failures = read[:MAX_STEPS_READ]
        quarantining = _read_quarantining(connection, failures)
        successes = _read_successes(connection, failures)
    by_unit = defaultdict[tuple[str, str], list[_Failure]](list)
    for failure in failures:
        by_unit[failure.unit, failure.partition].append(failure)
    by_run = dict[tuple[str, str], Entry]()
    for (unit, partition), of_unit in sorted(by_unit.items()):
        latest = max(of_unit, key=lambda failure: failure.created_at)
        if (latest.asset, latest.run_id) in quarantining:
            continue
        attempts = [failure.attempt for failure in of_unit]
        keys = _expand_range(find_partitions, latest.asset, partition)
        since = find_failure_start(attempts, successes.get(unit, ()), keys)
        if since is not None:
            by_run.setdefault((latest.run_id, partition), _build_entry(latest, since, len(keys)))
    return FailedRuns(list(by_run.values()), is_cut=len(read) > len(failures))


def _read_failures(connection: Connection) -> list[_Failure]:
    """Return failed steps of failed runs, and failed runs without one, the latest first.

    Those are left out that the same job made good later, at the same step and partition. They are
    at least one more than `MAX_STEPS_READ` if there are more.
    """
    run_columns = (_runs.run_id, _runs.job, _runs.partition_key, _runs.created_at)
    is_failed = _runs.status == "FAILURE"
    is_step_done = (
        _LATER_STEPS.c.run_id == _LATER.c.run_id,
        _LATER_STEPS.c.step_key == _steps.step_key,
        _LATER_STEPS.c.status == "SUCCESS",
        func.coalesce(_LATER_STEPS.c.asset, "") == func.coalesce(_steps.asset, ""),
    )
    steps = (
        select(
            *run_columns,
            *(_steps.step_key, _steps.asset, _steps.domain, _steps.error_category),
            _steps.error_message,
            func.coalesce(_steps.ended_at, _runs.ended_at).label("ended_at"),
        )
        .join(operations_steps, _steps.run_id == _runs.run_id)
        .where(is_failed, _steps.status == "FAILURE", *_match_unrepaired(*is_step_done))
        .order_by(_runs.created_at.desc())
        .limit(MAX_STEPS_READ + 1)
    )
    with_failed_step = select(_steps.run_id).where(
        _steps.run_id == _runs.run_id, _steps.status == "FAILURE"
    )
    is_done = _LATER.c.status == "SUCCESS"
    runs = (
        select(
            *run_columns,
            *(literal("").label("step_key"), literal(None).label("asset"), _runs.domain),
            *(_runs.error_category, _runs.error_message, _runs.ended_at),
        )
        .where(is_failed, ~with_failed_step.exists(), *_match_unrepaired(is_done))
        .order_by(_runs.created_at.desc())
        .limit(MAX_STEPS_READ + 1)
    )
    entries = [*connection.execute(steps), *connection.execute(runs)]
    rows = sorted(entries, key=lambda row: row.created_at, reverse=True)
    return [
        _Failure(
            unit=_name_unit(row),
            partition=row.partition_key or "",
            asset=row.asset or "",
            run_id=row.run_id,
            job=row.job,
            domain=row.domain,
            category=row.error_category or "",
            error=row.error_message or "",
            created_at=row.created_at,
            ended_at=row.ended_at or row.created_at,
        )
        for row in rows
    ]


def _match_unrepaired(*is_done: ColumnElement[bool]) -> Sequence[ColumnElement[bool]]:
    """Return the conditions that no later run of the same job and partition is done.

    They are two, as no index finds what is equal or NULL in both.
    """
    later = (_LATER.c.job == _runs.job, _LATER.c.created_at > _runs.created_at, *is_done)
    has_partition = _LATER.c.partition_key == _runs.partition_key
    has_none = and_(_runs.partition_key.is_(None), _LATER.c.partition_key.is_(None))
    return [~exists().where(*later, is_same) for is_same in (has_partition, has_none)]


def _read_quarantining(
    connection: Connection, failures: Sequence[_Failure]
) -> Set[tuple[str, str]]:
    """Return asset and run of failures by partitions that the run quarantined."""
    runs = [failure.run_id for failure in failures if failure.category in QUARANTINE_CATEGORIES]
    column = deliveries.c
    row_query = select(column.table_name, column.run_id).where(
        column.run_id.in_(runs), column.outcome != "landed"
    )
    rows = connection.execute(row_query.distinct()) if runs else ()
    return {(asset_of(table), run_id) for table, run_id in rows}


def _name_unit(row: Any) -> str:
    return row.asset or f"{row.job}:{row.step_key}"


def _read_successes(
    connection: Connection, failures: Sequence[_Failure]
) -> Mapping[str, list[Attempt]]:
    """Return the latest success of each unit that failed, at each partition or range."""
    if not failures:
        return {}
    assets = {failure.asset for failure in failures if failure.asset}
    jobs = {failure.job for failure in failures if not failure.asset}
    latest = func.max(_runs.created_at).label("created_at")
    begun = min(failure.created_at for failure in failures)
    query = (
        select(_runs.job, _runs.partition_key, _steps.step_key, _steps.asset, latest)
        .join(operations_steps, _steps.run_id == _runs.run_id)
        .where(
            _steps.status == "SUCCESS",
            _steps.ended_at > begun - MAX_CLOCK_SKEW,
            _runs.created_at > begun,
            or_(_steps.asset.in_(assets), _runs.job.in_(jobs)),
        )
        .group_by(_runs.job, _runs.partition_key, _steps.step_key, _steps.asset)
    )
    whole = (
        select(_runs.job, _runs.partition_key, latest)
        .where(_runs.status == "SUCCESS", _runs.created_at > begun, _runs.job.in_(jobs))
        .group_by(_runs.job, _runs.partition_key)
    )
    successes = defaultdict[str, list[Attempt]](list)
    for row in connection.execute(query):
        key = row.partition_key or ""
        successes[_name_unit(row)].append(
            Attempt(_name_unit(row), key, row.created_at, row.created_at)
        )
    for row in connection.execute(whole):
        unit, key = f"{row.job}:", row.partition_key or ""
        successes[unit].append(Attempt(unit, key, row.created_at, row.created_at))
    return successes


def _expand_range(
    find_partitions: Callable[[], Partitions], asset: str, partition: str
) -> Sequence[str]:
    """Return the partitions of a range of an asset, if they are known and not too many.

    A part of them would not show that the whole range was made good.
    """
    first, is_range, last = partition.partition("...")
    definition = find_partitions().get(tuple(asset.split("/"))) if is_range else None
    if definition is None:
        return []
    known_names = definition.get_partition_keys()
    if first not in known_names or last not in known_names:
        return []
    chosen = known_names[known_names.index(first) : known_names.index(last) + 1]
    prefix = first.rpartition("|")[0]
    keys = [key for key in chosen if key.rpartition("|")[0] == prefix]
    return keys if len(keys) <= MAX_RANGE_KEYS else []


def _build_entry(latest: _Failure, since: datetime, partition_count: int) -> Entry:
    can_help, advice = advise(latest.category)
    subject = f"{latest.job} {latest.partition}".strip()
    first_key, _, _ = latest.partition.partition("...")
    return Entry(
        kind="failed_run",
        unit=f"{latest.unit} {latest.partition}",
        domain=latest.domain,
        title=f"{latest.asset} {latest.partition}".strip() if latest.asset else subject,
        since=since,
        latest_at=latest.ended_at,
        expectations=[Expectation(latest.job, "success", latest.error or "a failure")],
        count=partition_count or 1,
        asset=latest.asset,
        partition=first_key if latest.asset else "",
        run_id=latest.run_id,
        category=latest.category,
        advice=advice,
        can_retry_help=can_help,
        is_rerun=True,
    )
