"""Worker of Celery: executes each run in a fork of a process that has loaded the definitions."""

import json
import logging
import os
import signal
import socket
import time
from collections.abc import Collection
from threading import Event, Thread
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_ready, worker_shutting_down
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, deserialize_value
from dagster._cli.api import _execute_run_command_body
from dagster_celery.config import TASK_EXECUTE_JOB_NAME

from orchestration_project.instance.celery_launcher import CeleryLauncher, app_of
from orchestration_project.instance.claim_monitoring import end_runs_of_this_host
from orchestration_project.instance.launcher import MACHINE_TAG
from orchestration_project.instance.postgres import PostgresEvents
from orchestration_project.instance.releases import other_release
from orchestration_project.instance.run_claims import RunClaims
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.dagster_instance import list_storage_errors
from orchestration_project.services.hosts import HostReport

SECONDS_BETWEEN_POLLS = 2.0
SECONDS_BETWEEN_FORKS = 0.2
SECONDS_BETWEEN_LOST_RUNS = 10.0
SECONDS_TO_END = 20.0
"""Time that a run has to end after it was interrupted; then its process exits."""

STARTABLE = (DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING)

_logger = logging.getLogger(__name__)


def serve(
    launcher: CeleryLauncher,
    queues: Collection[str],
    processes: int,
    name: str,
    report: HostReport,
) -> int:
    """Execute runs of ``queues`` until a signal stops it; return the exit status.

    A SIGTERM ends it after the runs in progress, a second one at once. Heartbeats of ``report``
    go on until then.
    """
    report.delay_forks()

    def announce_stop(**_: Any) -> None:
        report.announce_stop()

    worker_shutting_down.connect(announce_stop, weak=False)
    app = app_of(launcher, queues)
    add_task(app)
    setup_logging.connect(_keep_logging, weak=False)
    worker_ready.connect(_replace_processes_soon, weak=False)
    worker_ready.connect(_watch_for_lost_runs, weak=False)
    worker = app.Worker(
        hostname=f"{name}@{socket.gethostname()}",
        concurrency=processes,
        pool="prefork",
        max_tasks_per_child=1,  # each run starts in a new fork, with nothing of the run before
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()
    return worker.exitcode or 0


def _keep_logging(**_: Any) -> None:
    """Keep Celery from replacing the handlers of the process."""


def _replace_processes_soon(sender: Any, **_: Any) -> None:
    """Fork the process of the next run soon after a run: Celery looks every five seconds."""
    sender.hub.call_repeatedly(SECONDS_BETWEEN_FORKS, sender.pool.maintain_pool)


def _watch_for_lost_runs(sender: Any, **_: Any) -> None:
    """Look up the processes of runs on this host, also of a worker that was killed before."""
    sender.hub.call_repeatedly(SECONDS_BETWEEN_LOST_RUNS, end_runs_of_this_host)


def add_task(app: Celery) -> None:
    """Add the task that executes a run; its name is the one that the launcher sends.

    A message is acknowledged when a process accepts it: RabbitMQ closes the channel of one that
    waits for half an hour. If the process ends before it claims the run, the time that a run may
    take to start decides; after that, its heartbeats do (claim_monitoring.py until the start).
    """

    @app.task(name=TASK_EXECUTE_JOB_NAME, acks_late=False, ignore_result=True)
    def execute_job(execute_job_args_packed: Any) -> None:
        arguments: Any = deserialize_value(json.dumps(execute_job_args_packed))
        with open_instance() as instance:
            execute_claimed(instance, arguments.run_id)


def execute_claimed(instance: DagsterInstance, run_id: str) -> bool:
    """Execute a run to its end; return False if another process has it, or it cannot start."""
    claims: RunClaims = instance.run_storage.claims  # pyright: ignore[reportAttributeAccessIssue] - of StoredRuns
    if not claims.take(run_id):
        _logger.warning(
            "run %s: delivered again, process %s has it",
            run_id,
            claims.holder(run_id),
            extra={"event": "run_delivered_again"},
        )
        return False
    run = instance.get_run_by_id(run_id)
    if run is None or run.status not in STARTABLE:
        if run is not None and run.status == DagsterRunStatus.CANCELING:
            instance.report_run_canceled(run)
        claims.release(run_id)
        _logger.warning(
            "run %s: not started, its status is %s",
            run_id,
            run.status.value if run else "deleted",
            extra={"event": "run_not_startable"},
        )
        return False
    if refusal := other_release(run.tags):
        _logger.error("run %s: %s", run_id, refusal, extra={"event": "run_of_another_release"})
        instance.report_run_failed(run, str(refusal))
        return False
    _begin_heartbeats(instance, run_id)
    instance.add_run_tags(run_id, {MACHINE_TAG: socket.gethostname()})
    with RunWatch(instance, run):
        _execute_run_command_body(run_id, instance, lambda _: None, set_exit_code_on_failure=False)
    return True


def _begin_heartbeats(instance: DagsterInstance, run_id: str) -> None:
    """Send heartbeats from now on, so that a process that ends before the run starts is found."""
    storage = instance.event_log_storage
    if isinstance(storage, PostgresEvents):
        storage.heartbeats.begin(run_id)


class RunWatch:
    """Interrupts this process when its run is to be canceled, or was ended by another process.

    Args:
        instance: Dagster's instance.
        run: The run that this process executes.
        seconds: Time between two looks at its status.
    """

    def __init__(
        self, instance: DagsterInstance, run: DagsterRun, seconds: float = SECONDS_BETWEEN_POLLS
    ) -> None:
        self._seconds = seconds
        self._instance = instance
        self._run_id = run.run_id
        self._done = Event()
        self._thread = Thread(target=self._watch, name=f"watch {run.run_id}", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(timeout=SECONDS_TO_END)

    def _watch(self) -> None:
        looks_after_end = 0
        while not self._done.wait(self._seconds):
            status = self._status()
            if status == DagsterRunStatus.CANCELING:
                return self._interrupt()
            looks_after_end += status not in (DagsterRunStatus.STARTED, *STARTABLE, None)
            if looks_after_end > 1:  # one's own end is seen once at most
                _logger.error(
                    "run %s: ended by another process, as it sent no heartbeat; this one stops",
                    self._run_id,
                    extra={"event": "run_ended_elsewhere"},
                )
                return self._interrupt()
        return None

    def _status(self) -> DagsterRunStatus | None:
        try:
            run = self._instance.get_run_by_id(self._run_id)
        except list_storage_errors():  # the next look may get through
            return None
        return run.status if run else DagsterRunStatus.CANCELED

    def _interrupt(self) -> None:
        deadline = time.monotonic() + SECONDS_TO_END
        os.kill(os.getpid(), signal.SIGINT)
        while not self._done.wait(self._seconds):
            if time.monotonic() > deadline:
                os._exit(1)
