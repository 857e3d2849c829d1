"""Heartbeats of runs, in Dagster's PostgreSQL, where every machine can read them.

A process can only be looked up on its own machine. So the process that executes a run says in
Dagster's table of keys and values, from the run's start to its end, that it runs. Times are the
server's, so that no two clocks are compared; and an outage of the server stops no heartbeat.
"""

import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event, Lock, Thread
from typing import NamedTuple

from dagster._core.storage.runs.schema import KeyValueStoreTable
from sqlalchemy import Connection, delete, literal, select, text
from sqlalchemy.dialects.postgresql import insert

from orchestration_project.services.dagster_instance import RUN_HEARTBEATS, list_storage_errors

SECONDS_BETWEEN_BEATS = 15

FIRST_PID_NAMESPACE = 0xEFFFFFFC
"""Number that Linux gives to the PID namespace of the machine itself: PROC_PID_INIT_INO."""

NODE = "KUBERNETES_NODE"
"""Variable of a run's pod: the node, which the run then reports as a host."""

NOW = text("extract(epoch FROM clock_timestamp())::text")
LAST_HEARTBEAT = text(
    "SELECT least(extract(epoch FROM clock_timestamp()) - :beat, "
    "extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()))"
)

UPTIME = text("SELECT extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())")

KEY_VALUES = KeyValueStoreTable
"""Dagster's table of keys and values, whose key is unique."""

_kvs = KEY_VALUES.c
_logger = logging.getLogger(__name__)


class Heartbeat(NamedTuple):
    """A run's last heartbeat: its machine, and its age in seconds."""

    machine: str
    silent_seconds: float


def own_machine() -> str:
    """Return the host name of this process, in a container with its PID namespace.

    Containers may have one host name, as those on the network of their host have, and each its own
    numbers of processes: a process of another one cannot be looked up.
    """
    host, namespace = socket.gethostname(), Path("/proc/self/ns/pid")
    if not namespace.exists():  # not Linux
        return host
    number = namespace.stat().st_ino
    return host if number == FIRST_PID_NAMESPACE else f"{host}/{number}"


class Heartbeats:
    """Heartbeats of runs, by a thread for each run that this process executes."""

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[Connection]],
        seconds: float = SECONDS_BETWEEN_BEATS,
    ) -> None:
        self._connect = connect
        self._seconds = seconds
        self._lock = Lock()
        self._ends: dict[str, Event] = {}

    def begin(self, run_id: str) -> None:
        """Give a sign now, and again and again until the run or the process ends."""
        end = Event()
        with self._lock:
            is_begun = run_id in self._ends
            self._ends.setdefault(run_id, end)
        self._beat(run_id)
        if is_begun:
            return
        Thread(target=self._go_on, args=(run_id, end), name=f"alive {run_id}", daemon=True).start()

    def end(self, run_id: str) -> None:
        """Give no more signs of this run, and forget those it gave."""
        with self._lock:
            end = self._ends.pop(run_id, None)
        if end is not None:
            end.set()
        with self._connect() as connection:
            connection.execute(delete(KEY_VALUES).where(_kvs.key == RUN_HEARTBEATS + run_id))

    def last(self, run_id: str) -> Heartbeat | None:
        """Return the run's last heartbeat, None if it sent none."""
        query = select(_kvs.value).where(_kvs.key == RUN_HEARTBEATS + run_id)
        with self._connect() as connection:
            heartbeat = connection.scalar(query)
            if heartbeat is None:
                return None
            machine, at = heartbeat.rsplit(" ", 1)
            silent = connection.execute(LAST_HEARTBEAT, {"beat": float(at)}).scalar_one()
        return Heartbeat(machine, float(silent))

    def runs_on(self, machine: str) -> Sequence[str]:
        """Return the IDs of runs whose last heartbeat is of a machine."""
        sent = _kvs.key.startswith(RUN_HEARTBEATS, autoescape=True)
        of_machine = _kvs.value.startswith(f"{machine} ", autoescape=True)
        with self._connect() as connection:
            keys = connection.scalars(select(_kvs.key).where(sent, of_machine)).all()
        return [key.removeprefix(RUN_HEARTBEATS) for key in keys]

    def counted_silence(self, seconds: float) -> float:
        """Return that part of the last ``seconds`` in which the server has run."""
        with self._connect() as connection:
            up = connection.execute(UPTIME).scalar_one()
        return min(seconds, float(up))

    def _go_on(self, run_id: str, end: Event) -> None:
        while not end.wait(self._seconds):
            try:
                self._beat(run_id)
            except list_storage_errors() as error:  # the next one may get through
                _logger.warning(
                    "failed to record the heartbeat of run %s: %s",
                    run_id,
                    error,
                    extra={"event": "heartbeat_failed"},
                )

    def _beat(self, run_id: str) -> None:
        sign = literal(f"{own_machine()} ").concat(NOW)
        row = insert(KEY_VALUES).from_select(
            ["key", "value"], select(literal(RUN_HEARTBEATS + run_id), sign)
        )
        with self._connect() as connection:
            connection.execute(
                row.on_conflict_do_update(
                    index_elements=[_kvs.key], set_={"value": row.excluded.value}
                )
            )
