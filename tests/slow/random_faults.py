"""Random faults of hosts, network, broker and database, while runs load one week after another."""

import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import NamedTuple

import psutil
from dagster import DagsterRunStatus

from orchestration_project.services.dagster_instance import list_storage_errors
from tests.faults.publisher import Publisher
from tests.slow.network_site import NetworkSite, Worker

STATES = ("A", "B", "C")
"""States of a week at the source, in the order in which it publishes them."""

UNTIL_RETRIED_SECONDS = 20
"""Time after the end of a run in which the daemon retries it, also without the tag for that."""

PATIENCE_SECONDS = 900
"""Longest time from a fault until the loads that it struck are done."""

WILL_RETRY = "dagster/will_retry"


class Load(NamedTuple):
    """A week in a state of the source; a repeated load finds nothing to change."""

    week: int
    state: str
    repeat: int = 0


class Struck(NamedTuple):
    """A fault: its kind, its moment, and the loads in progress that it strikes."""

    kind: str
    at: float
    loads: frozenset[Load]


class Campaign:
    """Loads each week in each state, and strikes meanwhile.

    Args:
        site: Services and workers.
        publisher: The source.
        weeks: Number of weeks; a state of all weeks is loaded before the next state.
        seed: Decides kinds, hosts and moments.
        kinds: Kinds of faults; None: all.

    Attributes:
        recovery_seconds: By kind of a fault, each time from it until the loads were done.
        relaunched_count: Loads that failed without a retry, and were launched again.
        ended: Status of each run when it was first seen after its end.
    """

    def __init__(
        self,
        site: NetworkSite,
        publisher: Publisher,
        weeks: int,
        seed: str,
        kinds: Sequence[str] | None = None,
    ) -> None:
        self._site, self._publisher = site, publisher
        self._loads = _loads(weeks)
        self._next = next(self._loads)
        self._random = Random(seed)  # noqa: S311 - of a test
        self._kinds = list(kinds or KINDS)
        self._current: dict[Load, str] = {}
        self._struck: list[Struck] = []
        self._may_launch = True
        self.recovery_seconds: dict[str, list[float]] = defaultdict(list)
        self.relaunched_count = 0
        self.ended: dict[str, DagsterRunStatus] = {}
        self._ended_at: dict[str, float] = {}

    def run(self, faults: int) -> None:
        """Strike ``faults`` times while loads go on, then wait until each state is loaded."""
        self.work_while(lambda: not self.ended)  # the workers have started
        for number in range(1, faults + 1):
            self.work(self._random.uniform(1, 6))
            kind = self._random.choice(self._kinds)
            print(f"{number:3} {kind}", flush=True)  # noqa: T201 - the course
            KINDS[kind](self, kind)
        self.work_while(lambda: self._next.repeat == 0)
        self._may_launch = False
        self.work_while(lambda: bool(self._current or self._struck))

    def work(self, seconds: float) -> None:
        """Launch loads and follow their runs for so long."""
        deadline = time.monotonic() + seconds
        self.work_while(lambda: time.monotonic() < deadline)

    def work_while(self, condition: Callable[[], bool]) -> None:
        """Launch loads and follow their runs while ``condition`` holds."""
        while condition():
            for load, run_id in list(self._current.items()):
                self._follow(load, run_id)
            while self._may_launch and len(self._current) < len(self._site.workers) + 2:
                if any(load.week == self._next.week for load in self._current):
                    break
                self._launch_next()
            self._check_and_note_recoveries()
            time.sleep(0.3)

    def _launch_next(self) -> None:
        self._publisher.put(self._next.week, self._next.state)
        self._current[self._next] = self._site.launch(self._next.week)
        self._next = next(self._loads)

    def _follow(self, load: Load, run_id: str) -> None:
        run = self._site.run(run_id)
        if not run.is_finished:
            return
        self.ended[run_id] = run.status
        ended_at = self._ended_at.setdefault(run_id, time.monotonic())
        if run.status == DagsterRunStatus.SUCCESS:
            del self._current[load]
        elif run.tags.get(WILL_RETRY) == "true":
            self._current[load] = self._site.retry_of(run_id) or run_id
        elif found := self._site.retry_of(run_id):  # the database ended before the tag was there
            self._current[load] = found
        elif time.monotonic() - ended_at < UNTIL_RETRIED_SECONDS:
            pass
        else:  # a failed step is not retried: the next tick of a sensor would launch it again
            self.relaunched_count += 1
            self._current[load] = self._site.launch(load.week)

    def _check_and_note_recoveries(self) -> None:
        now = time.monotonic()
        for struck in list(self._struck):
            if not any(load in self._current for load in struck.loads):
                self._struck.remove(struck)
                self.recovery_seconds[struck.kind].append(now - struck.at)
                text = f"    {struck.kind}, {len(struck.loads)} runs: {now - struck.at:.0f} s"
                print(text, flush=True)  # noqa: T201 - the measure
            assert now - struck.at < PATIENCE_SECONDS, self._diagnosis(struck)

    def _diagnosis(self, struck: Struck) -> str:
        runs = [self._current[load] for load in struck.loads if load in self._current]
        said = [
            f"{run_id} {self._site.run(run_id).status}: "
            + "\n".join(log.message for log in self._site.instance.all_logs(run_id)[-4:])
            for run_id in runs
        ]
        return f"{struck.kind}: not recovered\n" + "\n".join(said)

    def strike_host(self, kind: str) -> Worker:
        """Choose a host, preferably one that executes a run; note what its fault strikes."""
        executing: dict[str, list[Load]] = defaultdict(list)
        for load, run_id in self._current.items():
            if self._site.run(run_id).status == DagsterRunStatus.STARTED:
                executing[self._site.host_of(run_id)].append(load)
        busy = [worker for worker in self._site.workers if worker.link.host in executing]
        worker = self._random.choice(busy or self._site.workers)
        self._note(kind, executing[worker.link.host])
        return worker

    def strike_all(self, kind: str) -> None:
        """Note that a fault strikes all loads in progress."""
        self._note(kind, self._current)

    def _note(self, kind: str, loads: Mapping[Load, str] | list[Load]) -> None:
        self._struck.append(Struck(kind, time.monotonic(), frozenset(loads)))

    def draw_seconds(self, low: float, high: float) -> float:
        """Draw the length of a fault."""
        return self._random.uniform(low, high)

    @property
    def site(self) -> NetworkSite:
        """Services and workers."""
        return self._site


