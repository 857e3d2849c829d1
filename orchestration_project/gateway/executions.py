"""Executes GraphQL documents: few at once, few of them for one user, and none for long."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from graphql import ExecutionContext, OperationType

QUERY_SECONDS = 10.0
"""Time limit of a document's execution. A mutation itself has none; the fields of its result have
this limit."""

MAX_DOCUMENTS, MAX_DOCUMENTS_PER_USER = 6, 4
"""Documents. They share one interpreter: more of them at once would only be slower each."""

TIMEOUT_MESSAGE = "The query took longer than {:g} s and was ended. Ask for less at once."

T = TypeVar("T")


class TookTooLong(BaseException):
    """Ends an execution at once: GraphQL would take any other exception for one field's."""


class Executions:
    """Has documents executed in threads of their own."""

    def __init__(self, seconds: float = QUERY_SECONDS) -> None:
        self.seconds = seconds
        self._threads = ThreadPoolExecutor(MAX_DOCUMENTS, thread_name_prefix="graphql")
        self._all = asyncio.Semaphore(MAX_DOCUMENTS)
        self._of_users = defaultdict[str, asyncio.Semaphore](
            lambda: asyncio.Semaphore(MAX_DOCUMENTS_PER_USER)
        )

    async def run(self, user: str, work: Callable[[], T], *, is_mutation: bool = False) -> T:
        """Return the result of ``work``, which executes a document when it is the turn of ``user``.

        Raises:
            TookTooLong: It is not over in time. A field that waits for something goes on, in its
                thread and its turn.
        """
        semaphore = self._of_users[user]
        await semaphore.acquire()
        try:
            await self._all.acquire()
        except asyncio.CancelledError:
            semaphore.release()
            raise
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._threads, copy_context().run, work)

        def release(done: asyncio.Future[T]) -> None:
            self._all.release()
            semaphore.release()
            if not done.cancelled():
                done.exception()  # its caller may be gone

        future.add_done_callback(release)
        done, _ = await asyncio.wait({future}, timeout=None if is_mutation else self.seconds)
        if not done:
            raise TookTooLong
        return future.result()

    @property
    def context_class(self) -> type[ExecutionContext]:
        """Executor of a document, with a time limit in seconds."""
        return type("Bounded", (_Bounded,), {"seconds": self.seconds})


class _Bounded(ExecutionContext):
    """Looks at the clock before each field."""

    seconds: float

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._is_mutation = self.operation.operation is OperationType.MUTATION
        self._ends_at = None if self._is_mutation else time.monotonic() + self.seconds

    def execute_field(self, parent_type: Any, source: Any, field_nodes: Any, path: Any) -> Any:
        """Resolve a field.

        Raises:
            TookTooLong: The time is over.
        """
        now = time.monotonic()
        if self._is_mutation and path.prev is None:
            self._ends_at = None
        elif self._ends_at is None:
            self._ends_at = now + self.seconds
        elif now > self._ends_at:
            raise TookTooLong
        return super().execute_field(parent_type, source, field_nodes, path)
