"""Supervised programs: started together, restarted when one ends, and ended with this process.

Each leads a process group, which its own children join: code servers and run workers. A watcher
process (`watcher.py`) knows the groups and ends them, so that a killed supervisor leaves nothing.
"""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import IO, NamedTuple, NoReturn, Self

import psutil

from orchestration_project.cli.console import note
from orchestration_project.cli.ending import GRACE_SECONDS, POLL_SECONDS, Watcher
from orchestration_project.engine.contracts.attempts import compute_backoff
from orchestration_project.errors import TransientError

LAST_LINES = 15
LOG_BYTES = 16 * 1024 * 1024
"""Size from which a log is rotated: it replaces the previous one, and a new one starts."""

WATCH_SECONDS = 1.0
"""Between looks at programs that run."""
MAX_WAIT_SECONDS = 60.0

MAX_START_SECONDS = 300.0
"""Longest wait for a program that starts: on a busy machine one takes a minute or more."""


class StopRequest(Exception):  # noqa: N818 - not an error: what was asked for
    """This process was asked to stop."""


class RestartPolicy(NamedTuple):
    """When a program that ended by itself is restarted.

    Attributes:
        max_ends: Ends of one program within the window after which it is not restarted.
        window_seconds: Length of the window.
        first_wait_seconds: Wait before the first restart; doubled for each further one.
    """

    max_ends: int
    window_seconds: float
    first_wait_seconds: float = 1.0

    def wait_seconds(self, end_count: int) -> float:
        """Return the wait before a restart after so many ends within the window."""
        return compute_backoff(end_count, self.first_wait_seconds, MAX_WAIT_SECONDS)


