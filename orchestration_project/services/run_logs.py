"""Logs of finished runs in Dagster's own storage: measured and deleted.

Runs themselves are never deleted: Dagster would forget with a run what it materialized.

In SQLite, Dagster keeps the log of each run in a file of its own, and the events of assets,
checks and the status of runs in a common file, too; so the run's file goes. In PostgreSQL all is
one table; there the lines go that SQLite has in the run's file alone.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol

import dagster as dg
from sqlalchemy import ColumnElement, and_, delete, func, or_, select, text

from orchestration_project.engine.contracts.retention import FORGOTTEN_EVENTS, find_prunable
from orchestration_project.engine.dagster_private.storage import (
    RUNLESS_RUN_ID,
    EventLogFiles,
    EventLogTable,
    compute_log_folder,
    find_event_log_store,
)
from orchestration_project.engine.run_statuses import FINISHED_STATUSES
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.ended_runs import ENDS, RunEnd
from orchestration_project.services.ledger import Ledger
from orchestration_project.tables.operations_alerts import operations_evaluations

MAX_BATCH_RUNS = 100
"""Runs per delete transaction, so that runs in progress hardly wait for it."""

RUNS_PER_PAGE = 500
"""How many runs Dagster is asked for at once."""

EVENT_LOG, COMPUTE_LOGS = "event log", "compute logs"


class LogUsage(NamedTuple):
    """Logs of runs in one store: numbers of runs, rows or files, and bytes."""

    run_count: int = 0
    item_count: int = 0
    byte_count: int = 0

    def __add__(self, other: "LogUsage") -> "LogUsage":  # pyright: ignore[reportIncompatibleMethodOverride] - sums, where a tuple would append
        return LogUsage(*(mine + its for mine, its in zip(self, other, strict=True)))


class RunLogs(Protocol):
    """A store in which runs leave something."""

    name: str

    def left_by(self, run_ids: Sequence[str]) -> LogUsage:
        """Measure the logs of these runs."""
        ...

    def forget(self, run_ids: Sequence[str]) -> LogUsage:
        """Delete the logs of these runs, and return their size."""
        ...

    def finish(self) -> None:
        """Let the freed space be used again."""
        ...


class PruneResult(NamedTuple):
    """Freed (or freeable) logs by store; runs that are kept because the ledger lacks them.

    ``evaluation_count`` is the number of rows of `operations_evaluations` that refer to the runs,
    ``state_count`` that of events of earlier states.
    """

    freed: dict[str, LogUsage]
    unrecorded_count: int
    evaluation_count: int
    state_count: int


def prune(
    instance: dg.DagsterInstance,
    ledger: Ledger,
    before: datetime,
    *,
    dry_run: bool,
    states: Sequence[dg.AssetKey] = (),
) -> PruneResult:
    """Free the logs of runs that ended before that time, the oldest first.

    Args:
        instance: Whose storage.
        ledger: It must have a run as it ended, or the run is passed over.
        before: Of finished runs that Dagster has not changed since.
        dry_run: Only measure.
        states: Assets whose earlier events without a run are deleted; the latest one stays.

    Raises:
        ConfigurationError: Dagster's storage is one that this does not know.
    """
    events, stores = _open_events(instance), run_logs_of(instance)
    freed = {store.name: LogUsage() for store in stores}
    old, unrecorded = _find_old_runs(instance, ledger, before)
    evaluation_count = 0
    for start in range(0, len(old), MAX_BATCH_RUNS):
        some = old[start : start + MAX_BATCH_RUNS]
        for store in stores:
            freed[store.name] += store.left_by(some) if dry_run else store.forget(some)
        evaluation_count += _prune_evaluations(ledger.warehouse, some, dry_run=dry_run)
    if not dry_run:
        for store in stores:
            store.finish()
    state_count = _prune_states(events, states, before, dry_run=dry_run)
    return PruneResult(freed, unrecorded, evaluation_count, state_count)


def _prune_states(
    events: EventLogFiles | EventLogTable,
    states: Sequence[dg.AssetKey],
    before: datetime,
    *,
    dry_run: bool,
) -> int:
    """Delete old events of states that have later ones, unless it is a dry run; return how many."""
    of_event = events.table.c
    is_state = and_(
        of_event.run_id == RUNLESS_RUN_ID,
        of_event.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION.value,
        of_event.asset_key.in_([state.to_string() for state in states]),
    )
    latest = select(func.max(of_event.id)).where(is_state).group_by(of_event.asset_key)
    naive = before.astimezone(UTC).replace(tzinfo=None)
    is_earlier = and_(is_state, of_event.timestamp < naive, of_event.id.not_in(latest))
    counts = [0]
    for connecting in events.without_run() if states else ():
        with connecting as connection:
            query = select(func.count()).select_from(events.table).where(is_earlier)
            counts.append(connection.execute(query).scalar_one())
            if not dry_run:
                connection.execute(delete(events.table).where(is_earlier))
    return max(counts)


def _prune_evaluations(warehouse: Warehouse, run_ids: Sequence[str], *, dry_run: bool) -> int:
    """Delete the evaluations of the ends of these runs unless it is a dry run; return how many."""
    causes = [RunEnd(0, run_id, outcome).cause for run_id in run_ids for outcome in ENDS]
    is_one = operations_evaluations.c.cause.in_(causes)
    with warehouse.reading() if dry_run else warehouse.writing() as connection:
        query = select(func.count()).select_from(operations_evaluations).where(is_one)
        count = connection.execute(query).scalar_one()
        if not dry_run:
            connection.execute(delete(operations_evaluations).where(is_one))
    return count


def _find_old_runs(
    instance: dg.DagsterInstance, ledger: Ledger, before: datetime
) -> tuple[list[str], int]:
    """Return the runs whose logs may go, the oldest first, and how many the ledger keeps back."""
    filters = dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=before)
    names: list[str] = []
    unrecorded, cursor = 0, None
    while page := instance.get_run_records(
        filters, limit=RUNS_PER_PAGE, cursor=cursor, ascending=True
    ):
        changed = {
            run_record.dagster_run.run_id: run_record.update_timestamp for run_record in page
        }
        chosen = find_prunable(changed, ledger.ended(list(changed)), before)
        names += chosen
        unrecorded += len(changed) - len(chosen)
        cursor = page[-1].dagster_run.run_id
    return names, unrecorded


def run_logs_of(instance: dg.DagsterInstance) -> list[RunLogs]:
    """Return the stores in which runs of this instance leave something.

    Raises:
        ConfigurationError: Dagster's event log is of a kind that this does not know.
    """
    events = _open_events(instance)
    rows = RunFiles(events) if isinstance(events, EventLogFiles) else EventRows(events)
    has_compute_logs = compute_log_folder(instance, "any") is not None
    return [rows, ComputeLogs(instance)] if has_compute_logs else [rows]


def _open_events(instance: dg.DagsterInstance) -> EventLogFiles | EventLogTable:
    events = find_event_log_store(instance)
    if events is None:
        raise ConfigurationError(
            "the logs of Dagster's runs cannot be pruned",
            expected="an event log in SQLite with a file for each run, or in PostgreSQL",
            found=type(instance.event_log_storage).__name__,
            remedy="see the storage that dagster.yaml names",
        )
    return events


class RunFiles:
    """Dagster's event log in SQLite: the file that each run has for itself."""

    name = EVENT_LOG

    def __init__(self, store: EventLogFiles) -> None:
        self._store = store

    def left_by(self, run_ids: Sequence[str]) -> LogUsage:
        """Measure the files."""
        return sum((_measure_files(self._store.files(run_id)) for run_id in run_ids), LogUsage())

    def forget(self, run_ids: Sequence[str]) -> LogUsage:
        """Delete the files; the log proper last, as it says that there is something to delete."""
        left = self.left_by(run_ids)
        for run_id in run_ids:
            for file in self._store.files(run_id):
                file.unlink(missing_ok=True)
        return left

    def finish(self) -> None:
        """A deleted file's space is free."""


