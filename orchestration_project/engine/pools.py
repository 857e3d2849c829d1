"""Applies a function to items in processes, and returns a result or an error for each.

An item that hangs, crashes or raises fails alone: the others go on. Its time and memory are
limited, as a process can be killed. `pool_worker.py` is the program of a worker process.
"""

import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from threading import Lock
from typing import IO, Any, Literal, Self, TypeVar, cast

from orchestration_project.engine.pool_worker import (
    ERROR,
    FUNCTION,
    HEADER,
    ITEM,
    RAISED,
    READY,
    RESULT,
    ExceptionText,
    describe,
    send,
)
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    OrchestrationError,
    TransientError,
)
from orchestration_project.redaction import redacted
from orchestration_project.settings.given import ENVIRONMENT

START_SECONDS = 60
"""For a worker to load the function; the time of its first item begins after that."""

EXIT_SECONDS = 1
"""For a worker that has closed its socket to be gone; then it is killed."""

MIN_REPLY_BYTES = 64 * 1024**2
"""Allowed in any reply: the text of an exception may be longer than a small limit of results."""

OUTPUT_CHARACTERS = 2000
"""Shown of a worker's last output, and of a traceback."""

OUTPUT_BYTES, MAX_SECRET_LENGTH = 32_768, 4096
"""Kept of the output; cut off its beginning once it is redacted, as that may be half a secret."""

OPTIONS = ("-I", "-X", "faulthandler", "-c")
"""Isolated from the environment, and with a traceback in the output where it crashes."""

WORKER_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[5:]; "
    "from orchestration_project.engine.pool_worker import main; main(*map(int, sys.argv[1:5]))"
)

PASSED_ON = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")
"""Environment variables that a worker gets; no others, as some hold secrets."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Pools of threads in libraries would take memory for each processor of the machine."""

SIGNALS = {signals.value: signals.name for signals in signal.Signals}

ItemReason = Literal["timeout", "memory", "exit", "exception", "result", "item"]
"""Why an item failed: a limit, its worker ended, it raised, its result or itself is not sent."""


class ItemError(ContractError):
    """An item cannot be processed, and another attempt on the same input would fail as well."""

    def __init__(self, what: str, *, reason_code: ItemReason = "exception", **said: Any) -> None:
        super().__init__(what, **said)
        self.reason_code: ItemReason = reason_code

    @property
    def is_end_of_worker(self) -> bool:
        """Whether the worker cannot process other items: it ended, or its memory is used up."""
        return self.reason_code in ("memory", "exit")


def build_item_error(raised: ExceptionText, output: str = "") -> ItemError:
    """Return the error of an item whose function raised an exception that is not one of ours."""
    what = {
        "memory": "the item needs more memory than a worker may have",
        "result": "the result of the item cannot be sent",
        "item": "the item cannot be sent",
    }.get(raised.reason_code, "the item raised an exception")
    names = [raised.summary, _cut_to_end(raised.trace), output]
    reason_code = cast(ItemReason, raised.reason_code)
    return ItemError(what, reason_code=reason_code, found="\n".join(filter(None, names)))