class Launch(NamedTuple):
    """Command of a program, by which it is started and restarted.

    Attributes:
        is_optional: Whether the others go on without it.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    user: str | None
    is_optional: bool


class Service(NamedTuple):
    """One program and the file that keeps what it writes."""

    launch: Launch
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def name(self) -> str:
        """Name of the program and its log."""
        return self.launch.name


class SupervisedServices:
    """The programs of one command; leaving the context ends them and all their children."""

    def __init__(
        self,
        *,
        folder: Path,
        logs: Path,
        environment: Mapping[str, str],
        lock: IO[str],
        restarts: RestartPolicy,
    ) -> None:
        """Run programs in ``folder``, holding ``lock`` until the last of them has ended."""
        self._folder = folder
        self._logs = logs
        self._environment = environment
        self._lock = lock
        self._restarts = restarts
        self._services: list[Service] = []
        self._passing: dict[str, Service] = {}
        self._children: dict[str, list[psutil.Process]] = {}
        self._ended_at: dict[str, list[float]] = {}
        self._restart_at: dict[str, float] = {}
        self._is_stop_requested = False

    def __enter__(self) -> Self:
        """Start the watcher, and take the signals that ask to stop."""
        signal.signal(signal.SIGINT, self._request_stop)
        signal.signal(signal.SIGTERM, self._request_stop)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup asks to outlive the terminal
            signal.signal(signal.SIGHUP, self._request_stop)
        self._watcher = Watcher(self._environment, self._lock.fileno())
        return self

    def __exit__(self, *_: object) -> None:
        """Have the watcher end all programs; if it was killed itself, do its work."""
        started = [service.process.pid for service in (*self._services, *self._passing.values())]
        self._watcher.end(started, self._reap)
        self._reap()

    def start(self, name: str, *arguments: str, is_optional: bool = False) -> None:
        """Start ``python -m arguments``; its output is kept, and that of the time before."""
        command = [sys.executable, "-m", *arguments]
        self.start_command(name, command, is_optional=is_optional)

    def start_command(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        *,
        is_optional: bool = False,
    ) -> None:
        """Start another program in the same way.

        Args:
            name: Name of the service and its log.
            command: Executable and arguments.
            environment: Variables beside those of all services.
            user: System user that the program runs as; only root may name one.
            is_optional: Whether the others go on without it when it ends too often.
        """
        launch = Launch(name, command, environment or {}, user, is_optional)
        self._services.append(self._spawned(launch))

    def end(self, names: Collection[str]) -> None:
        """End some programs and their children before the others: those that they use stay."""
        services = [each for each in self._services if each.name in names]
        for service in reversed(services):
            with suppress(ProcessLookupError):
                os.killpg(service.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        for service in services:
            with suppress(subprocess.TimeoutExpired):
                service.process.wait(max(0.0, deadline - time.monotonic()))
            with suppress(ProcessLookupError):
                os.killpg(service.process.pid, signal.SIGKILL)

    def restart(self, name: str) -> None:
        """End a program and its children, and start it again with the same command."""
        self.end([name])
        for number, service in enumerate(self._services):
            if service.name == name:
                self._services[number] = self._spawned(service.launch)

    def begin(self, name: str, *arguments: str) -> bool:
        """Start a program in the same way that ends by itself, unless it is still at work.

        Returns:
            Whether it was started.
        """
        before = self._passing.get(name)
        if before is not None and before.process.poll() is None:
            return False
        command = [sys.executable, "-m", *arguments]
        self._passing[name] = self._spawned(Launch(name, command, {}, None, is_optional=True))
        return True

    def await_end(self, name: str, seconds: float) -> None:
        """Wait for the end of a program, if it was begun; at most so long."""
        deadline = time.monotonic() + seconds
        begun = self._passing.get(name)
        while begun and begun.process.poll() is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _spawned(self, launch: Launch) -> Service:
        user = launch.user
        log = self._logs / f"{launch.name}.log"
        if log.exists():
            log.replace(_name_previous(log))
        with log.open("ab") as output:  # to append: it may be cut meanwhile
            process = subprocess.Popen(  # noqa: S603 - our own commands
                launch.command,
                cwd=None if user else self._folder,  # a private folder
                env={**self._environment, **launch.environment},
                user=user,
                group=user,
                extra_groups=[] if user else None,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        self._watcher.add(process.pid)
        return Service(launch, process, log)

    def needs_its_child(self, name: str) -> None:
        """From now on take a program that is left without any child process for one that ended."""
        self._children[name] = []

    def wait_until(
        self, name: str, is_done: Callable[[], bool], seconds: float = MAX_START_SECONDS
    ) -> None:
        """Wait until the program ``name`` does what ``is_done`` looks for; note both.

        Raises:
            StopRequest: When a signal asked this process to stop.
            TransientError: When a program that the others need ended by itself, or ``seconds`` are
                over; starting again may work.
        """
        began = time.monotonic()
        deadline = began + seconds
        note(f"waiting for {name}")
        while not is_done():
            self._refuse_to_wait()
            if time.monotonic() >= deadline:
                [service] = [each for each in self._services if each.name == name]
                raise _explain_silence(service, seconds)
            time.sleep(POLL_SECONDS)
        note(f"{name} is ready after {time.monotonic() - began:.1f} s")

    def watch(
        self, meanwhile: Callable[[], object], report_end: Callable[[str], object]
    ) -> NoReturn:
        """Restart programs that end, for ever, and call ``meanwhile`` over and over.

        Args:
            meanwhile: Called once a second.
            report_end: Takes a sentence about a program that ended and its restart.

        Raises:
            StopRequest: When a signal asked this process to stop.
            TransientError: When a program ended too often, and the others need it.
        """
        while True:
            meanwhile()
            self._cut_logs()
            self._reap()
            self._require_watcher()
            for number, service in enumerate(self._services):
                self._services[number] = self._kept_running(service, report_end)
            time.sleep(WATCH_SECONDS)

    def _kept_running(self, service: Service, report_end: Callable[[str], object]) -> Service:
        """Return a program as it runs now: the same one, or the one that took its place."""
        name, now = service.name, time.monotonic()
        if name in self._restart_at:
            if now < self._restart_at[name]:
                return service
            del self._restart_at[name]
            return self._spawned(service.launch)
        how = self._how_it_ended(service)
        if how is None:
            return service
        with suppress(ProcessLookupError):
            os.killpg(service.process.pid, signal.SIGKILL)  # its children, such as runs
        if name in self._children:
            self._children[name] = []
        policy = self._restarts
        ended_at = [at for at in self._ended_at.get(name, []) if at > now - policy.window_seconds]
        self._ended_at[name] = [*ended_at, now]
        count = len(self._ended_at[name])
        wait = math.inf if count >= policy.max_ends else policy.wait_seconds(count)
        if math.isinf(wait) and not service.launch.is_optional:
            raise _explain_death(service, how)
        self._restart_at[name] = now + wait
        text = (
            f"it stays off after {count} ends within {policy.window_seconds / 60:g} minutes"
            if math.isinf(wait)
            else f"it is restarted in {wait:g} s"
        )
        report_end(f"{name} ended by itself {how}; {text}; see {service.log}")
        return service

    def _cut_logs(self) -> None:
        """Keep the logs short: programs write for months, and each run does so into one of them."""
        for service in self._services:
            with suppress(OSError):  # somebody took it away
                if service.log.stat().st_size > LOG_BYTES:
                    with suppress(OSError):  # the disk is full: its former lines are lost
                        shutil.copyfile(service.log, _name_previous(service.log))
                    os.truncate(service.log, 0)

    def _refuse_to_wait(self) -> None:
        self._require_watcher()
        for service in self._services:
            how = self._how_it_ended(service)
            if how is not None and not service.launch.is_optional:  # `watch` restarts that one
                raise _explain_death(service, how)

    def _require_watcher(self) -> None:
        if self._is_stop_requested:
            raise StopRequest
        if not self._watcher.is_alive:
            raise TransientError("the watcher process was killed", remedy="start again")

    def _how_it_ended(self, service: Service) -> str | None:
        """Return how a program ended by itself; None: it runs."""
        if service.process.poll() is not None:
            return f"with status {service.process.returncode}"
        return "in the process that does its work" if self._has_lost_its_child(service) else None

    def _has_lost_its_child(self, service: Service) -> bool:
        """Return whether a program that had a child process has none.

        A child may take the place of another. A search for it is slow, a look at a known one fast.
        """
        known_processes = self._children.get(service.name)
        if known_processes is None or any(map(_is_alive, known_processes)):
            return False
        children = psutil.Process(service.process.pid).children()
        self._children[service.name] = [child for child in children if _is_alive(child)]
        return bool(known_processes) and not self._children[service.name]

    def _request_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stop_requested = True

    def _reap(self) -> None:
        """Collect ended programs, which would keep their groups in existence."""
        for service in [*self._services, *self._passing.values()]:
            service.process.poll()


def _name_previous(log: Path) -> Path:
    return log.with_suffix(".previous.log")


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _read_last_lines(service: Service) -> str:
    last_lines = service.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
    return "\n    ".join(["its last lines are", *last_lines])


def _explain_silence(service: Service, seconds: float) -> TransientError:
    return TransientError(
        f"{service.name} does not answer; all is stopped",
        expected=f"an answer within {seconds:g} s",
        found=_read_last_lines(service),
        remedy="fix the errors in these lines, or relieve the machine, and start again",
        log=service.log,
    )


def _explain_death(service: Service, how: str) -> TransientError:
    return TransientError(
        f"{service.name} ended by itself {how}; all is stopped",
        found=_read_last_lines(service),
        remedy="fix the errors in these lines, and start again",
        log=service.log,
    )
