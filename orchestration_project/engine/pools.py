"""Applies a function to items in processes, and returns a result or an error for each.

An item that hangs, crashes or raises fails alone: the others go on. Its time and memory are
limited, as a process can be killed.
"""

import pickle
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Any, Self, TypeVar

from orchestration_project.engine.pool_worker import describe
from orchestration_project.engine.worker_process import ItemError, WorkerProcess, item_error
from orchestration_project.errors import ConfigurationError, OrchestrationError

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
        self._size = _at_least(1, workers=workers)
        self._workers = _Workers(
            _at_least(MIN_MEMORY_BYTES, memory_bytes=memory_bytes),
            _at_least(1, max_result_bytes=max_result_bytes),
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
        job = _Job(self._workers, _pickled(function), _seconds(timeout))
        source = iter(items)
        pending: dict[Future[Any], ItemT] = {}
        try:
            while True:
                for item in islice(source, 2 * self._size - len(pending)):
                    pending[self._threads.submit(job.process, item)] = item
                if not pending:
                    return
                done = wait(pending, return_when=FIRST_COMPLETED).done.pop()
                yield pending.pop(done), done.result()
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
            return item_error(describe(error)._replace(reason_code="item"))
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


def _pickled(function: Callable[[Any], Any]) -> bytes:
    try:
        return pickle.dumps(function)
    except Exception as error:
        raise ConfigurationError(
            f"invalid function of a process pool: {function!r}",
            expected="one that can be imported, e.g. a function of a module",
            found=str(error),
        ) from error


def _seconds(timeout: timedelta) -> float:
    if timeout <= timedelta(0):
        raise ConfigurationError(f"invalid timeout: expected more than 0 s, got {timeout}")
    return timeout.total_seconds()


def _at_least(least: int, **named: int) -> int:
    ((name, value),) = named.items()
    if value < least:
        raise ConfigurationError(f"invalid {name}: expected {least} or more, got {value}")
    return value