class WorkerProcess:
    """One worker process, for one function; used by one thread at a time, but for `kill`.

    Attributes:
        function: The function, pickled.
    """

    def __init__(self, function: bytes, memory_bytes: int, max_result_bytes: int) -> None:
        """Start a worker.

        Raises:
            TransientError: The system starts no other process.
        """
        self.function = function
        self._is_loaded = False
        self._is_waiting = True
        self._max_reply_bytes = max(max_result_bytes, MIN_REPLY_BYTES)
        self._lock = Lock()
        self._output = bytearray()
        self._poll = select.poll()
        try:
            self._resources = self._start(memory_bytes, max_result_bytes)
        except OSError as error:
            raise TransientError(
                "a worker of the pool cannot be started", found=str(error)
            ) from error

    def _start(self, memory_bytes: int, max_result_bytes: int) -> ExitStack:
        """Start the process in a session of its own; return what ends it and closes its files."""
        with ExitStack() as stack:
            self._channel, theirs = map(stack.enter_context, socket.socketpair())
            numbers = (theirs.fileno(), os.getpid(), memory_bytes, max_result_bytes)
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, *OPTIONS, WORKER_PROGRAM, *map(str, numbers), *sys.path],
                bufsize=0,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={name: ENVIRONMENT[name] for name in PASSED_ON if name in ENVIRONMENT}
                | ONE_THREAD,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # and a process group, which is killed as a whole
            )
            theirs.close()
            self._stdout = stack.enter_context(cast(IO[bytes], self._process.stdout))
            stack.callback(self.kill)
            os.set_blocking(self._stdout.fileno(), False)
            self._pidfd = os.pidfd_open(self._process.pid)
            stack.callback(os.close, self._pidfd)
            for descriptor in (self._channel.fileno(), self._stdout.fileno(), self._pidfd):
                self._poll.register(descriptor, select.POLLIN)
            return stack.pop_all()

    @property
    def is_usable(self) -> bool:
        """Whether it waits for a function or an item."""
        return self._is_waiting and not self._has_ended()

    def _has_ended(self, seconds: float = 0) -> bool:
        """Return whether the process ends within a time; its group is there until `kill`."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def kill(self) -> None:
        """Kill the process and those of its group; any thread may, whatever the worker does."""
        with self._lock:
            if self._process.returncode is None:  # its number is not reused until then
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()

    def close(self) -> None:
        """Kill the process, and close what leads to it."""
        self._resources.close()

    def load(self) -> None:
        """Have the worker load its function, unless it has.

        Raises:
            ConfigurationError: It cannot.
            TransientError: It takes too long.
        """
        if self._is_loaded:
            return
        try:
            kind, payload = self._exchange(FUNCTION, self.function, START_SECONDS)
        except TimeoutError:
            self.kill()
            raise TransientError(
                "a worker of the pool did not start in time",
                expected=f"the function loaded within {START_SECONDS} s",
                found=self._last_output(),
            ) from None
        except EOFError:
            raise _build_load_error(f"{self._cause_of_end()}\n{self._last_output()}") from None
        if kind != READY:
            raised: ExceptionText = pickle.loads(payload)  # noqa: S301 - of our worker
            raise _build_load_error(f"{raised.summary}\n{_cut_to_end(raised.trace)}")
        self._is_loaded = True

    def apply(self, item: bytes, seconds: float) -> Any:
        """Return the function's result for a pickled item, or why there is none.

        A worker that cannot go on is killed.
        """
        self._read_output()
        self._output.clear()  # of earlier items
        try:
            kind, payload = self._exchange(ITEM, item, seconds)
        except TimeoutError:
            return self._failure(
                "timeout",
                "the item took too long",
                expected=f"a result within {seconds:g} s",
                found="none, and its worker was killed",
            )
        except EOFError:
            return self._failure("exit", "the item ended its worker", found=self._cause_of_end())
        return self._read_reply(kind, payload)

    def _read_reply(self, kind: bytes, payload: bytearray) -> Any:
        try:
            reply = pickle.loads(payload)  # noqa: S301 - of our worker
        except Exception as error:  # noqa: BLE001 - any, of a method of the result
            return build_item_error(describe(error)._replace(reason_code="result"))
        if kind == ERROR:
            return _redact(reply)
        if kind == RESULT:
            return reply
        failure = build_item_error(reply, self._last_output())
        if failure.is_end_of_worker:
            self._is_waiting = False
        return failure

    def _failure(
        self, reason_code: ItemReason, what: str, *, found: str, expected: str = ""
    ) -> ItemError:
        self.kill()
        return ItemError(
            what,
            reason_code=reason_code,
            expected=expected,
            found="\n".join(filter(None, [found, self._last_output()])),
        )

    def _cause_of_end(self) -> str:
        """Return how the process ended; it is killed if it goes on."""
        has_ended = self._has_ended(EXIT_SECONDS)
        self.kill()
        status = self._process.returncode
        if not has_ended:
            return "no valid reply of its worker, which was killed"
        return (
            f"its worker was killed by {SIGNALS.get(-status, f'signal {-status}')}"
            if status < 0
            else f"its worker exited with status {status}"
        )

    def _exchange(self, kind: bytes, payload: bytes, seconds: float) -> tuple[bytes, bytearray]:
        """Send a frame and return the kind and payload of the reply.

        Raises:
            TimeoutError: It does not come in time.
            EOFError: The worker has ended, or what came is not a reply.
        """
        self._is_waiting = False
        deadline = time.monotonic() + seconds
        try:
            self._channel.settimeout(seconds)
            send(self._channel, kind, payload)
            reply, size = HEADER.unpack(self._read(HEADER.size, deadline))
            if reply not in (READY, RESULT, ERROR, RAISED) or size > self._max_reply_bytes:
                raise EOFError
            data = self._read(size, deadline)
        except ConnectionError as error:
            raise EOFError from error
        self._is_waiting = True
        return reply, data

    def _read(self, size: int, deadline: float) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        while view:
            self._wait(deadline)
            count = self._channel.recv_into(view)
            if not count:
                raise EOFError
            view = view[count:]
        return data

    def _wait(self, deadline: float) -> None:
        """Wait for what the worker sends, and read its output, so that it need not wait."""
        while True:
            left = deadline - time.monotonic()
            ready = {descriptor for descriptor, _ in self._poll.poll(_poll_milliseconds(left))}
            if self._stdout.fileno() in ready:
                self._read_output()
            if self._channel.fileno() in ready:
                return
            if self._pidfd in ready:  # another process may have its end of the socket
                raise EOFError
            if left <= 0:
                raise TimeoutError

    def _read_output(self) -> None:
        """Read the bytes in the pipe, without waiting for more."""
        try:
            written = os.read(self._stdout.fileno(), OUTPUT_BYTES * 2)
        except BlockingIOError:
            return
        if not written:  # closed at the other end, which would be ready for ever
            with suppress(KeyError):
                self._poll.unregister(self._stdout)
        self._output += written
        del self._output[:-OUTPUT_BYTES]

    def _last_output(self) -> str:
        """Return the end of what the worker has written, redacted."""
        self._read_output()
        is_cut = len(self._output) >= OUTPUT_BYTES
        text = _cut_to_end(self._output.decode(errors="replace"), is_cut=is_cut)
        return f"last output: {text}" if text else ""


def _poll_milliseconds(seconds: float) -> float:
    """Return a time as poll(2) takes it: not negative, and within 32 bits."""
    return min(max(seconds, 0), 3600) * 1000


def _cut_to_end(text: str, *, is_cut: bool = False) -> str:
    """Return the end of a text, which is redacted before."""
    return redacted(text)[MAX_SECRET_LENGTH if is_cut else 0 :][-OUTPUT_CHARACTERS:].strip()


def _build_load_error(found: str) -> ConfigurationError:
    return ConfigurationError(
        "a worker of the pool cannot load the function",
        expected="a function that can be imported, within the limit of memory",
        found=found,
        remedy="name a function of a module, or raise memory_bytes",
    )


def _redact(error: OrchestrationError) -> OrchestrationError:
    """Return an error of a worker, which does not know the secrets of this process."""
    for name in ("what", "expected", "found", "remedy"):
        setattr(error, name, redacted(getattr(error, name)))
    error.args = (error.what,)
    error.context = {name: redacted(value) for name, value in error.context.items()}
    return error


MIB = 1024**2

MIN_MEMORY_BYTES = 32 * MIB
"""Less does not even start Python."""

ATTEMPTS = 2
"""How often an item may end its worker. The second one is new: its end is due to the item."""

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
Results = Generator[tuple[ItemT, ResultT | OrchestrationError], None, None]


class ProcessPool:
    """Applies the function in worker processes, each with a limit of time and of memory.

    A worker whose item takes too long is killed with all processes of its group, and replaced.
    An item that ends its worker or uses up its memory is processed a second time, in a new worker:
    what happens there is due to the item, and neither to an item before it nor to who killed the
    worker. Each is an `ItemError`, which is permanent: the same input would fail again.

    The function, items and results are pickled, so the function is one of a module. Workers start
    when they are needed, stay for the next run of the same function, and end with the pool or with
    its process. They have the rights of this process: limits do not make a sandbox. What a worker
    starts ends with it, unless it leaves the process group, or the process of the pool is killed.
    """

    def __init__(
        self, workers: int, memory_bytes: int, *, max_result_bytes: int = 256 * MIB
    ) -> None:
        """Create a pool.

        Args:
            workers: How many items are processed at a time.
            memory_bytes: What a worker may allocate, Python and its modules included.
            max_result_bytes: What a pickled result may have.
        """
        self._size = _check_minimum(1, workers=workers)
        self._workers = _Workers(
            _check_minimum(MIN_MEMORY_BYTES, memory_bytes=memory_bytes),
            _check_minimum(1, max_result_bytes=max_result_bytes),
        )
        # The kernel ends a worker with the thread that started it: these stay until the end.
        self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="process_pool")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill all workers, and wait until they are gone."""
        self._workers.kill()
        self._threads.shutdown()
        self._workers.close()

    def run(
        self, function: Callable[[ItemT], ResultT], items: Iterable[ItemT], *, timeout: timedelta
    ) -> Results[ItemT, ResultT]:
        """Yield each item with its result, or with the error that keeps it from having one.

        Items are taken in the caller's thread, as workers become free, and yielded as they are
        done; at most two for each worker are held. An exception that is not an
        `OrchestrationError` becomes an `ItemError`. A caller that stops early ends the work on the
        other items.

        Args:
            function: What is applied.
            items: What it is applied to.
            timeout: How long an item may take.

        Raises:
            ConfigurationError: The function cannot be pickled, or a worker cannot load it.
            TransientError: A worker cannot be started.
        """
        job = _Job(self._workers, _serialize_function(function), _convert_timeout(timeout))
        source = iter(items)
        pending: dict[Future[Any], ItemT] = {}
        try:
            while True:
                for item in islice(source, 2 * self._size - len(pending)):
                    pending[self._threads.submit(job.process, item)] = item
                if not pending:
                    return
                ended = wait(pending, return_when=FIRST_COMPLETED).done.pop()
                yield pending.pop(ended), ended.result()
        finally:
            at_work = [future for future in pending if not future.cancel()]
            self._workers.kill(job)
            wait(at_work)


