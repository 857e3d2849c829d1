"""Services in one namespace and workers on other hosts, which load weeks of a source by Celery."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
from dagster._core.remote_origin import RemoteJobOrigin

from orchestration_project.engine.contracts.partition_tags import RANGE_END, RANGE_START
from orchestration_project.engine.dagster_private.definitions import load_repository
from orchestration_project.instance.launcher import MACHINE_TAG
from orchestration_project.instance.storage import open_instance
from orchestration_project.instance.stored import repository_origin
from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.settings.project import DEFINITIONS
from tests.expecting import expect_present
from tests.faults.places import Place
from tests.faults.publisher import Publisher, key_of
from tests.faulty_server import FaultyServer
from tests.programs import DEMO, kill_all_of
from tests.rabbitmq import Broker, running_broker
from tests.slow import without_sensors
from tests.slow.celery_site import RETRY_OF, signal_all
from tests.slow.namespaces import Link, Network
from tests.slow.tcp_postgres import TcpServer, tcp_server
from tests.slow.test_sensors_under_the_daemon import WORKSPACE

JOB = "finra_otc_weekly"

PUBLISHER_PAUSE_SECONDS = 0.1
"""Time of each answer of the source, so that faults strike runs in progress."""


class Worker:
    """A host with one worker."""

    def __init__(
        self, link: Link, folder: Path, environment: Mapping[str, str], program: str
    ) -> None:
        self.link, self._program = link, program
        self._folder = folder / link.host
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None

    def start(self, **environment: str) -> None:
        """Start the worker as a new process."""
        own = {**self._environment, "STATE_DIR": str(self._folder / "state"), **environment}
        host = ("tests.slow.namespace_host", self.link.host, self.link.namespace)
        worker = (self._program, "orchestration_project", "worker")
        self._process = started(self._folder, *host, *worker, **own)

    def signal(self, number: int) -> None:
        """Send a signal to the worker and the processes of its runs."""
        if self._process and self._process.poll() is None:
            signal_all(self._process, number)

    def children(self) -> list[psutil.Process]:
        """Return the processes of the worker that execute runs, or wait for one."""
        if self._process is None or self._process.poll() is not None:
            return []
        return psutil.Process(self._process.pid).children()

    def kill(self) -> None:
        """Kill it by kill -9, and all of its processes."""
        self.signal(signal.SIGKILL)
        if self._process:
            self._process.wait()
            kill_all_of(self._folder / "state")


def started(folder: Path, *module: str, **environment: str) -> subprocess.Popen[str]:
    """Start ``python -m module`` with the real clock; its output goes to a file in ``folder``."""
    folder.mkdir(exist_ok=True)
    clean = {"PATH": os.defpath, "HOME": str(folder)}
    usual = {name: value for name, value in DEMO.items() if not name.startswith("DEMO_CLOCK")}
    with (folder / "log").open("a") as log:
        return subprocess.Popen(  # noqa: S603 - a Python module that a test names
            [sys.executable, "-m", *module],
            cwd=PROJECT_ROOT,
            env={**clean, **usual, **environment},
            stdout=log,
            stderr=log,
            text=True,
        )


class NetworkSite:
    """A daemon, a database, a broker, a source and workers.

    Attributes:
        instance: Dagster's instance.
        publisher: The source, whose weeks a test restates.
        place: The database that the runs load into.
    """

    def __init__(
        self,
        network: Network,
        folder: Path,
        server: TcpServer,
        broker: Broker,
        source: FaultyServer,
    ) -> None:
        self.server, self.broker, self.folder = server, broker, folder
        self._network = network
        self.place = Place.prepared("postgresql", folder / "place", server.url)
        dagster = Place.empty("postgresql", folder / "dagster", server.url)
        self.environment = {
            "RUN_LAUNCHER": "celery",
            "BROKER_URL": broker.url,
            "DATABASE_URL": self.place.url,
            "DAGSTER_DATABASE_URL": dagster.url,
            "ARTIFACTS_URL": str(folder / "artifacts"),
            "FINRA_SOURCE": "api",
            "FINRA_API_URL": source.url,
            "FINRA_FIRST_WEEK": "2025-03-17",
            "FINRA_MAX_REJECT_RATIO": "0.1",
            "HTTP_ALLOWED_NETWORKS": f"{network.address}/32",
            "NO_PROXY": network.address,
            "MAX_CONCURRENT_RUNS": "8",
        }
        self.workers: list[Worker] = []
        self.instance: Any = None
        self._job: Any = None
        self._daemon: subprocess.Popen[str] | None = None

    def add_worker(
        self, *, program: str = "tests.slow.hurried_beats", **environment: str
    ) -> Worker:
        """Connect a host, and start its worker by way of a program of the tests."""
        link = self._network.add_host(f"host{len(self.workers) + 1}")
        worker = Worker(link, self.folder, self.environment | environment, program)
        self.workers.append(worker)
        worker.start()
        return worker

    def start_daemon(self) -> None:
        """Start the daemon on the host of the services."""
        folder = self.folder / "daemon"
        home = folder / "state" / "dagster"
        home.mkdir(parents=True)
        (home / "dagster.yaml").symlink_to(PROJECT_ROOT / "dagster.yaml")
        own = {"STATE_DIR": str(folder / "state"), "DAGSTER_HOME": str(home)}
        workspace = folder / "workspace.yaml"
        workspace.write_text(WORKSPACE.format(module=without_sensors.__name__))
        daemon = ("orchestration_project.instance.daemon", "run", "-w", str(workspace))
        self._daemon = started(
            folder, "tests.slow.hurried_beats", *daemon, **self.environment, **own
        )

    def end(self) -> None:
        """End the daemon and the workers."""
        for worker in self.workers:
            worker.signal(signal.SIGCONT)
            worker.kill()
        if self._daemon:
            self._daemon.kill()
            self._daemon.wait()
        kill_all_of(self.folder / "daemon" / "state")

    def launch(self, week: int) -> str:
        """Put a run that loads a week into Dagster's queue; return its ID."""
        job = load_repository(DEFINITIONS, "defs", PROJECT_ROOT).get_reconstructable_job(JOB)
        self._job = self._job or job.get_definition()
        run = self.instance.create_run_for_job(
            self._job,
            job_code_origin=job.get_python_origin(),
            remote_job_origin=RemoteJobOrigin(repository_origin(), JOB),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={RANGE_START: key_of(week), RANGE_END: key_of(week), "week": str(week)},
        )
        self.instance.report_dagster_event(dg.DagsterEvent.job_enqueue(run), run.run_id)
        return run.run_id

    def run(self, run_id: str) -> dg.DagsterRun:
        """Return a run as it is now."""
        return expect_present(self.instance.get_run_by_id(run_id))

    def retry_of(self, run_id: str) -> str | None:
        """Return the run by which Dagster retries a run."""
        found = self.instance.get_runs(dg.RunsFilter(tags={RETRY_OF: run_id}))
        return found[0].run_id if found else None

    def host_of(self, run_id: str) -> str:
        """Return the host whose worker has claimed a run, empty without one."""
        return self.run(run_id).tags.get(MACHINE_TAG, "")


@contextmanager
def network_site(
    network: Network, folder: Path, patch: Any, weeks: int
) -> Iterator[tuple[NetworkSite, Publisher]]:
    """Run the services and the daemon; the caller adds workers."""
    publisher = Publisher(weeks, pause_seconds=PUBLISHER_PAUSE_SECONDS)
    (folder / "broker").mkdir()
    with (
        tcp_server(network.address) as server,
        running_broker(folder / "broker", network.address) as broker,
        FaultyServer(publisher, address=network.address) as source,
    ):
        site = NetworkSite(network, folder, server, broker, source)
        for name, value in site.environment.items():
            patch.setenv(name, value)
        patch.setenv("STATE_DIR", str(folder / "test" / "state"))
        patch.delenv("DEMO_CLOCK_NOW")
        try:
            site.start_daemon()
            with open_instance() as site.instance:
                yield site, publisher
        finally:
            site.end()
