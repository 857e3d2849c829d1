"""Two hosts with the project's programs, the services that they share, and a source of weeks."""

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from obstore.store import S3Store

from orchestration_project.engine.connections.clock import Clock
from tests.chaos.hosts import Host, OwnProgram, Program, Service, SupervisedProgram, await_exit
from tests.faults.publisher import FIRST_MONDAY, Publisher, key_of, week_of
from tests.faulty_server import FaultyServer, Reply, Request
from tests.postgres import new_database
from tests.programs import free_port, graphql, key_in, wait_for
from tests.rabbitmq import Broker, running_broker
from tests.slow.namespaces import Network, network
from tests.slow.tcp_postgres import TcpServer, tcp_server

JOB = "finra_otc_weekly"
BUCKET = "chaos"
REGION, ACCESS_KEY_ID, SECRET_ACCESS_KEY = "us-east-1", "chaos", "not-a-secret-of-anything"
HOSTS = ("alpha", "beta")
PROCESSES_OF_A_WORKER = 2
UI_PORT = 3000
START_SECONDS = 300

LAUNCH = """mutation {{ launchPartitionBackfill(backfillParams: {{
  selector: {{partitionSetName: "{job}_partition_set", repositorySelector: {{
    repositoryLocationName: "orchestration_project.definitions",
    repositoryName: "__repository__"}}}},
  partitionNames: {names}, tags: [{{key: "dagster/max_retries", value: "{retries}"}}] }})
  {{ __typename ... on LaunchBackfillSuccess {{ backfillId }} ... on PythonError {{ message }} }}
}}"""

BACKFILL = """{{ partitionBackfillOrError(backfillId: "{id}") {{
  ... on PartitionBackfill {{ status }} }} }}"""

MAX_RETRIES = 100
"""Retries of a run that is lost; 2 are Dagster's of this project."""

AHEAD_SECONDS = 1.5
"""Time of an answer of the source while the backfill is further than the faults."""


