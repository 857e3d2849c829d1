"""Kills each program in turn and cuts each network, while a backfill is in progress."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from random import Random
from typing import NamedTuple

import psycopg

from tests.chaos.counts import ACTIVE, loaded_partitions, unfinished_partitions
from tests.chaos.hosts import Program
from tests.chaos.site import Site
from tests.expecting import expect_present
from tests.programs import PATIENCE_SECONDS, wait_for
from tests.slow.namespaces import Link

PAUSE_SECONDS = (3.0, 7.0)
"""Shortest and longest time between two faults."""

DOWN_SECONDS = (0.0, 4.0)
CUT_SECONDS = (3.0, 30.0)

MAX_DRAIN_SECONDS = 900
"""Longest time from the last fault until all runs have ended."""

REPORT_SECONDS = 15
ENDED_BACKFILL = ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED")

MAX_LAUNCHES = 4
"""Backfills of partitions whose runs failed for good, beside the first one."""


class Strike(NamedTuple):
    """A fault: the program that is killed, or the link that is cut."""

    program: Program | None
    link: Link | None

    @property
    def name(self) -> str:
        """What is struck."""
        if self.program:
            return f"{self.program.name} killed"
        return f"network of {expect_present(self.link).host} cut"


def plan_strikes(site: Site, kills: int, cuts: int, random: Random) -> list[Strike]:
    """Return the faults in their order: each round kills each program once."""
    planned: list[Strike] = []
    for _ in range(kills):
        killed = [Strike(program, None) for program in site.programs]
        random.shuffle(killed)
        planned += killed
    for host in site.hosts:
        for _ in range(cuts):
            planned.insert(random.randrange(len(planned) + 1), Strike(None, host.link))
    return planned


class Campaign:
    """A backfill under faults.

    Args:
        site: What is struck.
        strikes: The faults in their order.
        random: Decides moments and lengths.
        report: Takes each line of the progress.

    Attributes:
        site: What is struck.
        problems: What did not come back, and what ended by itself.
        backfills: IDs of the backfills: the first one, then those of failed partitions.
        strike_count: Faults by name.
        in_progress_count: Faults that struck while partitions were left.
    """

    def __init__(
        self,
        site: Site,
        strikes: Sequence[Strike],
        random: Random,
        report: Callable[[str], object],
    ) -> None:
        self.site, self._strikes, self._random, self._report = site, strikes, random, report
        self._pool = ThreadPoolExecutor(32)
        self._is_over = threading.Event()
        self._reported = 0.0
        self._pending: dict[str, Future[None]] = {}
        self._loaded = 0
        self._began = time.monotonic()
        self.problems: list[str] = []
        self.backfills: list[str] = []
        self.strike_count: dict[str, int] = {}
        self.in_progress_count = 0

    def run(self) -> None:
        """Launch the backfill, strike, and wait until each partition is loaded or has failed."""
        self.backfills.append(self.site.launch(self.site.partitions))
        for number, strike in enumerate(self._strikes, start=1):
            self._work(self._random.uniform(*PAUSE_SECONDS), number)
            self._settle(strike.name)
            self._strike(strike)
            self.strike_count[strike.name] = self.strike_count.get(strike.name, 0) + 1
            self.in_progress_count += self._loaded < len(self.site.partitions)
            self._report(self._progress(number, strike.name))
        self.site.source.slow_down(False)
        for name in list(self._pending):
            self._settle(name)
        self._drain()
        while len(self.backfills) <= MAX_LAUNCHES and (left := self._unfinished()):
            self._report(f"{len(left)} partitions have no run that succeeded: launched again")
            self.backfills.append(self.site.launch(left))
            self._drain()
        self.problems += self.site.ends_of_ui
        self._pool.shutdown()

    def _work(self, seconds: float, number: int) -> None:
        """Let the backfill go on for so long; ``number`` faults have struck by then."""
        until = time.monotonic() + seconds
        wait_for(lambda: self._poll(number) >= until, PATIENCE_SECONDS, poll_seconds=0.5)

    def _poll(self, number: int) -> float:
        """Let the source answer slowly while the backfill is ahead; return the time."""
        self.site.poll()
        with suppress(psycopg.OperationalError):
            self._loaded = loaded_partitions(self.site.warehouse_url)
        done = self._loaded / len(self.site.partitions)
        self.site.source.slow_down(done > number / len(self._strikes))
        return time.monotonic()

    def _strike(self, strike: Strike) -> None:
        if strike.program:
            program = strike.program
            down_seconds = self._random.uniform(*DOWN_SECONDS)
            program.kill(with_children=self._random.random() < 0.5)
            restore = program.start
        else:
            link = expect_present(strike.link)
            down_seconds = self._random.uniform(*CUT_SECONDS)
            link.cut()
            restore = link.heal
        self._pending[strike.name] = self._pool.submit(self._restore, down_seconds, restore)

    def _restore(self, seconds: float, restore: Callable[[], None]) -> None:
        self._is_over.wait(seconds)
        restore()

    def _settle(self, name: str) -> None:
        """Wait until what was struck before is there again."""
        future = self._pending.pop(name, None)
        if future is None:
            return
        try:
            future.result(PATIENCE_SECONDS)
        except (AssertionError, TimeoutError) as error:
            self.problems.append(f"{name}: not there again ({error})")

    def _drain(self) -> None:
        """Wait until no run is active and the backfill has ended."""
        try:
            wait_for(self._has_ended, MAX_DRAIN_SECONDS, poll_seconds=1)
        except AssertionError:
            self.problems.append(f"runs or backfill not ended after {MAX_DRAIN_SECONDS} s")

    def _has_ended(self) -> bool:
        self.site.poll()
        status = self.site.backfill_status(self.backfills[-1])
        counts = self._run_counts()
        active = [name for name in counts if name in ACTIVE]
        if time.monotonic() - self._reported > REPORT_SECONDS:
            self._reported = time.monotonic()
            self._report(f"waiting for the end: backfill {status or 'unknown'}, runs {counts}")
        return status in ENDED_BACKFILL and bool(counts) and not active

    def _run_counts(self) -> dict[str, int]:
        """Return the number of runs by status; empty while the database is away."""
        statement = "SELECT status, count(*) FROM runs GROUP BY status"
        with (
            suppress(psycopg.OperationalError),
            psycopg.connect(self.site.dagster_url) as database,
        ):
            return dict(database.execute(statement).fetchall())
        return {}

    def _unfinished(self) -> list[str]:
        return unfinished_partitions(self.site.dagster_url, self.site.partitions)

    def _progress(self, number: int, name: str) -> str:
        passed = time.monotonic() - self._began
        left = passed / number * (len(self._strikes) - number)
        return (
            f"{number:3}/{len(self._strikes)} {name}; {self._loaded} of "
            f"{len(self.site.partitions)} partitions loaded; about {left / 60:.0f} min left"
        )
