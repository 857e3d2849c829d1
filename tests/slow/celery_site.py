"""A daemon, a broker and workers of Celery, which tests kill, pause and take away."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from dagster._core.remote_origin import RemoteJobOrigin

from orchestration_project.engine.dagster_private.definitions import load_repository
from orchestration_project.instance.launcher import MACHINE_TAG
from orchestration_project.instance.storage import open_instance
from orchestration_project.instance.stored import repository_origin
from orchestration_project.settings import PROJECT_ROOT
from tests import programs
from tests.expecting import expect_present
from tests.rabbitmq import Broker
from tests.slow import waiting
from tests.slow.test_sensors_under_the_daemon import Daemon

RETRY_OF = "dagster/parent_run_id"


class CelerySite:
    """Everything of one installation; its runs belong to scenes, one after the other."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self._run_group = "none"
        self.folder = folder
        self.broker = broker
        self.instance: Any = None
        self.state_dir = folder / "state"
        self._workers: list[subprocess.Popen[str]] = []

    def start_worker(self, *arguments: str, host: str | None = None) -> subprocess.Popen[str]:
        """Start a worker; with ``host`` in a namespace of that host name, as on another machine."""
        command = ("orchestration_project", "worker", *arguments)
        log = self.folder / f"worker{len(self._workers)}.log"
        if host:
            command = ("tests.slow.other_host", host, *command)
        worker = programs.start_into(log, self.state_dir, *command, **environment(self))
        self._workers.append(worker)
        return worker

    def launch(self, *, priority: int = 0) -> str:
        """Put a run into Dagster's queue; return its ID."""
        repository = load_repository(waiting.__name__, "defs", PROJECT_ROOT)
        job = repository.get_reconstructable_job("__ASSET_JOB")
        run = self.instance.create_run_for_job(
            job.get_definition(),
            job_code_origin=job.get_python_origin(),
            remote_job_origin=RemoteJobOrigin(repository_origin(), "__ASSET_JOB"),
            tags={"dagster/priority": str(priority), "run_group": self._run_group},
        )
        self.instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run.run_id)
        return run.run_id

    def notes(self, kind: str) -> list[str]:
        """Return the runs that began, or ended, in that order."""
        file = self.state_dir / self._run_group / "notes"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.partition(" ")[2] for line in lines if line.startswith(f"{kind} ")]

    def allow(self) -> None:
        (self.state_dir / self._run_group / "go").touch()

    def forbid(self) -> None:
        (self.state_dir / self._run_group / "go").unlink()

    def status(self, run_id: str) -> str:
        run = expect_present(self.instance.get_run_by_id(run_id))
        return run.status.value

    def retry_of(self, run_id: str) -> str | None:
        found = self.instance.get_runs(dg.RunsFilter(tags={RETRY_OF: run_id}))
        return found[0].run_id if found else None

    def host_of(self, run_id: str) -> str:
        run = expect_present(self.instance.get_run_by_id(run_id))
        return run.tags[MACHINE_TAG]

    @contextmanager
    def run_group(self, name: str) -> Iterator["CelerySite"]:
        """Give this site to a test, whose workers end with it."""
        self._run_group = name
        (self.state_dir / name).mkdir()
        try:
            yield self
        finally:
            self.allow()
            for worker in self._workers:
                if worker.poll() is None:
                    signal_all(worker, signal.SIGCONT)
                    signal_all(worker, signal.SIGKILL)
                worker.wait()


def signal_all(worker: subprocess.Popen[str], number: int) -> None:
    """Send a signal to a worker and the processes of its runs."""
    for process in [
        *psutil.Process(worker.pid).children(recursive=True),
        psutil.Process(worker.pid),
    ]:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def environment(site: CelerySite) -> dict[str, str]:
    return {
        "RUN_LAUNCHER": "celery",
        "BROKER_URL": site.broker.url,
        "DAGSTER_DATABASE_URL": os.environ["DAGSTER_DATABASE_URL"],  # noqa: TID251 - of the test
        "MAX_CONCURRENT_RUNS": "4",
    }


@contextmanager
def celery_site(folder: Path, broker: Broker) -> Iterator[CelerySite]:
    """Run a daemon; the caller starts workers. The environment names Dagster's database."""
    site = CelerySite(folder, broker)
    daemon = Daemon(folder, workspace=waiting.__name__, **environment(site))
    daemon.start()
    try:
        with open_instance() as site.instance:
            yield site
    finally:
        daemon.kill()
