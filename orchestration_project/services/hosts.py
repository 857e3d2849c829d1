"""Hosts that run programs: their heartbeats in `operations_hosts`, silent ones, and releases.

A program reports its host and role from its start to its end. What it cannot record it logs and
records later: no program ends because of that.
"""

import atexit
import logging
import os
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from os import cpu_count
from threading import Event, RLock, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
from sqlalchemy import select, update

from orchestration_project import release
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_unprepared_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.errors import OrchestrationError, TransientError
from orchestration_project.migrations import NEWEST_VERSION
from orchestration_project.registry import Answer, Probe
from orchestration_project.services.dagster_instance import RUN_HEARTBEATS
from orchestration_project.settings import Settings
from orchestration_project.tables.operations_deployment import operations_hosts

if TYPE_CHECKING:  # commands verify without Dagster
    import dagster as dg

SECONDS_BETWEEN_HEARTBEATS = 30

STOP_SECONDS = 10.0
"""Time that a stop waits for a heartbeat."""

SILENT_AFTER = timedelta(seconds=150)
"""Five heartbeats."""

FORGOTTEN_AFTER = timedelta(days=7)
"""A host that was silent for so long counts as removed."""

MAX_COUNTED_RUNS = 1000

OpenWarehouse = Callable[[], AbstractContextManager[Warehouse]]

_logger = logging.getLogger(__name__)


class HostRole(NamedTuple):
    """A program on a host, as its heartbeats say."""

    host: str
    role: str
    release: str
    tables_version: str
    started_at: datetime
    last_seen_at: datetime
    stopped_at: datetime | None
    cores: int
    memory_bytes: int
    disk_bytes: int
    disk_free_bytes: int


class HostReport:
    """Heartbeats of this process.

    Args:
        settings: The database, and whose STATE_DIR's disk is reported.
        role: Role of the program, such as gateway.
        host: Name of the host; that of this machine by default.
        seconds: Time between two heartbeats.
    """

    def __init__(
        self,
        settings: Settings,
        role: str,
        *,
        host: str = "",
        seconds: float = SECONDS_BETWEEN_HEARTBEATS,
    ) -> None:
        from orchestration_project.services.host_samples import HostSampler  # of programs alone

        self._settings = settings
        self._seconds = seconds
        self._end = Event()
        self._thread = Thread(target=self._go_on, name="host report", daemon=True)
        self._key = {"host": host or socket.gethostname(), "role": role}
        self._started_at = Clock().now()
        self._stopped_at: datetime | None = None
        self._recording = RLock()
        self._sampler = HostSampler(self._key["host"], role)

    def start(self) -> None:
        """Report from now on, in a thread, until `stop` or the end of the process."""
        self._thread.start()
        atexit.register(self.stop)

    def delay_forks(self) -> None:
        """Have forks of this process wait for the end of a heartbeat.

        A fork during one would copy locks that its thread holds, and nothing would release them.
        """
        os.register_at_fork(
            before=self._recording.acquire,
            after_in_parent=self._recording.release,
            after_in_child=self._recording.release,
        )

    def announce_stop(self) -> None:
        """Have later heartbeats say that the program stops, which may still take long.

        If the system kills it before its end, it then counts as stopped, not as silent.
        """
        self._stopped_at = Clock().now()

    def stop(self) -> None:
        """Record that the program has stopped, once."""
        if not self._end.is_set():
            self._end.set()
            self._thread.join(STOP_SECONDS)  # a heartbeat that is under way would hide the stop
            self.announce_stop()
            self._try_to_record()

    def _go_on(self) -> None:
        is_ended = False
        while not is_ended:
            with self._recording:
                self._try_to_record()
            is_ended = self._end.wait(self._seconds)

    def _try_to_record(self) -> None:
        try:
            with open_unprepared_warehouse(self._settings) as warehouse:
                if warehouse.version() == NEWEST_VERSION:  # before a migration, or after one
                    record_heartbeat(warehouse, self._row())
                    self._sampler.sample(warehouse, Clock().now(), self._settings.state_path)
        except Exception as error:  # noqa: BLE001 - the program goes on, whatever it is
            _logger.warning(
                "failed to record the heartbeat of %s on %s: %s",
                self._key["role"],
                self._key["host"],
                error,
                extra={"event": "host_heartbeat_failed"},
            )

    def _row(self) -> dict[str, Any]:
        disk = shutil.disk_usage(self._settings.state_path)
        return {
            **self._key,
            "release": release(),
            "tables_version": NEWEST_VERSION,
            "started_at": self._started_at,
            "last_seen_at": Clock().now(),
            "stopped_at": self._stopped_at,
            "cores": cpu_count() or 1,
            "memory_bytes": psutil.virtual_memory().total,
            "disk_bytes": disk.total,
            "disk_free_bytes": disk.free,
        }


DAEMON = "daemon"
"""Role of the daemon."""

WORKER = "worker"
"""Role of a worker, or the start of it."""

