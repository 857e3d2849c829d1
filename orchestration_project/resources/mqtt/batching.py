"""Messages on their way to the database: collected for a short time, stored together."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from threading import Condition

BATCH_MESSAGES = 500
"""Messages of a transaction at most."""

BATCH_SECONDS = 0.005
"""Age of the oldest message at which a transaction begins, whatever else may come."""

QUIET_SECONDS = 0.001
"""Time without a further message after which a transaction begins: a broker whose window is full
sends nothing before it gets acknowledgements."""


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message as the broker delivered it, not acknowledged yet.

    Attributes:
        message_id: Packet identifier of the delivery; 0 with QoS 0.
        trace_id: Trace of its user property `traceparent`, a UUID; None: none, or malformed.
    """

    topic: str
    qos: int
    is_retained: bool
    is_duplicate: bool
    payload: bytes
    received_at: datetime
    message_id: int
    trace_id: str | None = None


class Backlog:
    """Messages that were received and are not stored yet: one thread adds, another one takes.

    Args:
        capacity: Messages that it holds at most; `add` waits while it is full. That stops the
            reading of the connection, so that the broker keeps the rest.
        now: Monotonic clock in seconds.
    """

    def __init__(self, capacity: int, now: Callable[[], float] = time.monotonic) -> None:
        self._capacity = capacity
        self._batch = min(BATCH_MESSAGES, capacity)
        self._now = now
        self._messages: deque[ReceivedMessage] = deque()
        self._changed = Condition()
        self._first_at = self._last_at = 0.0
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: ReceivedMessage) -> bool:
        """Add a message, once there is room; return False after `close`, and drop it."""
        with self._changed:
            while len(self._messages) >= self._capacity and not self._is_closed:
                self._changed.wait()
            if self._is_closed:
                return False
            self._last_at = self._now()
            if not self._messages:
                self._first_at = self._last_at
            self._messages.append(message)
            if len(self._messages) in (1, self._batch):
                self._changed.notify_all()
            return True

    def close(self) -> None:
        """Refuse further messages, and have no thread wait to add one."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def wake(self) -> None:
        """Have `take` return early."""
        with self._changed:
            self._changed.notify_all()

    def seconds_until_due(self) -> float | None:
        """Return the seconds until a batch is due, 0 if one is; None: no message waits."""
        with self._changed:
            return self._seconds_until_due()

    def take(self, timeout_seconds: float) -> Sequence[ReceivedMessage]:
        """Return the messages of a batch that is due, at most so many; empty if none is in time."""
        with self._changed:
            end = self._now() + timeout_seconds
            while (due := self._seconds_until_due()) != 0:
                number = end - self._now()
                if number <= 0:
                    return ()
                if not self._changed.wait(number if due is None else min(due, number)):
                    continue
                if due is None and not self._messages:
                    return ()  # woken
            popped = [
                self._messages.popleft() for _ in range(min(self._batch, len(self._messages)))
            ]
            self._first_at = self._now() - BATCH_SECONDS  # those that are left are due at once
            self._changed.notify_all()
            return popped

    def _seconds_until_due(self) -> float | None:
        if not self._messages:
            return None
        if len(self._messages) >= self._batch or self._is_closed:
            return 0
        age = self._first_at + BATCH_SECONDS - self._now()
        quiet = self._last_at + QUIET_SECONDS - self._now()
        return max(0, min(age, quiet))
