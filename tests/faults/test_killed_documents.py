"""A load of documents that is killed loses no file, and what it loaded is not extracted again."""

import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from orchestration_demo.documents.corpus import Expected, corpus

from tests.databases import rows
from tests.faults.document_runs import (
    LARGE_BATCHES,
    as_promised,
    given_to_workers,
    job_of,
    known_of,
    load_day,
    loaded_documents,
    outcomes,
)
from tests.faults.loads import Process
from tests.faults.matrix import case_name, strikes
from tests.faults.places import HELD_OPEN, Place, check_nothing_is_left, check_same_rows
from tests.programs import wait_for

pytestmark = pytest.mark.faults

ONE_IN = 2
"""Number of kills of which one also strikes a load of documents."""

FILES_PER_LOAD = 4
MAX_IN_A_ROW = 2
"""Kills after which a load goes on to its end: a third one would end the attempts of its files."""

MAX_DELAY_SECONDS = 0.1


class Inbox:
    """A folder that gets some files of a corpus before each load.

    Attributes:
        folder: Where they are.
        expected: What to expect of those that are there.
    """

    def __init__(self, folder: Path, seed: int, loads: int) -> None:
        self.folder = folder
        self.expected: list[Expected] = []
        self._waiting = corpus(seed=seed, count=loads * FILES_PER_LOAD)

    def deliver(self) -> None:
        """Put the next files into the folder, each at once."""
        for (expected, content), _ in zip(self._waiting, range(FILES_PER_LOAD), strict=False):
            file = self.folder / expected.path
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = self.folder.parent / "partial"
            partial.write_bytes(content)
            os.utime(partial, (1_700_000_000, 1_700_000_000))
            partial.rename(file)
            self.expected.append(expected)


@pytest.mark.parametrize(
    ("fault", "database"), strikes("killed while documents load"), ids=case_name
)
def test_documents_of_killed_loads_are_loaded_once_and_all_end_as_expected(
    fault, database, server, campaign, tmp_path, kill_seen
):
    count = max(2, campaign.kills // ONE_IN)
    moments = campaign.random(fault.name, database)
    place = Place.prepared(database, tmp_path / "place", server(database))
    alone = Place.prepared(database, tmp_path / "alone", server(database))
    dagster = Place.empty(database, tmp_path / "dagster", server(database))
    dagster_url = dagster.url if database == "postgresql" else ""
    inbox = Inbox(tmp_path / "inbox", moments.randrange(2**32), loads=4 * count)
    runs, killed, in_a_row, with_workers = 0, 0, 0, 0
    last_point = 100

    def load_and_check(is_killed: bool) -> bool:
        """Load what waits, killed or not; return whether it came to its end."""
        nonlocal runs, with_workers, last_point
        runs += 1
        before, done = len(given_to_workers(place)), loaded_documents(place)
        process = Process(load_day, job_of(place, inbox.folder, dagster_url, runs))
        if is_killed:
            point = moments.randint(1, last_point)
            process.wait_until(lambda seen: seen.number >= point)
            process.go_on_for(moments.uniform(0, MAX_DELAY_SECONDS))
            with_workers += bool(workers_of(process.pid))
            process.kill()
        answer = process.wait_and_check_answer()
        if database == "postgresql":  # it may still commit what was sent
            assert wait_for(lambda: rows(place.url, HELD_OPEN) == [(0,)])
        again = done & set(given_to_workers(place)[before:])
        assert not again, (again, process.seen)
        assert wait_for(lambda: not workers_below(place.folder))
        if not answer:
            kill_seen(f"documents, {database}", process.seen.stage)
            return False
        assert answer == ["success"]
        last_point = process.seen.number
        return True

    # Deliver and load, until enough loads were killed; then load what waits.
    while killed < count:
        inbox.deliver()
        is_whole = load_and_check(is_killed=in_a_row < MAX_IN_A_ROW and moments.random() < 0.75)
        in_a_row = 0 if is_whole else in_a_row + 1
        killed += not is_whole
    assert load_and_check(is_killed=False)
    assert with_workers or count < 10
    # Each file ended as its manifest says.
    found = outcomes(place)
    assert {made_file.path for made_file in inbox.expected} == set(found)
    wrong = {
        made_file.path: (made_file.state, made_file.reason_code, found[made_file.path])
        for made_file in inbox.expected
        if not as_promised(made_file, found[made_file.path])
    }
    assert not wrong
    assert load_and_check(is_killed=False)
    # One load without a kill leaves the same rows.
    unbroken = replace(job_of(alone, inbox.folder, dagster_url, runs), items=LARGE_BATCHES)
    assert Process(load_day, unbroken).wait_and_check_answer() == ["success"]
    assert set(given_to_workers(place)) == set(given_to_workers(alone))
    check_same_rows(known_of(place), known_of(alone))
    check_nothing_is_left(place)
    for started in (place, alone, dagster):
        started.forget()


def workers_of(pid: int) -> list[psutil.Process]:
    """Return the processes that a process has started."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def workers_below(folder: Path) -> list[int]:
    """Return the processes that have the folder's path in their environment, by /proc."""
    mark = f"STATE_DIR={folder}".encode()
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found
