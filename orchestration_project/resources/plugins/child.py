"""A plugin's process: started in isolation, read line by line, and killed with all it has started.

A watchdog kills it when its time is over or the plugin is disabled, whatever the host waits for.
"""

import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from threading import Event, Lock, Thread
from typing import IO, Self, cast

from orchestration_project.domains.plugins.protocol import MAX_LINE_BYTES, ProtocolError, escaped
from orchestration_project.errors import ContractError, OrchestrationError, TransientError
from orchestration_project.redaction import redacted
from orchestration_project.resources.plugins.isolation import (
    ChildSpec,
    Level,
    child_command,
    in_cgroup,
    open_cgroup,
    refused_namespaces,
)

READ_BYTES = 256 * 1024
MAX_LOG_BYTES = 64 * 1024
SHOWN_CHARACTERS = 2_000
POLL_SECONDS = 0.4
EXIT_SECONDS = 5.0
SIGNALS = {signals.value: signals.name for signals in signal.Signals}
MAX_QUEUED_BYTES = 4 * 2**20
"""Read ahead of the host; a process that writes more while it does not read waits."""

SHELL_SIGNAL = 128
"""Added by bubblewrap to the number of the signal that ended a process."""


class ChildError(ContractError):
    """A plugin's process ended otherwise than by its end.

    Attributes:
        permission: Exceeded limit or broken rule, as in `plugins_violations`; empty: none.
    """

    def __init__(self, what: str, *, permission: str = "", **said: str) -> None:
        super().__init__(what, **said)
        self.permission = permission