def _loads(weeks: int) -> Iterator[Load]:
    for state in STATES:
        yield from (Load(week, state) for week in range(weeks))
    repeat = 0
    while True:
        repeat += 1
        yield from (Load(week, STATES[-1], repeat) for week in range(weeks))


def _kill_process(campaign: Campaign, kind: str) -> None:
    worker = campaign.strike_host(kind)
    for process in worker.children():
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _kill_worker(campaign: Campaign, kind: str) -> None:
    worker = campaign.strike_host(kind)
    worker.kill()
    campaign.work(campaign.draw_seconds(0, 5))
    worker.start()


def _pause_worker(campaign: Campaign, kind: str) -> None:
    worker = campaign.strike_host(kind)
    worker.signal(signal.SIGSTOP)
    campaign.work(campaign.draw_seconds(2, 25))
    worker.signal(signal.SIGCONT)


def _cut_network(campaign: Campaign, kind: str) -> None:
    worker = campaign.strike_host(kind)
    worker.link.cut()
    campaign.work(campaign.draw_seconds(2, 25))
    worker.link.heal()


def _restart_broker(campaign: Campaign, kind: str) -> None:
    campaign.strike_all(kind)
    campaign.site.broker.end()
    campaign.work(campaign.draw_seconds(0, 5))
    campaign.site.broker.start()


def _restart_database(campaign: Campaign, kind: str) -> None:
    campaign.strike_all(kind)
    campaign.site.server.stop("immediate")
    time.sleep(campaign.draw_seconds(0, 3))
    campaign.site.server.start()
    with suppress(*list_storage_errors()):  # connections of a pool that are gone
        campaign.site.instance.get_runs_count()


KINDS: Mapping[str, Callable[[Campaign, str], None]] = {
    "process of a run killed": _kill_process,
    "worker killed": _kill_worker,
    "worker paused": _pause_worker,
    "network cut": _cut_network,
    "broker restarted": _restart_broker,
    "database restarted": _restart_database,
}