class Source:
    """FINRA with weeks that never change, which answers slowly while the backfill is ahead."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self.publisher = Publisher(0, pause_seconds=0.05)
        for number in numbers:
            self.publisher.put(number, "A")
        self._is_quick = threading.Event()

    def slow_down(self, is_ahead: bool) -> None:
        """Answer slowly from now on if the backfill is ahead, else quickly."""
        if is_ahead:
            self._is_quick.clear()
        else:
            self._is_quick.set()

    def __call__(self, request: Request) -> Reply:
        if request.method == "POST":
            self._is_quick.wait(AHEAD_SECONDS)
        return self.publisher(request)


def choose_weeks(count: int, random: Random) -> list[int]:
    """Return numbers of weeks: ranges of one to four weeks, with gaps, so of one run each."""
    number = (Clock().now().date() - timedelta(days=70) - FIRST_MONDAY).days // 7
    chosen: list[int] = []
    while len(chosen) < count:
        length = min(random.randint(1, 4), count - len(chosen))
        chosen += range(number - length + 1, number + 1)
        number -= length + 1
    return sorted(chosen)


class Site:
    """Everything that is killed or cut.

    Attributes:
        partitions: Keys of the backfill.
        hosts: The two hosts.
        programs: What is killed in turn.
        warehouse_url: Database that the runs load into.
        dagster_url: Dagster's database.
    """

    def __init__(self, folder: Path, net: Network, weeks: Sequence[int], stack: ExitStack) -> None:
        self.partitions = [key_of(number) for number in weeks]
        self.folder = folder
        self._server: TcpServer = stack.enter_context(
            tcp_server(net.address, _new(folder / "postgresql"))
        )
        _new(folder / "broker")
        broker: Broker = stack.enter_context(running_broker(folder / "broker", net.address))
        self.source = Source(weeks)
        source: FaultyServer = stack.enter_context(FaultyServer(self.source, address=net.address))
        self.warehouse_url = new_database(self._server.url, "pipelines")
        self.dagster_url = new_database(self._server.url, "dagster")
        s3_port = free_port()
        self._objects = _object_store(folder, stack)
        environment = {
            "RUN_LAUNCHER": "celery",
            "BROKER_URL": broker.url,
            "DATABASE_URL": self.warehouse_url,
            "DAGSTER_DATABASE_URL": self.dagster_url,
            "ARTIFACTS_URL": f"s3://{BUCKET}/artifacts",
            "AWS_ENDPOINT_URL": f"http://{net.address}:{s3_port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "DOMAINS": "finra",
            "FINRA_DATASETS": "",
            "FINRA_SOURCE": "api",
            "FINRA_API_URL": source.url,
            "FINRA_FIRST_WEEK": week_of(weeks[0]),
            "FINRA_MAX_REJECT_RATIO": "0.1",
            "HTTP_ALLOWED_NETWORKS": f"{net.address}/32",
            "NO_PROXY": net.address,
            "MAX_CONCURRENT_RUNS": str(len(HOSTS) * PROCESSES_OF_A_WORKER),
            "PROGRAM_MAX_ENDS": "1000",
            "PROGRAM_WINDOW_MINUTES": "1",
        }
        self.hosts = [Host(net.add_host(name), folder, environment) for name in HOSTS]
        for host in self.hosts:
            stack.callback(host.end)
        self._alpha, beta = self.hosts
        migration = beta.start("migrate", "orchestration_project", "migrate")
        await_exit(migration, START_SECONDS, beta.log("migrate"))
        front = ("tests.chaos.s3_front", net.address, str(s3_port), str(self._objects))
        self._ui = OwnProgram(
            "ui",
            lambda: self._alpha.start("ui", "orchestration_project", "ui", "--port", str(UI_PORT)),
        )
        workers = [
            OwnProgram(f"worker of {host.link.host}", lambda host=host: _worker(host))
            for host in self.hosts
        ]
        s3 = OwnProgram("S3", lambda: _module(*front))
        for program in (*workers, s3, self._ui):
            stack.callback(program.end)
        self._own = [self._ui, *workers]
        self.programs: list[Program] = [
            SupervisedProgram("gateway", self._ui, "gateway"),
            SupervisedProgram("daemon", self._ui, "orchestration_project.instance.daemon"),
            SupervisedProgram("code server", self._ui, "code-server"),
            *workers,
            Service("PostgreSQL", self._server.kill, self._server.start),
            Service("RabbitMQ", broker.end, broker.start),
            s3,
        ]
        log = self._alpha.log("ui")
        wait_for(lambda: "op_" in log.read_text() or self._ui.status is not None, START_SECONDS)
        self._key = key_in(log.read_text())

    def launch(self, partitions: Sequence[str]) -> str:
        """Launch a backfill by way of the gateway; return its ID."""
        names = json.dumps(list(partitions))
        answer = self._ask(LAUNCH.format(job=JOB, names=names, retries=MAX_RETRIES))
        return answer["launchPartitionBackfill"]["backfillId"]

    def backfill_status(self, backfill: str) -> str:
        """Return the status of a backfill, empty while the gateway does not answer."""
        with suppress(OSError, KeyError, TypeError, ValueError):
            return self._ask(BACKFILL.format(id=backfill))["partitionBackfillOrError"]["status"]
        return ""

    def _ask(self, query: str) -> Any:
        return self._alpha.call(lambda: graphql(UI_PORT, query, self._key))

    def poll(self) -> None:
        """Start programs again that ended by themselves."""
        for program in self._own:
            program.poll()

    @property
    def ends_of_ui(self) -> list[str]:
        """How `ui` ended, which no strike kills."""
        return self._ui.ends

    @property
    def ends_of_workers(self) -> list[str]:
        """How workers ended by themselves: one that starts while the database is away refuses."""
        return [end for program in self._own if program is not self._ui for end in program.ends]

    def objects(self) -> Mapping[str, int]:
        """Return the sizes of the objects of the store, by their path below the artifacts."""
        store = S3Store(
            BUCKET,
            prefix="artifacts",
            endpoint=f"http://127.0.0.1:{self._objects}",
            client_options={"allow_http": True},
            region=REGION,
            access_key_id=ACCESS_KEY_ID,
            secret_access_key=SECRET_ACCESS_KEY,
        )
        return {
            stored_object["path"]: stored_object["size"]
            for page in store.list()
            for stored_object in page
        }


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _worker(host: Host) -> subprocess.Popen[str]:
    options = ("--processes", str(PROCESSES_OF_A_WORKER))
    return host.start("worker", "orchestration_project", "worker", *options)


def _module(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", *arguments])  # noqa: S603 - of this program


def _object_store(folder: Path, stack: ExitStack) -> int:
    """Run moto with a bucket; return its port."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    log = stack.enter_context((folder / "moto.log").open("w"))
    process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603 - of the tests
    stack.callback(process.wait)
    stack.callback(process.kill)
    url = f"http://127.0.0.1:{port}/{BUCKET}"

    def is_made() -> bool:
        with suppress(OSError):
            urllib.request.urlopen(urllib.request.Request(url, method="PUT")).close()
            return True
        return False

    wait_for(is_made, 60)
    return port


@contextmanager
def running_site(folder: Path, weeks: Sequence[int]) -> Iterator[Site]:
    """Run services, hosts and programs while the block runs."""
    folder.chmod(0o755)
    with network() as net, ExitStack() as stack:
        yield Site(folder, net, weeks, stack)