class PluginProcess:
    """One process of a plugin, used by the thread that made it; a watchdog may kill it.

    Args:
        level: Level of isolation.
        spec: What it is started with.
        seconds: Limit of its wall time.
        stop_reason: Returns why it is to end now, such as that the plugin was disabled; empty:
            it may go on. It is called in another thread.
        shows_output: Whether the error of its end has the last line of its output.
    """

    def __init__(
        self,
        level: Level,
        spec: ChildSpec,
        *,
        seconds: float,
        stop_reason: Callable[[], str] = lambda: "",
        shows_output: bool = True,
    ) -> None:
        self._lines: deque[bytes] = deque()
        self._queued_bytes = 0
        self._rest = bytearray()
        self._log = bytearray()
        self._has_read = False
        self._has_output = True
        self._seconds = seconds
        self._stop_reason = stop_reason
        self._shows_output = shows_output
        self._stopped: ChildError | OrchestrationError | None = None
        self._done = Event()
        self._lock = Lock()
        self._resources = ExitStack()
        self._level = level
        command = child_command(level, spec)
        self.folders = command.folders
        cgroup = self._resources.enter_context(open_cgroup(spec))
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                in_cgroup(cgroup, command.arguments),
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={},
                cwd="/",
                start_new_session=True,  # and a process group, which is killed as a whole
            )
        except OSError as error:
            self._resources.close()
            raise TransientError(
                "the process of a plugin cannot be started", found=str(error)
            ) from error
        self._deadline = time.monotonic() + seconds
        self._stdin, self._stdout, self._stderr = (
            cast(IO[bytes], file)
            for file in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        for file in (self._stdin, self._stdout, self._stderr):
            os.set_blocking(file.fileno(), False)
        self._watchdog = Thread(target=self._watch, name="plugin_watchdog", daemon=True)
        self._watchdog.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def seconds_left(self) -> float:
        """Wall time that it may still take."""
        return max(self._deadline - time.monotonic(), 0.0)

    @property
    def process_id(self) -> int:
        """Number of the process that leads its group."""
        return self._process.pid

    def require_running(self) -> None:
        """Raise why the watchdog killed it, if it did.

        Raises:
            ChildError: Its time is over, or the plugin was disabled.
        """
        if self._stopped is not None:
            raise self._stopped

    def send(self, line: bytes) -> None:
        """Write a line to its standard input; one that has closed it gets nothing.

        Raises:
            ChildError: Its time is over, or the plugin was disabled.
        """
        view = memoryview(line)
        while view:
            try:
                view = view[os.write(self._stdin.fileno(), view) :]
            except BlockingIOError:
                self._wait(self._stdin.fileno())
            except BrokenPipeError:  # the next line that is read, or the lack of one, says more
                self.require_running()
                return

    def read_line(self) -> bytes:
        """Return its next line, without the line break; what it logs is read meanwhile.

        Raises:
            ProtocolError: The line is too long, or the last one has no line break.
            ChildError: It ended, its time is over, or the plugin was disabled.
        """
        while not self._lines:
            if not self._has_output:
                self.require_running()
                if self._rest:
                    raise ProtocolError("expected a line break at the end of the last line")
                raise self._ended("ended without the message end")
            self._wait(None)
        line = self._lines.popleft()
        self._queued_bytes -= len(line)
        return line

    def finish(self) -> None:
        """Wait for its end, after its last message.

        Raises:
            ProtocolError: It sends another line.
            ChildError: It does not end in time, or with another status than 0.
        """
        with suppress(OSError):
            self._stdin.close()
        deadline = time.monotonic() + min(EXIT_SECONDS, self.seconds_left)
        while self._has_output:
            self.require_running()
            if time.monotonic() > deadline:
                raise self._ended("did not exit after the message end")
            self._wait(None, max_seconds=0.5)
        if self._lines or self._rest:
            raise ProtocolError("expected no line after the message end")
        self._join(EXIT_SECONDS)
        if self._process.returncode != 0:
            raise self._ended("failed after the message end")

    @property
    def log_text(self) -> str:
        """The beginning of what it wrote to standard error, redacted."""
        return redacted(self._log.decode(errors="replace")).strip()

    def kill(self) -> None:
        """Kill the process and those of its group; any thread may."""
        with self._lock:
            if self._process.returncode is None:  # its number is not reused until then
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill it, wait until it is gone, and close its pipes."""
        self._done.set()
        self.kill()
        with self._lock:
            self._process.wait()
        self._watchdog.join()
        self._resources.close()
        for file in (self._stdin, self._stdout, self._stderr):
            with suppress(OSError):
                file.close()

    def _watch(self) -> None:
        while not self._done.wait(min(POLL_SECONDS, self.seconds_left)):
            if not self.seconds_left:
                self._stopped = ChildError(
                    "the plugin exceeded its budget",
                    permission="budget.seconds",
                    expected=f"an end within {self._seconds:g} s",
                    found="none, and its process was killed",
                    remedy="do less in a run, or raise budget.seconds in a new version",
                )
            elif reason := self._reason_to_stop():
                self._stopped = ChildError(
                    "the plugin was stopped",
                    found=reason,
                    remedy="enable it again: orchestrate plugins enable ID",
                )
            else:
                continue
            self.kill()
            return

    def _reason_to_stop(self) -> str:
        try:
            return self._stop_reason()
        except OrchestrationError:  # the database is away: the load will say so
            return ""

    def _wait(self, writable: int | None, *, max_seconds: float = 1.0) -> None:
        """Wait until it has written, or reads what is written to it; read what came."""
        poll = select.poll()
        if self._has_output and self._queued_bytes < MAX_QUEUED_BYTES:
            poll.register(self._stdout.fileno(), select.POLLIN)
        if not self._stderr.closed:
            poll.register(self._stderr.fileno(), select.POLLIN)
        if writable is not None:
            poll.register(writable, select.POLLOUT)
        for descriptor, _ in poll.poll(max_seconds * 1000):
            if descriptor == self._stdout.fileno():
                self._read_output()
            elif not self._stderr.closed and descriptor == self._stderr.fileno():
                self._read_log()
        self.require_running()

    def _read_output(self) -> None:
        with suppress(BlockingIOError):
            chunk = os.read(self._stdout.fileno(), READ_BYTES)
            if not chunk:
                self._has_output = False
                return
            self._has_read = True
            *lines, partial_line = chunk.split(b"\n")
            if lines:
                lines[0] = bytes(self._rest) + lines[0]
                self._lines.extend(lines)
                self._queued_bytes += sum(map(len, lines))
                self._rest.clear()
            self._rest += partial_line
            if len(self._rest) > MAX_LINE_BYTES:
                raise ProtocolError(f"expected lines of at most {MAX_LINE_BYTES:,} bytes")

    def _read_log(self) -> None:
        with suppress(BlockingIOError):
            chunk = os.read(self._stderr.fileno(), READ_BYTES)
            if not chunk:
                self._stderr.close()
            self._log += chunk[: MAX_LOG_BYTES - len(self._log)]

    def _join(self, seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def _ended(self, how: str) -> OrchestrationError:
        """Return the error of a process that has ended, or is killed now."""
        self._join(1.0)
        self.kill()
        with self._lock:
            self._process.wait()
        while not self._stderr.closed:
            before = len(self._log)
            self._read_log()
            if len(self._log) == before:
                break
        text = self.log_text[-SHOWN_CHARACTERS:]
        is_refused = self._level == "namespaces" and not self._has_read
        if is_refused and text.startswith("bwrap: "):
            return refused_namespaces(text[:300])
        lines = text.splitlines() if self._shows_output else []
        found = ": ".join([f"it {self._cause()}", *(escaped(line) for line in lines[-1:])])
        if "MemoryError" in text:
            return ChildError(
                f"the plugin {how}",
                permission="budget.memory_mib",
                expected="less memory than budget.memory_mib",
                found=found,
                remedy="hold less at a time, or raise budget.memory_mib in a new version",
            )
        return ChildError(
            f"the plugin {how}",
            expected="the message end, and exit status 0",
            found=found,
            remedy="correct the plugin; its output is in the log",
        )

    def _cause(self) -> str:
        status = self._process.returncode
        number = -status if status < 0 else status - SHELL_SIGNAL
        if number in SIGNALS:
            return f"was killed by {SIGNALS[number]}"
        return f"exited with status {status}"
