"""Group commit: deliveries that come while a transaction is written share the next one.

A commit costs a flush of the disk, whether it holds one row or a hundred.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock

from orchestration_project.errors import TransientError
from orchestration_project.services.inbox.rows import Received, Stored

MOST_DELIVERIES = 500
MOST_BYTES = 64 * 1024 * 1024
"""Of what waits for the next transaction: more is told to come again."""

Take = Callable[[Sequence[Received]], list[Stored]]


class _Batch:
    """Deliveries of one transaction; ``done`` is what came of them, in their order."""

    def __init__(self) -> None:
        self.deliveries: list[Received] = []
        self.byte_count = 0
        self.done: Future[list[Stored]]


class GroupCommit:
    """Hands deliveries to ``take``, all those together that came while it was at the last ones."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inbox")
        self._lock = Lock()
        self._open: _Batch | None = None

    def close(self) -> None:
        """Write what was handed in, and end the thread."""
        self._thread.shutdown()

    def store(self, delivery: Received) -> tuple[Future[list[Stored]], int]:
        """Hand a delivery in; return what will hold its outcome, and at which place.

        The future is that of all its batch: nobody may cancel it.

        Raises:
            TransientError: Too much waits already.
        """
        with self._lock:
            if self._open is None:
                self._open = _Batch()
                self._open.done = self._thread.submit(self._write, self._open)
            batch = self._open
            is_full = batch.byte_count + len(delivery.body) > MOST_BYTES
            if batch.deliveries and (is_full or len(batch.deliveries) >= MOST_DELIVERIES):
                raise TransientError("more deliveries came than the database takes just now")
            batch.deliveries.append(delivery)
            batch.byte_count += len(delivery.body)
            return batch.done, len(batch.deliveries) - 1

    def _write(self, batch: _Batch) -> list[Stored]:
        with self._lock:
            self._open = None  # who comes now waits for the next one
        return self._take(batch.deliveries)
