"""Run launcher that detects a dead run process, so that run monitoring ends the run.

Without it, runs whose whole process tree was killed stay "started" for ever and keep their place
in the queue.
"""

import json
import socket
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import psutil
from dagster import DagsterEventType, DagsterRun, DefaultRunLauncher
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG

from orchestration_project.engine.tracing.traceparent import HIDDEN_PREFIX, read_tag
from orchestration_project.instance.heartbeats import Heartbeat, own_machine
from orchestration_project.instance.postgres import PostgresEvents
from orchestration_project.instance.stored import MAX_RETRIES_TAG
from orchestration_project.settings import load_shared_settings

MACHINE_TAG, EARLIER_MACHINE_TAG = f"{HIDDEN_PREFIX}machine", "orchestration_project/machine"
"""Run tag: the host name of the machine whose process takes the run."""

LOG_HINT = "; what it said last stands in logs/code-server.log of STATE_DIR"
"""File for errors that a run's process cannot record, such as a full disk."""


def own_run_tags() -> dict[str, str]:
    """Return the tags of a run that this process executes itself, without a launcher.

    They say where it runs and for which account of the system, and that the daemon, which could
    not start it again, shall not try.
    """
    account = psutil.Process().username()
    return {MACHINE_TAG: socket.gethostname(), MAX_RETRIES_TAG: "0", "user": account}


class RunHealth:
    """Put before a launcher: it reports whether a run's process is alive, by its heartbeats.

    Attributes:
        silence_seconds: After so long without a heartbeat (eight intervals), a run of another
            machine counts as dead.
    """

    silence_seconds: float = 120

    @property
    def supports_check_run_worker_health(self) -> Literal[True]:
        """Enable run monitoring for this launcher."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Return whether the process of ``run`` is running; True if unknown."""
        beat = self._last_beat(run.run_id)
        if beat is not None and beat.machine != own_machine():
            return self._health_from(beat)
        if beat is None and not is_on_this_machine(run.tags):
            return CheckRunHealthResult(WorkerStatus.RUNNING, "running on another machine")
        instance: Any = self._instance  # pyright: ignore[reportAttributeAccessIssue] - of the launcher
        for start in instance.all_logs(run.run_id, of_type=DagsterEventType.RUN_START):
            pid = start.get_dagster_event().pid
            if pid and not is_alive(pid, since=start.timestamp):
                last_words = LOG_HINT if GRPC_INFO_TAG in run.tags else ""
                return CheckRunHealthResult(
                    WorkerStatus.FAILED, f"process {pid} is gone{last_words}"
                )
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def _last_beat(self, run_id: str) -> Heartbeat | None:
        storage = self._instance.event_log_storage  # pyright: ignore[reportAttributeAccessIssue] - of the launcher
        return storage.heartbeats.last(run_id) if isinstance(storage, PostgresEvents) else None

    def _health_from(self, beat: Heartbeat) -> CheckRunHealthResult:
        """Return the health of a run on another machine, by its heartbeats."""
        if beat.silent_seconds < self.silence_seconds:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"alive on {beat.machine}")
        return CheckRunHealthResult(
            WorkerStatus.FAILED,
            f"no heartbeat from {beat.machine} for {beat.silent_seconds:.0f} seconds",
        )


class CheckedRunLauncher(RunHealth, DefaultRunLauncher):
    """Dagster's default launcher, which starts a run on the host of its code server."""


def is_on_this_machine(tags: Mapping[str, str]) -> bool:
    """Say whether a run with ``tags`` is executed here, where its process can be looked up.

    A launched run carries the address of its code server. One that a plain process executes may
    be tagged with its machine; if it is not, it is ours when the storage is a local file.
    """
    machine = read_tag(tags, MACHINE_TAG, EARLIER_MACHINE_TAG)
    if machine is not None:
        return machine == socket.gethostname()
    if GRPC_INFO_TAG in tags:
        server = json.loads(tags[GRPC_INFO_TAG])
        return "socket" in server or server["host"] in ("localhost", "127.0.0.1")
    return load_shared_settings().dagster_database_url is None


def is_alive(pid: int, *, since: float) -> bool:
    """Say whether the process that had the number ``pid`` at the time ``since`` still runs.

    A process that was made later only has the same number.
    """
    try:
        process = _process(pid, since)
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@lru_cache(maxsize=1000)
def _process(pid: int, since: float) -> psutil.Process:
    """Return the process that had a number at a time; it is found once.

    When a process was made is reckoned by the clock of now: one that is set forward makes all of
    them younger. What was found before knows its process by the time since the machine's start.

    Raises:
        NoSuchProcess: It is gone.
    """
    process = psutil.Process(pid)
    if process.create_time() > since:
        raise psutil.NoSuchProcess(pid)
    return process
