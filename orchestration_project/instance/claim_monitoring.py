"""Runs whose process is gone: the daemon, and on other hosts workers and code servers, fail them.

Dagster's run monitoring checks the process of a run that has started. Before that, it only waits
for the time that a start may take. A claim names the process that was to start the run, so that the
end of this process is found within seconds. Run retries then launch the run again.

The daemon cannot look up a process of another host, and waits for its heartbeats. A worker or code
server of that host looks up the processes of its runs; a new one finds those of the one before.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from orchestration_project.engine.dagster_private.processes import WorkerStatus
from orchestration_project.engine.run_statuses import RUNNING_STATUSES
from orchestration_project.errors import OrchestrationError
from orchestration_project.instance.heartbeats import SECONDS_BETWEEN_BEATS, own_machine
from orchestration_project.instance.launcher import is_alive
from orchestration_project.instance.postgres import PostgresEvents
from orchestration_project.instance.run_claims import Claim, RunClaims
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.dagster_instance import list_storage_errors

SECONDS_BETWEEN_POLLS = 5.0

SILENT_BEATS = 4
"""Heartbeats that a process of another host may miss before the run starts."""

NOT_STARTED = (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING)

_logger = logging.getLogger(__name__)


def fail_lost_runs(
    instance: DagsterInstance, beat_seconds: float = SECONDS_BETWEEN_BEATS
) -> Sequence[str]:
    """Fail each claimed run whose process ended or fell silent before the run started.

    Args:
        instance: Dagster's instance.
        beat_seconds: Time between two heartbeats of a process.

    Returns:
        The IDs of these runs. Each has the reason in its log, and no claim any more.
    """
    failed = []
    for run_id, claim in _get_claims(instance).all().items():
        run = _run_to_start(instance, run_id)
        reason = run and _explain_loss(instance, run_id, claim, beat_seconds)
        if not reason or (run := _run_to_start(instance, run_id)) is None:
            continue
        _logger.error(
            "run %s failed before it started: %s",
            run_id,
            reason,
            extra={"event": "run_lost_before_start"},
        )
        instance.report_run_failed(
            run, f"{reason}. The run had not started; run retries launch it again."
        )
        failed.append(run_id)
    return failed


def fail_runs_of_this_host(instance: DagsterInstance) -> Sequence[str]:
    """End each run in progress whose process was on this host, and is gone.

    Returns:
        The IDs of these runs. A run that was to be canceled is canceled, the others have failed.
    """
    lost = {
        run_id: f"process {claim.pid}, which had claimed the run, is gone"
        for run_id, claim in _get_claims(instance).all().items()
        if claim.is_of_this_host() and not is_alive(claim.pid, since=claim.process_started_at)
    }
    storage = instance.event_log_storage
    if isinstance(storage, PostgresEvents):
        for run_id in storage.heartbeats.runs_on(own_machine()):
            run = _run_in_progress(instance, run_id)
            if run is None or run.status == DagsterRunStatus.STARTING or run_id in lost:
                continue
            health = instance.run_launcher.check_run_worker_health(run)
            if health.status == WorkerStatus.FAILED:
                lost[run_id] = health.msg or "its process is gone"
    return [run_id for run_id, reason in lost.items() if _finish_lost_run(instance, run_id, reason)]


def _finish_lost_run(instance: DagsterInstance, run_id: str, reason: str) -> bool:
    """End a run unless it has ended meanwhile."""
    run = _run_in_progress(instance, run_id)
    if run is None:
        return False
    _logger.error("run %s ends: %s", run_id, reason, extra={"event": "run_lost_on_this_host"})
    if run.status == DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, f"{reason}.")
    else:
        instance.report_run_failed(run, f"{reason}. Run retries launch the run again.")
    return True


def _get_claims(instance: DagsterInstance) -> RunClaims:
    return instance.run_storage.claims  # pyright: ignore[reportAttributeAccessIssue] - of StoredRuns


def _run_in_progress(instance: DagsterInstance, run_id: str) -> DagsterRun | None:
    run = instance.get_run_by_id(run_id)
    return run if run and run.status in (DagsterRunStatus.NOT_STARTED, *RUNNING_STATUSES) else None


def _run_to_start(instance: DagsterInstance, run_id: str) -> DagsterRun | None:
    run = instance.get_run_by_id(run_id)
    return run if run and run.status in NOT_STARTED else None


def _explain_loss(
    instance: DagsterInstance, run_id: str, claim: Claim, beat_seconds: float
) -> str | None:
    """Return why the process of a claim counts as lost, None if it does not."""
    if claim.is_of_this_host():
        if is_alive(claim.pid, since=claim.process_started_at):
            return None
        return f"process {claim.pid}, which had claimed the run, is gone"
    silence = _measure_silence(instance, run_id, claim)
    if silence < SILENT_BEATS * beat_seconds:
        return None
    return f"no heartbeat from {claim.host}, which had claimed the run, for {silence:.0f} seconds"


def _measure_silence(instance: DagsterInstance, run_id: str, claim: Claim) -> float:
    """Return the time since the claim or its last heartbeat; 0: no other host can be checked."""
    storage = instance.event_log_storage
    if not isinstance(storage, PostgresEvents):
        return 0
    beat = storage.heartbeats.last(run_id)
    return beat.silent_seconds if beat else storage.heartbeats.counted_silence(claim.age_seconds)


@contextmanager
def monitored_claims() -> Iterator[None]:
    """Fail lost runs every 5 s while the block runs."""
    end = Event()
    arguments = (end, fail_lost_runs)
    thread = Thread(target=_monitor, args=arguments, name="claim monitoring", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(timeout=SECONDS_BETWEEN_POLLS)


def monitor_runs_of_this_host() -> None:
    """End lost runs of this host every 5 s in a thread, until the process ends."""
    arguments = (Event(), fail_runs_of_this_host)
    Thread(target=_monitor, args=arguments, name="claim monitoring", daemon=True).start()


def end_runs_of_this_host() -> None:
    """End lost runs of this host once, with an instance of its own.

    A worker calls it between forks: a thread might hold a lock, which a fork would wait for.
    """
    with _log_storage_errors(), open_instance() as instance:
        fail_runs_of_this_host(instance)


def _monitor(end: Event, end_runs: Callable[[DagsterInstance], Sequence[str]]) -> None:
    with open_instance() as instance:
        while not end.wait(SECONDS_BETWEEN_POLLS):
            with _log_storage_errors():
                end_runs(instance)


@contextmanager
def _log_storage_errors() -> Iterator[None]:
    """Log an error of Dagster's storage; the next look may get through."""
    try:
        yield
    except (OrchestrationError, *list_storage_errors()) as error:
        _logger.warning(
            "failed to check the claims of runs: %s",
            error,
            extra={"event": "claims_not_checked"},
        )
