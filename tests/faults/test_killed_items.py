"""Work items whose run or worker is killed, and runs that share them: each is loaded once."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from tests.databases import contents
from tests.faults.documents import DocumentPublisher, asked_for
from tests.faults.items import (
    enqueue_and_expect_one,
    items_of,
    retry_failed,
    set_forward,
    take_back,
)
from tests.faults.loads import INLINE_ITEMS, NOW, ItemOptions, Process, load_keys, loaded
from tests.faults.pipelines import ITEMS, Source, is_large, strikes_on
from tests.faults.places import Place, check_nothing_is_left, check_same_rows, published
from tests.faults.points import Plan
from tests.faults.series import Series, series, strike_each
from tests.faulty_server import FaultyServer, Handler, Reply, Request, endless
from tests.programs import wait_for

pytestmark = pytest.mark.faults

FEWEST = 6
"""Items of a run; those from the fifth on are extracted in worker processes, and so are all."""

CAUSES = {
    "a worker is killed": "its worker was killed by SIGKILL",
    "a worker hangs": "the item took too long",
    "a worker needs too much memory": "the item needs more memory than a worker may have",
}


@dataclass
class StrikingSource:
    """A source whose answers for some documents strike the worker that requests them.

    Attributes:
        source: What answers for the others.
        fault: What the answers do, by its name in the matrix.
        keys: The documents.
        is_once: Whether only the first answer does.
        requested: How often each was requested.
        is_over: Lets go of the workers that hang.
    """

    source: Source
    fault: str
    keys: Iterable[str]
    is_once: bool
    requested: Counter[str] = field(default_factory=Counter)
    is_over: threading.Event = field(default_factory=threading.Event)

    def __call__(self, request: Request) -> Reply | Iterable[bytes]:
        """Answer a request."""
        key, process = asked_for(request)
        self.requested[key] += 1
        if key in self.keys and not (self.is_once and self.requested[key] > 1):
            if self.fault == "a worker needs too much memory":
                return endless()
            if self.fault == "a worker hangs":
                self.is_over.wait()
            else:
                os.kill(process, signal.SIGKILL)
        return self.source(request)


@contextmanager
def open_places(
    database, server, folder: Path, source: Handler
) -> Iterator[tuple[Place, Place, str]]:
    """Give two empty places and a source; what is loaded must be the same in both at the end."""
    place = Place.prepared(database, folder / "place", server(database), ITEMS)
    alone = Place.prepared(database, folder / "alone", server(database), ITEMS)
    with FaultyServer(source) as running:
        yield place, alone, running.url
    check_same_rows(contents(place.url), contents(alone.url))
    check_nothing_is_left(place)
    place.forget()
    alone.forget()


@pytest.mark.parametrize(
    ("fault", "database", "pipeline"), strikes_on("killed with its worker at work")
)
def test_a_run_killed_with_its_worker_at_work_takes_it_along_and_the_next_one_loads(
    fault, database, pipeline, campaign, undisturbed_loads, tmp_path, kill_seen
):
    if not campaign.falls_on(pipeline, fault, database):
        return
    left = campaign.share

    def kill_and_check(struck: Series, number: int) -> None:
        """Kill the run once its worker requests the document."""
        nonlocal left
        left -= 1
        workers: list[int] = []

        def strike(key: str, worker: int) -> None:
            if key == pipeline.key_of(number) and not workers:
                workers.append(worker)
                os.kill(psutil.Process(worker).ppid(), signal.SIGKILL)

        assert isinstance(struck.source, DocumentPublisher)
        struck.source.strike = strike
        process = struck.begin(number)
        assert process.wait_and_check_answer() == []
        assert process.seen.stage == fault.stage
        assert wait_for(lambda: not psutil.pid_exists(workers[0]))
        struck.leave(number, process)
        kill_seen(f"items, {database}, worker", process.seen.stage)

    with series(undisturbed_loads(pipeline, database), tmp_path) as struck:
        strike_each(struck, lambda number: left > 0 and is_large(number), kill_and_check)


@pytest.mark.parametrize(("fault", "database", "pipeline"), strikes_on(*CAUSES))
def test_an_item_that_its_worker_does_not_survive_fails_alone(
    fault, database, pipeline, campaign, server, tmp_path, kill_seen
):
    if not campaign.falls_on(pipeline, fault, database):
        return
    is_killed = fault.name == "a worker is killed"
    count = max(FEWEST, 2 * campaign.share if is_killed else 0)
    numbers, keys = range(count), [pipeline.key_of(number) for number in range(count)]
    struck = set(keys[1::2] if is_killed else keys[1:2])
    source = StrikingSource(pipeline.source(count), fault.name, struck, fault.stage == "once")
    failed = set() if source.is_once else struck
    with open_places(database, server, tmp_path, source) as (place, alone, url):
        job = replace(place.job(url, *numbers), items=ItemOptions(seconds=8))
        outcomes = dict(zip(keys, loaded(job), strict=True))
        assert {key for key, words in outcomes.items() if words != "done"} == failed
        cause = CAUSES[fault.name]
        assert all(
            outcomes[key].startswith("dead: ") and cause in outcomes[key] for key in failed
        ), outcomes
        assert published(place).keys() == set(keys) - failed
        attempts = 1 if fault.name == "a worker hangs" else 2
        assert {source.requested[key] for key in struck} == {attempts}
        for _ in struck:
            kill_seen(f"items, {database}, worker", "capture begun")
        source.is_over.set()
        source.keys = ()
        assert set(retry_failed(place.url, NOW)) == failed
        for started in (place, alone):
            outcomes = loaded(replace(started.job(url, *numbers), items=INLINE_ITEMS))
            assert set(outcomes) == {"done"}
        for key in failed:
            take_back(place.url, key, attempts=1, claims=1)


@pytest.mark.parametrize("together", ["", "claimed"])
@pytest.mark.parametrize(("fault", "database", "pipeline"), strikes_on("2 runs of items at once"))
def test_runs_at_once_share_the_items_and_each_is_loaded_once(
    fault, database, pipeline, together, campaign, server, tmp_path
):
    if not campaign.falls_on(pipeline, fault, database):
        return
    numbers = range(12)
    with open_places(database, server, tmp_path, pipeline.source(12)) as (place, alone, url):
        plan = Plan(together, "stop") if together else None
        job = replace(place.job(url, *numbers, plan=plan), items=ItemOptions(batch_size=2))
        processes = [Process(load_keys, job) for _ in range(int(fault.name.split()[0]))]
        if together:
            for process in processes:
                process.wait_until_stopped()
            for process in processes:
                process.go_on()
        for process in processes:
            assert len(process.wait_and_check_answer()) == len(numbers)
        items = items_of(place.url).values()
        assert {(item.state, item.attempt_count) for item in items} == {("done", 1)}
        if together:
            assert len({item.run_id for item in items}) == len(processes)
        loaded(replace(alone.job(url, *numbers), items=INLINE_ITEMS))


@pytest.mark.parametrize(
    ("fault", "database", "pipeline"), strikes_on("a lease expires, and another run loads")
)
def test_an_item_whose_lease_expired_is_loaded_once_by_the_run_that_has_its_token(
    fault, database, pipeline, campaign, server, tmp_path
):
    if not campaign.falls_on(pipeline, fault, database):
        return
    numbers = (0, FEWEST)
    with open_places(database, server, tmp_path, pipeline.source(FEWEST + 1)) as (
        place,
        alone,
        url,
    ):
        stopped = Process(load_keys, place.job(url, *numbers, plan=Plan(fault.stage, "stop")))
        stopped.wait_until_stopped()
        set_forward(place.folder, hours=1)
        other = Process(load_keys, replace(place.job(url, *numbers), items=INLINE_ITEMS))
        if fault.stage == "rows":  # SQLite has one writer; PostgreSQL has one for each fence
            other.wait_until(lambda seen: "BEGIN IMMEDIATE" in seen.words or seen.stage == "fence")
        else:
            assert other.wait_and_check_answer() == ["done", "done"]
        stopped.go_on()
        for process in (stopped, other) if fault.stage == "rows" else (stopped,):
            assert len(process.wait_and_check_answer()) == len(numbers)
        lost = 0 if (fault.stage, database) == ("rows", "sqlite") else 1
        for key, item in items_of(place.url).items():
            found = (item.state, item.attempt_count, item.lease_token)
            assert found == ("done", 1 + lost, 1 + lost)
            take_back(place.url, key, attempts=lost, claims=lost)
        loaded(replace(alone.job(url, *numbers), items=INLINE_ITEMS))


@pytest.mark.parametrize(
    ("fault", "database", "pipeline"), strikes_on("a newer version is enqueued")
)
def test_a_version_enqueued_while_an_older_one_is_worked_on_is_loaded_alone(
    fault, database, pipeline, campaign, server, tmp_path
):
    if not campaign.falls_on(pipeline, fault, database):
        return
    source = pipeline.source(FEWEST + 1)
    numbers = (0, FEWEST)
    with open_places(database, server, tmp_path, source) as (place, alone, url):
        stopped = Process(load_keys, place.job(url, *numbers, plan=Plan(fault.stage, "stop")))
        stopped.wait_until_stopped()
        source.put(FEWEST, "B")
        enqueue_and_expect_one(place.url, pipeline.key_of(FEWEST), "B", NOW + timedelta(minutes=1))
        stopped.go_on()
        assert stopped.wait_and_check_answer() == ["done", "done"]
        item = items_of(place.url)[pipeline.key_of(FEWEST)]
        assert (item.version, item.attempt_count, item.lease_token) == ("B", 1, 3)
        take_back(place.url, item.item_key, attempts=0, claims=2)
        loaded(replace(alone.job(url, *numbers), items=INLINE_ITEMS))
