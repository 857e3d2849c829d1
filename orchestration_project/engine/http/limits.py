"""Manners of one client toward one host: rate limit, breaker, counts, and requests in flight.

pybreaker was tried and left: it holds its lock for the whole call, so that threads queue up behind
one request; it takes an interrupted call for a failed or a successful one; and when the time is up
it lets every process try at once.

pyrate-limiter was used and left: its SQLite bucket counts and then inserts, so two processes could
both take the last place. Its PostgreSQL bucket locks a whole table and refuses whoever finds it
locked, without a wait; it reads the time before the lock; and it needs a table for each host.
"""

import fcntl
import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from weakref import finalize

from orchestration_project.engine.http.shared_state import (
    CLOSED,
    BreakerState,
    Count,
    HostKey,
    Rate,
    SharedState,
)
from orchestration_project.errors import ConfigurationError, TransientError

CHECK_SECONDS = 0.25


class RateLimiter:
    """Let requests through as `Rate` says, and have the rest wait."""

    def __init__(self, state: SharedState, key: HostKey, rate: Rate) -> None:
        self._state = state
        self._key = key
        self._rate = rate
        self._turnstile = threading.Lock()

    def wait(self, check: Callable[[], None] = lambda: None) -> None:
        """Return when a request may leave.

        Args:
            check: Called at least each `CHECK_SECONDS`; its error ends the wait.

        Raises:
            ConfigurationError: The state cannot be used.
            TransientError: The state is busy, or away for now.
        """
        # One thread of each process asks and sleeps; the others stand behind it, off the state.
        with self._turnstile:
            check()
            while wait_ms := self._state.admit(self._key, self._rate):
                until = time.monotonic() + wait_ms / 1000
                while (left := until - time.monotonic()) > 0:
                    time.sleep(min(left, CHECK_SECONDS))
                    check()


NO_ANSWER = "no_answer"

SECONDS_APART = 1
"""To write after each attempt would take a seventh of its time."""


