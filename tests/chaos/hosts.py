"""Hosts with namespaces of their own, and the programs on them that are killed and come back."""

import ctypes
import subprocess
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import psutil

from tests.chaos.host_program import CLONE_NEWNET
from tests.programs import wait_for
from tests.slow.namespaces import Link
from tests.slow.network_site import started

RESTART_SECONDS = 120
"""Longest time in which a killed program runs again."""


class Program(Protocol):
    """A program that is killed.

    Attributes:
        name: Name in the output.
    """

    name: str

    def kill(self, *, with_children: bool) -> None:
        """Kill it by SIGKILL, alone or with its children."""
        ...

    def start(self) -> None:
        """Start it again, or wait until its supervisor has."""
        ...


class Host:
    """A machine: its own network, mounts and name.

    Args:
        link: Its way to the services.
        folder: Folder of the run; each host has its own files at ``folder/state``.
        environment: Settings of its programs.
    """

    def __init__(self, link: Link, folder: Path, environment: Mapping[str, str]) -> None:
        self.link, self._folder = link, folder
        self._files = folder / "hosts" / link.host
        self._files.mkdir(parents=True)
        self._state = folder / "state"
        self._state.mkdir(exist_ok=True)
        self._environment = {**environment, "STATE_DIR": str(self._state)}
        self._namespace = Path("/run/netns", link.namespace)
        self._inside = ThreadPoolExecutor(1, initializer=self._enter)

    def start(self, name: str, *module: str, **environment: str) -> subprocess.Popen[str]:
        """Start ``python -m module`` here; its output goes to the log of ``name``."""
        here = (self.link.host, self.link.namespace, str(self._files), str(self._state))
        return started(
            self._folder / f"{self.link.host}-{name}",
            "tests.chaos.host_program",
            *here,
            *module,
            **(self._environment | environment),
        )

    def log(self, name: str) -> Path:
        """Return the file with the output of a program."""
        return self._folder / f"{self.link.host}-{name}" / "log"

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function in the network of this host."""
        return self._inside.submit(function).result()

    def _enter(self) -> None:
        with self._namespace.open() as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")

    def processes(self) -> list[psutil.Process]:
        """Return all processes in the network of this host."""
        own = self._namespace.stat().st_ino
        return [process for process in psutil.process_iter() if _network(process) == own]

    def end(self) -> None:
        """Kill all that runs here."""
        self._inside.shutdown()
        for _ in range(3):  # a supervisor may have started one meanwhile
            for process in self.processes():
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def _network(process: psutil.Process) -> int:
    try:
        return Path(f"/proc/{process.pid}/ns/net").stat().st_ino
    except OSError:
        return 0


def kill(process: psutil.Process, *, with_children: bool) -> None:
    """Kill a process by SIGKILL, alone or with its children."""
    children = process.children(recursive=True) if with_children else []
    for child in [process, *children]:
        with suppress(psutil.NoSuchProcess):
            child.kill()


class OwnProgram:
    """A program that this one starts, and starts again when it ends, as systemd would.

    Attributes:
        name: Name in the output.
        ends: How it ended by itself, without being killed.
    """

    def __init__(self, name: str, begin: Callable[[], subprocess.Popen[Any]]) -> None:
        self.name, self._begin = name, begin
        self._process = begin()
        self._lock = threading.Lock()
        self.ends: list[str] = []

    def kill(self, *, with_children: bool) -> None:
        """Kill it by SIGKILL, alone or with its children."""
        self._lock.acquire()  # `look` waits until `start`
        if self._process.poll() is None:
            kill(psutil.Process(self._process.pid), with_children=with_children)
        self._process.wait()

    def start(self) -> None:
        """Start it again after a kill."""
        self._process = self._begin()
        self._lock.release()

    def poll(self) -> None:
        """Start it again if it ended by itself."""
        if not self._lock.acquire(blocking=False):
            return
        status = self._process.poll()
        if status is not None:
            self.ends.append(f"{self.name} ended by itself with status {status}")
            self._process = self._begin()
        self._lock.release()

    def end(self) -> None:
        """Kill it for good."""
        if self._process.poll() is None:
            kill(psutil.Process(self._process.pid), with_children=True)
        self._process.wait()

    @property
    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    @property
    def pid(self) -> int:
        """Its process ID."""
        return self._process.pid


class SupervisedProgram:
    """A program of `ui`, which restarts it.

    Args:
        name: Name in the output.
        supervisor: The `ui` that started it.
        words: Words of its command.
    """

    def __init__(self, name: str, supervisor: OwnProgram, *words: str) -> None:
        self.name, self._supervisor, self._words = name, supervisor, words
        self._killed = 0

    def _process(self) -> psutil.Process | None:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._supervisor.pid).children():
                with suppress(psutil.NoSuchProcess):
                    is_it = all(word in child.cmdline() for word in self._words)
                    if is_it and child.pid != self._killed:
                        return child
        return None

    def kill(self, *, with_children: bool) -> None:
        """Kill it by SIGKILL, alone or with its children."""
        process = wait_for(self._process, RESTART_SECONDS)
        self._killed = process.pid
        kill(process, with_children=with_children)

    def start(self) -> None:
        """Wait until `ui` has restarted it."""
        wait_for(self._process, RESTART_SECONDS)


class Service:
    """A service that this program stops and starts.

    Args:
        name: Name in the output.
        stop: Kills it.
        begin: Starts it.
    """

    def __init__(self, name: str, stop: Callable[[], object], begin: Callable[[], object]) -> None:
        self.name, self._stop, self._begin = name, stop, begin

    def kill(self, *, with_children: bool) -> None:
        """Kill it; a service of Erlang or PostgreSQL has no use without its children."""
        self._stop()

    def start(self) -> None:
        """Start it again."""
        self._begin()


def await_exit(process: subprocess.Popen[str], seconds: float, log: Path) -> None:
    """Wait until a program ended well.

    Raises:
        RuntimeError: It did not; with its output.
    """
    if status := process.wait(seconds):
        raise RuntimeError(f"status {status}: {log.read_text()[-2000:]}")