@dataclass
class _Job:
    """Work of a process pool's run for each item; `process` is called in its threads."""

    workers: "_Workers"
    function: bytes
    seconds: float
    busy: set[WorkerProcess] = field(default_factory=set)
    is_cancelled: bool = False

    def process(self, item: object) -> Any:
        """Return the result of the function for ``item``, or why there is none."""
        try:
            pickled = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # noqa: BLE001 - any, of a method of the item
            return build_item_error(describe(error)._replace(reason_code="item"))
        result = self._apply(pickled, is_new=False)
        for _ in range(ATTEMPTS - 1):
            if isinstance(result, ItemError) and result.is_end_of_worker:
                result = self._apply(pickled, is_new=True)
        return result

    def _apply(self, item: bytes, *, is_new: bool) -> Any:
        worker = self.workers.take(self, is_new=is_new)
        try:
            worker.load()
            return worker.apply(item, self.seconds)
        finally:
            self.workers.give_back(self, worker)


class _Workers:
    """The worker processes of a pool: at most one for each of its threads."""

    def __init__(self, memory_bytes: int, max_result_bytes: int) -> None:
        self._limits = (memory_bytes, max_result_bytes)
        self._lock = threading.Lock()
        self._all: set[WorkerProcess] = set()
        self._idle: list[WorkerProcess] = []
        self._is_closed = False

    def take(self, job: _Job, *, is_new: bool) -> WorkerProcess:
        """Return an idle worker, or a new one.

        Raises:
            CancelledError: The job or the pool has ended.
            TransientError: A worker cannot be started.
        """
        with self._lock:
            if self._is_closed or job.is_cancelled:
                raise CancelledError
            worker = None if is_new else self._idle_worker(job.function)
            worker = worker or WorkerProcess(job.function, *self._limits)
            self._all.add(worker)
            job.busy.add(worker)
            return worker

    def _idle_worker(self, function: bytes) -> WorkerProcess | None:
        """Return an idle worker of a function; end those of others, and those that have ended."""
        while self._idle:
            worker = self._idle.pop()
            if worker.function == function and worker.is_usable:
                return worker
            self._all.discard(worker)
            worker.close()
        return None

    def give_back(self, job: _Job, worker: WorkerProcess) -> None:
        """Keep a worker for other items, or end one that is of no more use."""
        with self._lock:
            job.busy.discard(worker)
            if worker.is_usable:
                self._idle.append(worker)
                return
            self._all.discard(worker)
        worker.close()

    def kill(self, job: _Job | None = None) -> None:
        """Kill the workers of a job, or all; from then on it has no others."""
        with self._lock:
            if job is None:
                self._is_closed = True
            else:
                job.is_cancelled = True
            for worker in self._all if job is None else job.busy:
                worker.kill()

    def close(self) -> None:
        """Close the workers; none may be in use."""
        with self._lock:
            for worker in self._all:
                worker.close()
            self._all.clear()
            self._idle.clear()


def _serialize_function(function: Callable[[Any], Any]) -> bytes:
    try:
        return pickle.dumps(function)
    except Exception as error:
        raise ConfigurationError(
            f"invalid function of a process pool: {function!r}",
            expected="one that can be imported, e.g. a function of a module",
            found=str(error),
        ) from error


def _convert_timeout(timeout: timedelta) -> float:
    if timeout <= timedelta(0):
        raise ConfigurationError(f"invalid timeout: expected more than 0 s, got {timeout}")
    return timeout.total_seconds()


def _check_minimum(least: int, **named: int) -> int:
    ((name, value),) = named.items()
    if value < least:
        raise ConfigurationError(f"invalid {name}: expected {least} or more, got {value}")
    return value
