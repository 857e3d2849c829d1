"""Dagster's daemon, of which an installation has one: a second one refuses to start.

Two daemons on one instance would both launch what is due, and Dagster only logs it. The arguments
are those of Dagster's own command: ``python -m orchestration_project.instance.daemon run -w FILE``.
Retries of runs wait for a code server that is away; Dagster drops them.
"""

import logging
import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any, ClassVar

import psutil
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter
from dagster._core.errors import DagsterCodeLocationLoadError, DagsterUserCodeUnreachableError
from dagster._daemon import controller
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import retry_run, should_retry
from dagster._daemon.auto_run_reexecution.event_log_consumer import EventLogConsumerDaemon
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from sqlalchemy import select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.pauses import Pause, find_pause
from orchestration_project.engine.dagster_private.processes import watch_code_servers_seldom
from orchestration_project.engine.environment import open_checked_warehouse, open_warehouse
from orchestration_project.engine.leases import (
    Lease,
    LostLeaseError,
    expire_lease,
    give_back,
    renew,
    take,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.connecting import explain_error
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.instance.claim_monitoring import monitored_claims
from orchestration_project.instance.heartbeats import own_machine
from orchestration_project.instance.logs import keep_log_lines
from orchestration_project.services.dagster_instance import list_storage_errors
from orchestration_project.services.ended_runs import RETRIED_AS, WILL_RETRY
from orchestration_project.services.hosts import DAEMON, open_host_report
from orchestration_project.services.pauses import Pauses, find_run_subjects
from orchestration_project.settings import load_shared_settings
from orchestration_project.tables.spine import leases

LEASE_NAME = "dagster_daemon"

LEASE_SECONDS = 60
"""After so long without renewal, another daemon may start."""

SECONDS_BETWEEN_RENEWALS = 15

WAIT_FOR_CODE_SERVERS = "DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"
"""Variable of Dagster: without it, a backfill fails whose code server is away."""

REFUSED = 1

QUEUED = RunsFilter(statuses=[DagsterRunStatus.QUEUED])

_logger = logging.getLogger(__name__)


def holder_name() -> str:
    """Return the name of this process: host, process number and the second of its start."""
    process = psutil.Process()
    return f"{own_machine()} {process.pid} {process.create_time():.0f}"


def is_gone(holder: str) -> bool:
    """Whether a holder is a process of this host that has ended; False: unknown, or it runs."""
    host, _, text = holder.partition(" ")
    number, _, since = text.partition(" ")
    if host != own_machine() or not (number.isdecimal() and since.isdecimal()):
        return False
    try:
        process = psutil.Process(int(number))
        return abs(process.create_time() - int(since)) > 1
    except psutil.NoSuchProcess:
        return True


def take_daemon_lease(warehouse: Warehouse, holder: str, now: datetime) -> Lease:
    """Take the lease of the daemon; one of a process of this host that is gone is ended first.

    Raises:
        ConfigurationError: Another daemon has it.
    """
    with warehouse.writing() as connection:
        until = now + timedelta(seconds=LEASE_SECONDS)
        row = connection.execute(
            select(leases.c.holder).where(leases.c.name == LEASE_NAME)
        ).scalar()
        if row and is_gone(row):
            expire_lease(connection, LEASE_NAME, row)
        lease = take(connection, LEASE_NAME, holder=holder, now=now, until=until)
        if lease is not None:
            return lease
        other = connection.execute(select(leases).where(leases.c.name == LEASE_NAME)).one()
    host, _, process_text = other.holder.partition(" ")
    raise ConfigurationError(
        "another daemon of this installation runs",
        expected="one daemon for each DATABASE_URL",
        found=f"process {process_text.partition(' ')[0]} on {host}, with a lease until "
        f"{other.expires_at.astimezone(UTC):%H:%M:%S} UTC",
        remedy="stop that one; if its host is gone, start this one again after that time",
    )


@contextmanager
def only_daemon(warehouse: Warehouse) -> Iterator[None]:
    """Hold the lease of the daemon while the block runs; end this process if it is lost.

    Raises:
        ConfigurationError: Another daemon has it.
    """
    end = Event()
    lease = take_daemon_lease(warehouse, holder_name(), Clock().now())
    keeper = Thread(target=_keep, args=(warehouse, lease, end), name="daemon lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        end.set()
        keeper.join(timeout=SECONDS_BETWEEN_RENEWALS)
        with suppress(OrchestrationError), warehouse.writing() as connection:
            give_back(connection, lease)


def _keep(warehouse: Warehouse, lease: Lease, end: Event) -> None:
    while not end.wait(SECONDS_BETWEEN_RENEWALS):
        try:
            with warehouse.writing() as connection:
                renew(connection, lease, Clock().now() + timedelta(seconds=LEASE_SECONDS))
        except LostLeaseError as error:
            sys.stderr.write(f"{error}\nthis daemon ends: it was paused, and another runs\n")
            os._exit(REFUSED)
        except OrchestrationError as error:  # the database is away: no other can take it either
            _logger.warning(
                "failed to renew the lease of the daemon: %s",
                error,
                extra={"event": "daemon_lease_not_renewed"},
            )


def keep_backfills_without_code() -> None:
    """Have Dagster keep backfills whose code server is away; they go on once it is back."""
    os.environ.setdefault(WAIT_FOR_CODE_SERVERS, "1")  # noqa: TID251 - Dagster reads it there


class IntervalEvent:
    """The event that ends the daemon, whose waits last for a whole interval.

    Args:
        event: Dagster's event.
        read_interval: Returns the interval in seconds.
    """

    def __init__(self, event: Event, read_interval: Callable[[], float]) -> None:
        self._event = event
        self._read_interval = read_interval

    def wait(self, _timeout: float) -> bool:
        """Wait for an interval, or until the daemon is to end; return whether it is."""
        return self._event.wait(self._read_interval())


class WholeWaits:
    """A part of the daemon that sleeps between two iterations; Dagster's wakes twice a second."""

    interval_seconds: float

    def core_loop(self, workspace_process_context: Any, shutdown_event: Any) -> Any:
        """Iterate for ever."""
        event = IntervalEvent(shutdown_event, lambda: self.interval_seconds)
        return super().core_loop(workspace_process_context, event)  # pyright: ignore[reportAttributeAccessIssue] - of the part


class RunMonitoring(WholeWaits, controller.MonitoringDaemon):  # pyright: ignore[reportPrivateImportUsage] - the name that is replaced
    """Dagster's monitoring of runs."""


class Freshness(WholeWaits, controller.FreshnessDaemon):  # pyright: ignore[reportPrivateImportUsage] - the same
    """Dagster's evaluation of freshness policies."""


SECONDS_BETWEEN_RETRIES = 10
"""Time between two searches for failed runs, each of which writes to the database."""

MAX_RETRY_WAIT = timedelta(hours=1)
"""Time since a run's end in which its retry waits for a code server or a database."""

MAX_UNKNOWN_WAIT = timedelta(minutes=5)
"""Time since a run's end in which a retry that fails for an unknown reason is repeated.

A service that is killed may answer with any error.
"""

TO_RETRY = {WILL_RETRY: "true"}
"""Tag of a failed run whose retry Dagster has announced."""


class WaitingRetries(WholeWaits, EventLogConsumerDaemon):
    """Retries failed runs; a retry whose code server or database is away waits for it.

    Dagster tries once, and marks the run as one that is not retried. Its backfill fails then. Nor
    does Dagster look again at a run whose failure it read before the status was stored, or while
    the database went away. So each iteration also looks for announced retries without a run.
    """

    def __init__(self, interval_seconds: int = SECONDS_BETWEEN_RETRIES) -> None:
        super().__init__(interval_seconds)

    @property
    def handle_updated_runs_fns(self) -> Sequence[Callable[..., Iterator[None]]]:
        """Handlers of runs that have ended."""
        return [self.retry_or_wait]

    def run_iteration(self, workspace_process_context: Any) -> Generator[Any, None, None]:
        """Retry runs that wait, then those that have failed since the last iteration."""
        records = _find_awaited_retries(workspace_process_context.instance)
        yield from self.retry_or_wait(workspace_process_context, records, self._logger)
        yield from super().run_iteration(workspace_process_context)

    def retry_or_wait(
        self,
        context: Any,
        records: Sequence[RunRecord],
        logger: logging.Logger,
    ) -> Iterator[None]:
        """Retry failed runs; those that cannot be launched for now stay announced."""
        awaited = (
            DagsterUserCodeUnreachableError,
            DagsterCodeLocationLoadError,
            *list_storage_errors(),
        )
        for record in records:
            run = record.dagster_run
            if not should_retry(run, context.instance):
                if run.tags.get(WILL_RETRY) == "true":  # its backfill has ended
                    context.instance.add_run_tags(run.run_id, {WILL_RETRY: "false"})
                continue
            yield
            try:
                retry_run(run, context)
            except Exception as error:
                is_awaited = isinstance(error, awaited)
                if not _may_wait(record, MAX_RETRY_WAIT if is_awaited else MAX_UNKNOWN_WAIT):
                    yield from self._retry_once(context, record, logger)
                elif is_awaited:
                    logger.warning(
                        "the retry of run %s waits for its code server or database: %s",
                        run.run_id,
                        error,
                        extra={"event": "retry_awaits_code_server"},
                    )
                else:
                    logger.warning(
                        "failed to launch the retry of run %s; the next attempt follows: %s",
                        run.run_id,
                        error,
                        exc_info=True,
                        extra={"event": "retry_not_launched"},
                    )

    def _retry_once(
        self, context: Any, record: RunRecord, logger: logging.Logger
    ) -> Iterator[None]:
        """Retry a run as Dagster does, which marks one that cannot be retried."""
        for retry in super().handle_updated_runs_fns:
            yield from retry(context, [record], logger)


def _may_wait(record: RunRecord, longest: timedelta) -> bool:
    ended_at = datetime.fromtimestamp(record.end_time or 0, UTC)
    return Clock().now() - ended_at < longest


def _find_awaited_retries(instance: DagsterInstance) -> Sequence[RunRecord]:
    """Return failed runs whose retry was announced and is not there yet."""
    since = Clock().now() - 2 * MAX_RETRY_WAIT
    failed = RunsFilter(statuses=[DagsterRunStatus.FAILURE], tags=TO_RETRY, updated_after=since)
    return [
        record
        for record in instance.get_run_records(failed)
        if RETRIED_AS not in record.dagster_run.tags
    ]


MAX_REPORTED_RUNS = 100
"""Waiting runs whose log gets the reason in one iteration: the others follow."""


ALIVE = Path("dagster", "daemon_alive")
"""File in STATE_DIR by which deploy/daemon_alive.sh sees that the daemon iterates."""

MAX_IDLE_SECONDS = 3.0
"""Time between two looks at an empty queue."""


class PausableQueue(WholeWaits, QueuedRunCoordinatorDaemon):
    """Launches queued runs, except those that a pause holds: they wait, and take no slot.

    If the database cannot be read, no run is launched in this iteration.

    Attributes:
        alive_file: It is touched at each iteration, for probes that start no Python. The daemon
            ends by itself when one of its threads does; one that hangs, other than this, is found
            by its heartbeats, which `/readyz` and alerts read.

    Args:
        interval_seconds: Time between two iterations while runs are queued.
        pauses: Default: those of the database of the settings, opened at the first iteration.
        options: Others of Dagster's.
    """

    alive_file: ClassVar[Path | None] = None

    def __init__(
        self, interval_seconds: float, *, pauses: Pauses | None = None, **options: Any
    ) -> None:
        super().__init__(interval_seconds, **options)
        self._queue_seconds = interval_seconds
        self._opened = pauses
        self._instance: DagsterInstance | None = None
        self._reported: set[tuple[str, str]] = set()
        self._subjects: dict[tuple[str, str | None], frozenset[str]] = {}

    def run_iteration(
        self,
        workspace_process_context: Any,
        fixed_iteration_time: float | None = None,
    ) -> Generator[Any, None, None]:
        """Launch the queued runs that no pause holds."""
        instance = workspace_process_context.instance
        self.read_instance(instance)
        if self.alive_file is not None:
            with suppress(OSError):  # then the probe fails, as for a daemon that hangs
                self.alive_file.touch()
        has_runs = bool(instance.get_run_ids(QUEUED, limit=1))
        self.interval_seconds = self._queue_seconds if has_runs else MAX_IDLE_SECONDS
        if has_runs:
            yield from super().run_iteration(workspace_process_context, fixed_iteration_time)

    def read_instance(self, instance: DagsterInstance) -> None:
        """Read the jobs and plans of runs from an instance, and report to it."""
        self._instance = instance

    def _priority_sort(self, runs: Iterable[DagsterRun]) -> list[DagsterRun]:
        """Return the runs that may start, by priority; Dagster sorts each page of its queue."""
        ordered = super()._priority_sort(runs)
        pauses = self._pauses().list_in_effect()
        if not pauses:
            self._reported.clear()
            self._subjects.clear()
            return ordered
        held_by = {run.run_id: find_pause(pauses, self._subjects_of(run)) for run in ordered}
        self._report(ordered, held_by)
        return [run for run in ordered if held_by[run.run_id] is None]

    def _pauses(self) -> Pauses:
        if self._opened is None:
            self._opened = Pauses(open_warehouse(load_shared_settings()))
        return self._opened

    def _subjects_of(self, run: DagsterRun) -> frozenset[str]:
        if self._instance is None:
            raise AssertionError("an iteration has an instance")
        plan = run.execution_plan_snapshot_id
        if plan is None:
            return find_run_subjects(self._instance, run)
        key = plan, run.tags.get("domain")
        if key not in self._subjects:
            self._subjects[key] = find_run_subjects(self._instance, run)
        return self._subjects[key]

    def _report(self, runs: Sequence[DagsterRun], held_by: Mapping[str, Pause | None]) -> None:
        """Write once into the log of each run that waits why it does."""
        new = [
            (run, pause.text)
            for run in runs
            if (pause := held_by[run.run_id]) and (run.run_id, pause.text) not in self._reported
        ]
        for run, text in new[:MAX_REPORTED_RUNS]:
            if self._instance is not None:
                self._instance.report_engine_event(f"The run waits in the queue: {text}", run)
            self._reported.add((run.run_id, text))


def main(arguments: Sequence[str]) -> int:
    """Run Dagster's daemon; return the exit status."""
    from dagster._daemon.cli import main as dagster_daemon

    if "run" not in arguments or "--help" in arguments:
        dagster_daemon()
        return 0
    try:
        settings = load_shared_settings()
        keep_log_lines(settings, "daemon")
        keep_backfills_without_code()
        watch_code_servers_seldom()
        PausableQueue.alive_file = settings.state_path / ALIVE
        PausableQueue.alive_file.parent.mkdir(parents=True, exist_ok=True)
        controller.FreshnessDaemon = Freshness  # pyright: ignore[reportPrivateImportUsage] - the name that it calls
        controller.MonitoringDaemon = RunMonitoring  # pyright: ignore[reportPrivateImportUsage] - the same
        controller.EventLogConsumerDaemon = WaitingRetries  # pyright: ignore[reportPrivateImportUsage] - the same
        controller.QueuedRunCoordinatorDaemon = PausableQueue  # pyright: ignore[reportPrivateImportUsage] - the same
        with (
            open_checked_warehouse(settings) as warehouse,
            only_daemon(warehouse),
            open_host_report(settings, DAEMON),
            monitored_claims(),
        ):
            dagster_daemon()
    except Exception as error:
        explained = explain_error(error)
        if explained is None:
            raise
        sys.stderr.write(f"{explained}\n")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