RUN = "run"
"""Role of runs in pods of their own; their host is the node."""


def build_worker_role(name: str) -> str:
    """Return the role of a worker of Celery: workers of one host differ by their names."""
    return name if name.startswith(WORKER) else f"{WORKER}-{name}"


@contextmanager
def open_host_report(settings: Settings, role: str) -> Iterator[HostReport]:
    """Report this process as a program of ``role`` while the block runs."""
    report = HostReport(settings, role)
    report.start()
    try:
        yield report
    finally:
        report.stop()


def record_heartbeat(warehouse: Warehouse, row: dict[str, Any]) -> None:
    """Write the row of a host and role, in the place of its earlier one."""
    hosts = operations_hosts.c
    with warehouse.writing() as connection:
        if not insert_absent(connection, operations_hosts, [row]):
            is_it = (hosts.host == row["host"], hosts.role == row["role"])
            connection.execute(update(operations_hosts).where(*is_it).values(row))


def read_hosts(
    warehouse: Warehouse, now: datetime, *, within: timedelta = FORGOTTEN_AFTER
) -> list[HostRole]:
    """Return the programs of the last 7 days, or ``within`` another time, by host and role."""
    hosts = operations_hosts.c
    statement = (
        select(*(hosts[name] for name in HostRole._fields))
        .where(hosts.last_seen_at >= now - within)
        .order_by(hosts.host, hosts.role)
    )
    with warehouse.reading() as connection:
        return [HostRole(*row) for row in connection.execute(statement)]


def is_silent(program: HostRole, now: datetime) -> bool:
    """Whether a program that did not stop has sent no heartbeat for 150 s."""
    return program.stopped_at is None and now - program.last_seen_at > SILENT_AFTER


def list_releases(programs: Sequence[HostRole], now: datetime) -> list[str]:
    """Return the releases of the programs that run, each with its tables' version."""
    return sorted(
        {
            f"{program.release} (tables {program.tables_version})"
            for program in programs
            if program.stopped_at is None and not is_silent(program, now)
        }
    )


def count_host_runs(instance: "dg.DagsterInstance") -> Mapping[str, int]:
    """Return the number of runs in progress by host, of the 1,000 latest.

    A run in PostgreSQL sends heartbeats with its host; one in SQLite is of this host.
    """
    import dagster as dg

    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
    run_ids = [run.run_id for run in instance.get_runs(started, limit=MAX_COUNTED_RUNS)]
    keys = {f"{RUN_HEARTBEATS}{run_id}" for run_id in run_ids}
    beats = instance.daemon_cursor_storage.get_cursor_values(keys) if keys else {}
    counted: Counter[str] = Counter()
    for key in keys:
        host, _, at = beats.get(key, "").rpartition(" ")
        counted[host if at else socket.gethostname()] += 1
    return counted


def build_host_probes(open_warehouse: OpenWarehouse, clock: Clock) -> Mapping[str, Probe]:
    """Return a probe for each host: that its programs send heartbeats. The table is read once.

    The role `run` has none: the daemon fails a run whose pod is gone, which has its own alert.

    A host that was forgotten has one too, for another 7 days, by which its alert recovers; so has
    the empty name, under which one alert was for all hosts. None are there while the table cannot
    be read, which the probe of the database reports.
    """
    now = clock.now()
    try:
        with open_warehouse() as warehouse:
            if warehouse.version() != NEWEST_VERSION:
                return {}
            programs = read_hosts(warehouse, now, within=2 * FORGOTTEN_AFTER)
    except OrchestrationError:
        return {}
    by_host: dict[str, list[HostRole]] = {"": []}
    for program in programs:
        if program.role != RUN:
            by_host.setdefault(program.host, []).append(program)
    return {host: _build_probe(host, host_roles, now) for host, host_roles in by_host.items()}


def _build_probe(host: str, programs: Sequence[HostRole], now: datetime) -> Probe:
    def run() -> Answer:
        recent = [program for program in programs if now - program.last_seen_at <= FORGOTTEN_AFTER]
        silent = [host_role for host_role in recent if is_silent(host_role, now)]
        if any(host_role.stopped_at is None and host_role not in silent for host_role in recent):
            silent = [
                host_role for host_role in silent if host_role.role != DAEMON
            ]  # which has its own alert
        if silent:
            raise TransientError(
                f"the host {host} is silent",
                expected=f"a heartbeat of each program within {SILENT_AFTER.seconds} s",
                found="; ".join(
                    f"{host_role.role}: last heartbeat {host_role.last_seen_at:%Y-%m-%d %H:%M} UTC"
                    for host_role in silent
                ),
                remedy="start the program again, or the host; a host that is removed is forgotten "
                f"after {FORGOTTEN_AFTER.days} days",
            )
        return Answer(f"{len(recent)} programs sent heartbeats")

    return Probe("hosts", (), lambda: "read the heartbeats of programs", run)