class EventRows:
    """Dagster's event log in PostgreSQL: one table for all runs."""

    name = EVENT_LOG

    def __init__(self, store: EventLogTable) -> None:
        self._store = store

    def left_by(self, run_ids: Sequence[str]) -> LogUsage:
        """Measure the lines, without what their indexes take."""
        of_event = self._store.table.c
        size = func.coalesce(func.sum(func.pg_column_size(of_event.event)), 0)
        measured = select(func.count(of_event.run_id.distinct()), func.count(), size)
        with self._store.connect() as connection:
            row = connection.execute(measured.where(*self._of(run_ids))).one()
        return LogUsage(*(int(number) for number in row))

    def forget(self, run_ids: Sequence[str]) -> LogUsage:
        """Delete the lines in one transaction."""
        left = self.left_by(run_ids)
        if left.item_count:
            with self._store.connect() as connection:  # which commits each statement
                connection.execute(delete(self._store.table).where(*self._of(run_ids)))
        return left

    def finish(self) -> None:
        """Let the table reuse the space; only VACUUM FULL, which locks it, gives it back."""
        with self._store.connect() as connection:
            connection.execute(text("VACUUM (ANALYZE) event_logs"))

    def _of(self, run_ids: Sequence[str]) -> list[ColumnElement[bool]]:
        of_event = self._store.table.c
        kind = of_event.dagster_event_type
        return [
            of_event.run_id.in_(run_ids),
            or_(kind.is_(None), kind.in_(sorted(FORGOTTEN_EVENTS))),
        ]


class ComputeLogs:
    """Compute logs of steps, as files."""

    name = COMPUTE_LOGS

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance

    def left_by(self, run_ids: Sequence[str]) -> LogUsage:
        """Measure the files."""
        return sum((_measure_files(self._files(run_id)) for run_id in run_ids), LogUsage())

    def forget(self, run_ids: Sequence[str]) -> LogUsage:
        """Delete each run's folder, and what the artifact store has of it."""
        left = self.left_by(run_ids)
        for run_id in run_ids:
            if compute_log_folder(self._instance, run_id) is not None:
                self._instance.compute_log_manager.delete_logs(prefix=[run_id])
        return left

    def finish(self) -> None:
        """A deleted file's space is free."""

    def _files(self, run_id: str) -> list[Path]:
        folder = compute_log_folder(self._instance, run_id)
        return [path for path in folder.rglob("*") if path.is_file()] if folder else []


def _measure_files(files: Sequence[Path]) -> LogUsage:
    return LogUsage(min(len(files), 1), len(files), sum(_read_size(file) for file in files))


def _read_size(file: Path) -> int:
    """Return the size of a file on disk, bytes."""
    return file.stat().st_blocks * 512
