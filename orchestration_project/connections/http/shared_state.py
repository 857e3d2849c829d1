"""State of requests that processes share: rates, circuit breakers, counts and daily quotas.

`SharedState` has two stores: a SQLite file of STATE_DIR (`sqlite_state.py`), and the tables of a
PostgreSQL database (`engine/http_state.py`).
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from math import ceil
from typing import NamedTuple, TypeVar
from weakref import WeakSet

BUSY_SECONDS = 30  # a write lasts well under 1 ms; only a paused or dying disk or holder takes long

MARGIN_MS = 100
"""Added to each interval. The source counts when a request arrives, we when it leaves. A request
that is late by less cannot fall into an interval with those that were let through after it."""

MOST_BATCHES = 50
"""Times that a window has at most; of a greater limit, requests are counted together."""

Answer = TypeVar("Answer")


class HostKey(NamedTuple):
    """Key of what is shared: a host, as the system that requests it sees it."""

    host: str
    system: str


@dataclass(frozen=True)
class Rate:
    """Limit of ``request_count`` requests in any ``interval_seconds``; 1 in 10 s is a delay.

    Raises:
        ValueError: One of them is not positive.
    """

    request_count: int
    interval_seconds: float = 1

    def __post_init__(self) -> None:
        if self.request_count < 1 or not self.interval_seconds > 0:
            raise ValueError(f"invalid rate: expected positive numbers, e.g. Rate(1, 10): {self}")

    @property
    def span_ms(self) -> int:
        """The interval with its margin, ms."""
        return ceil(self.interval_seconds * 1000) + MARGIN_MS

    @property
    def batch_size(self) -> int:
        """Requests that are counted together."""
        return ceil(self.request_count / MOST_BATCHES)

    @property
    def batches(self) -> int:
        """Batches of which an interval has at most so many."""
        return self.request_count // self.batch_size


class Window(NamedTuple):
    """Latest requests to a host.

    Attributes:
        times: When the latest request of each batch was admitted, ms since 1970, oldest first.
        batch_count: Requests in the last batch.
    """

    times: tuple[int, ...] = ()
    batch_count: int = 0

    def admit(self, rate: Rate, now_ms: int) -> tuple["Window", int]:
        """Return the window after a request at ``now_ms``, and 0; or itself, and the wait in ms.

        A batch is begun when the one so many before it has left the interval, so that no interval
        ever has more. Further requests join it, and it counts as being as late as they are.
        """
        span, known = rate.span_ms, self
        if known.times and known.times[-1] > now_ms + span:  # a clock was set back
            known = Window()
        if known.times and known.batch_count < rate.batch_size:
            return Window((*known.times[:-1], now_ms), known.batch_count + 1), 0
        if len(known.times) >= rate.batches:
            wait_ms = known.times[-rate.batches] + span + 1 - now_ms
            if wait_ms > 0:
                return self, wait_ms
        return Window((*known.times, now_ms)[-rate.batches :], 1), 0


class BreakerState(NamedTuple):
    """State of a host's circuit breaker.

    Attributes:
        failure_count: Failed requests in a row.
        last_failure: Without secrets.
        opened_at: In UTC; None: too few failures to open.
        retry_at: In UTC; the next request that may try; None: it is closed.
    """

    failure_count: int = 0
    last_failure: str | None = None
    opened_at: datetime | None = None
    retry_at: datetime | None = None


CLOSED = BreakerState()


class Count(NamedTuple):
    """Attempts that ended with ``outcome``, and those of them that were not a request's first."""

    outcome: str
    request_count: int
    retry_count: int


class QuotaCount(NamedTuple):
    """Requests of a vendor's day.

    Attributes:
        request_count: Sent requests.
        is_over: Whether the vendor refuses further ones.
    """

    request_count: int = 0
    is_over: bool = False


@dataclass(frozen=True)
class SystemState:
    """State of an outside system that processes share.

    Attributes:
        requests: Attempts by how they ended.
        retries: Those of them that were not a request's first.
        is_open: Whether a circuit breaker of it refuses requests.
    """

    requests: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0
    is_open: bool = False


class SharedState(ABC):
    """State of requests that processes share; safe to use from many threads and after a fork.

    Each method is one decision: no lock is held after it, and none by a process that is killed.

    Raises:
        ConfigurationError: The store cannot be used.
        TransientError: The store was in use for longer than `BUSY_SECONDS`, or is away for now.
    """

    def __init__(self) -> None:
        self._reset()
        _OPEN.add(self)

    @abstractmethod
    def _reset(self) -> None:
        """Forget the connection and the locks, without closing: they are another process's."""

    @abstractmethod
    def admit(self, key: HostKey, rate: Rate) -> int:
        """Count a request that may leave now and return 0, or return the ms until one may."""

    @abstractmethod
    def breaker(self, key: HostKey) -> BreakerState:
        """Return a breaker as it is now, without waiting for others."""

    @abstractmethod
    def change_breaker(
        self, key: HostKey, decide: Callable[[BreakerState], tuple[BreakerState, Answer]]
    ) -> Answer:
        """Change a breaker from what it is to what ``decide`` returns; return its answer.

        ``decide`` is called again if another process was faster.
        """

    @abstractmethod
    def add_counts(self, key: HostKey, counts: Iterable[Count]) -> None:
        """Add ``counts`` to those of all processes."""

    @abstractmethod
    def systems(self) -> Mapping[str, SystemState]:
        """Return the state of each system that was requested, by name."""

    @abstractmethod
    def quota(self, system: str, day: date) -> QuotaCount:
        """Return the requests of a vendor's day."""

    @abstractmethod
    def take_from_quota(self, system: str, day: date, limit: int | None) -> bool:
        """Count a request of ``day`` if fewer than ``limit`` were sent and the vendor takes more.

        None: no limit. Return whether it was counted. Earlier days are forgotten.
        """

    @abstractmethod
    def end_quota(self, system: str, day: date) -> None:
        """Note that the vendor refuses further requests of ``day``."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; the state stays."""


_OPEN: WeakSet[SharedState] = WeakSet()


def _reset_all() -> None:
    for each in list(_OPEN):
        each._reset()


os.register_at_fork(after_in_child=_reset_all)


COUNTS_BY_SYSTEM = (
    "SELECT system, outcome, sum(request_count), sum(retry_count) FROM {counts} "
    "GROUP BY system, outcome ORDER BY system, outcome"
)
OPEN_SYSTEMS = "SELECT DISTINCT system FROM {hosts} WHERE retry_at IS NOT NULL"


def systems_of(
    counts: Iterable[tuple[str, str, int, int]], open_systems: Iterable[str]
) -> Mapping[str, SystemState]:
    """Return each system's state, by name.

    Args:
        counts: System, outcome, requests and retries, once each.
        open_systems: Systems of which a breaker is open.
    """
    is_open = set(open_systems)
    found: dict[str, SystemState] = {name: SystemState(is_open=True) for name in sorted(is_open)}
    for system, outcome, requests, retries in counts:
        known = found.get(system, SystemState())
        found[system] = SystemState(
            {**known.requests, outcome: requests}, known.retries + retries, system in is_open
        )
    return dict(sorted(found.items()))