class Tally:
    """Counts the attempts of one client, and writes the counts once in `SECONDS_APART` at most.

    What is not written yet comes with the next attempt, or at the end.
    """

    def __init__(self, state: SharedState, key: HostKey) -> None:
        self._state = state
        self._key = key
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._retries: Counter[str] = Counter()
        self._next_at = 0.0  # by time.monotonic()

    def add(self, outcome: str, *, is_retry: bool) -> None:
        """Count an attempt that ended with ``outcome``, a status or `NO_ANSWER`."""
        with self._lock:
            self._requests[outcome] += 1
            self._retries[outcome] += is_retry
            if time.monotonic() >= self._next_at:
                self._write()

    def flush(self) -> None:
        """Write the counts."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        self._next_at = time.monotonic() + SECONDS_APART
        if self._requests:
            counts = [Count(name, n, self._retries[name]) for name, n in self._requests.items()]
            self._state.add_counts(self._key, counts)
        self._requests.clear()
        self._retries.clear()


@dataclass(frozen=True)
class Admission:
    """That a request may be made.

    Attributes:
        is_news: Whether its success is news: others failed.
        probe_until: Of the one request that tries an open breaker: until when no other one may.
    """

    is_news: bool
    probe_until: datetime | None = None


@dataclass(frozen=True)
class BreakerPolicy:
    """When a system that fails is not asked for a while.

    Attributes:
        failures: Failed requests in a row (all attempts each) that open the breaker.
        open_seconds: How long an open breaker refuses requests before one may try.
        ignores_breaker: Whether to send requests while the breaker is open, as a probe does; an
            answer closes it for all.
    """

    failures: int = 5
    open_seconds: float = 60
    ignores_breaker: bool = False


USUAL_BREAKER, IGNORING_BREAKER = BreakerPolicy(), BreakerPolicy(ignores_breaker=True)


class BreakerOpenError(TransientError):
    """An open breaker refuses a request: nothing is known of its URL."""


class Breaker:
    """Opens after failed requests in a row, for a time, as its policy says.

    When that time is up, one request of one process may try. If it succeeds, the breaker closes;
    if it fails, or its process exits, the breaker stays open for as long again. A probe that ends
    without a result (interrupted, refused by a quota, certificate not trusted) lets the next try.
    """

    def __init__(
        self,
        state: SharedState,
        key: HostKey,
        policy: BreakerPolicy,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._state = state
        self._key = key
        self._failures = policy.failures
        self._open_for = timedelta(seconds=policy.open_seconds)
        self._now = now

    def admit(self, *, url: str) -> Admission:
        """Return if a request may be made.

        Raises:
            BreakerOpenError: The breaker is open; says since when, why, and until when.
        """
        breaker = self._state.breaker(self._key)
        if breaker.retry_at is None:  # at the price of a read, without the lock
            return Admission(is_news=breaker.failure_count > 0)
        admission, refusing, now = self._state.change_breaker(self._key, self._let_one_try)
        if admission is None:
            raise self._refusal(refusing, now, url)
        return admission

    def give_up(self, admission: Admission) -> None:
        """Let the next request try: the one admitted ended, and nothing is known of the system."""
        if admission.probe_until is None:
            return

        def decide(state: BreakerState) -> tuple[BreakerState, None]:
            is_its_turn = state.retry_at == admission.probe_until
            return (state._replace(retry_at=self._now()) if is_its_turn else state), None

        self._state.change_breaker(self._key, decide)

    def succeeded(self) -> None:
        """Close the breaker: the system answered."""
        self._state.change_breaker(self._key, lambda _: (CLOSED, None))

    def open(self, failure: str) -> None:
        """Refuse requests from now on, as the system asked for it; ``failure`` holds no secrets."""

        def decide(state: BreakerState) -> tuple[BreakerState, None]:
            return self._opened(state._replace(last_failure=failure)), None

        self._state.change_breaker(self._key, decide)

    def failed(self, failure: str) -> float:
        """Count a request whose attempts all failed; return for how many seconds none is made.

        ``failure`` holds no secrets.
        """

        def decide(state: BreakerState) -> tuple[BreakerState, bool]:
            count = state.failure_count + 1
            changed = state._replace(failure_count=count, last_failure=failure)
            if count >= self._failures:
                changed = self._opened(changed)
            return changed, changed.retry_at is not None

        is_open = self._state.change_breaker(self._key, decide)
        return self._open_for.total_seconds() if is_open else 0

    def _opened(self, state: BreakerState) -> BreakerState:
        """Return a state as that of an open breaker."""
        now = self._now()
        return state._replace(opened_at=state.opened_at or now, retry_at=now + self._open_for)

    def _let_one_try(
        self, state: BreakerState
    ) -> tuple[BreakerState, tuple[Admission | None, BreakerState, datetime]]:
        """Return whether this request may try; None: it is refused for now."""
        now = self._now()
        if state.retry_at is None:  # closed meanwhile
            return state, (Admission(is_news=state.failure_count > 0), state, now)
        # A time further away than we ever set comes from a clock that was set back.
        if now < state.retry_at <= now + self._open_for:
            return state, (None, state, now)
        probe_until = now + self._open_for
        admission = Admission(is_news=True, probe_until=probe_until)
        return state._replace(retry_at=probe_until), (admission, state, now)

    def _refusal(self, state: BreakerState, now: datetime, url: str) -> BreakerOpenError:
        retry_at = state.retry_at or now
        system = self._key.system
        return BreakerOpenError(
            f"{system} is not asked, because it failed {state.failure_count} requests in a row",
            found=f"open since {state.opened_at and state.opened_at.isoformat()}; "
            f"the last failure: {state.last_failure}",
            remedy=f"requests are retried from {retry_at.isoformat()}; check whether the system "
            "is up",
            retry_in_seconds=(retry_at - now).total_seconds(),
            system=system,
            url=url,
        )


PLACES_FOLDER = Path("http") / "places"
"""Folder of places in STATE_DIR."""

OVERALL = "_all"
SECONDS_BETWEEN_TRIES = 0.02
NOT_IN_NAMES = re.compile(r"[^a-z0-9.-]")
FILE_MODE = 0o600


class Places:
    """Places for requests in flight, of which each holder has one, over processes of a machine.

    A place is a locked file, so that the system frees it when its process is killed.

    Args:
        state_dir: STATE_DIR; processes with the same one share places.
        name: Name of the places, such as a host.
        count: How many there are.
    """

    def __init__(self, state_dir: Path, name: str, count: int) -> None:
        self._folder = state_dir / PLACES_FOLDER / f"{NOT_IN_NAMES.sub('_', name[:200])}.places"
        self._count = count
        self._lock = threading.Lock()
        self._process = 0
        self._unused: list[int] = []
        self._files: dict[int, int] = {}
        finalize(self, _close_files, self._files)

    def take(self) -> int | None:
        """Return a place, to be given back by `free`; None: all are taken.

        Raises:
            ConfigurationError: The folder cannot be used.
        """
        try:
            with self._lock:
                if self._process != os.getpid():
                    self._begin()
                return self._free_one()
        except OSError as error:
            raise ConfigurationError(
                "the folder of requests in flight cannot be used",
                expected="a folder in STATE_DIR that this user may write",
                found=f"{error.strerror} at {error.filename}",
                remedy="make STATE_DIR writable, with free space",
            ) from error

    def _begin(self) -> None:
        """Use files of this process: a lock is shared with a process that was forked."""
        _close_files(self._files)
        self._process = os.getpid()
        self._unused = random.sample(range(self._count), self._count)

    def _free_one(self) -> int | None:
        """Return a place; the one that was given back last is tried first."""
        for number in reversed(self._unused):
            with suppress(BlockingIOError):
                fcntl.flock(self._file(number), fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._unused.remove(number)
                return number
        return None

    def _file(self, place: int) -> int:
        """Return the file of a place, which stays open."""
        if place not in self._files:
            if not self._files:
                self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / str(place)
            self._files[place] = os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE)
        return self._files[place]

    def wait(self) -> int:
        """Return a place as soon as one is free."""
        while (number := self.take()) is None:
            time.sleep(SECONDS_BETWEEN_TRIES)
        return number

    def free(self, place: int) -> None:
        """Give a place back."""
        with self._lock:
            fcntl.flock(self._files[place], fcntl.LOCK_UN)
            self._unused.append(place)


def _close_files(files: dict[int, int]) -> None:
    """Close the files of places, which frees them."""
    for file in files.values():
        os.close(file)
    files.clear()


@dataclass(frozen=True)
class HostPlaces:
    """Places that a request takes: one of its host, and one of all hosts; None: not limited."""

    host: Places | None = None
    overall: Places | None = None

    @contextmanager
    def hold(self, wait: Callable[[], None]) -> Iterator[None]:
        """Hold the places for the block; ``wait`` returns when the rate lets a request leave.

        A host with a long pause holds no place of all hosts while it waits. Where that place was
        waited for, so is the rate again: else a host could get two requests in its pause.
        """
        number = self.host.wait() if self.host else None
        try:
            wait()
            shared = self.overall.take() if self.overall else None
            if self.overall and shared is None:
                shared = self.overall.wait()
                wait()
            try:
                yield
            finally:
                if self.overall and shared is not None:
                    self.overall.free(shared)
        finally:
            if self.host and number is not None:
                self.host.free(number)


def build_places(state_dir: Path, *, host_count: int, count: int) -> Callable[[str], HostPlaces]:
    """Return the places of a host by its name.

    Args:
        state_dir: STATE_DIR.
        host_count: Requests in flight at one host.
        count: Requests in flight at all hosts.
    """
    overall = Places(state_dir, OVERALL, count)
    return lambda host: HostPlaces(Places(state_dir, host, host_count), overall)
