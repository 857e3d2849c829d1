"""Many processes load the same week at the same moment: one lands it, the others are told."""

import pytest
from sqlalchemy import text

from tests.databases import contents, rows
from tests.faults.loads import Job, Process, load_keys, loaded
from tests.faults.matrix import case_name, strikes
from tests.faults.points import Plan
from tests.faults.publisher import Publisher, key_of, week_of
from tests.faults.scene import Place, nothing_is_left, same
from tests.faulty_server import FaultyServer

pytestmark = pytest.mark.faults

TOGETHER = ("", "capture begun", "staged")
"""Where all of them are held until the last one is there; or nowhere."""

CHANGED = text("SELECT count(*) FROM landings WHERE change_cause <> 'none'")


@pytest.mark.parametrize("together", TOGETHER)
@pytest.mark.parametrize(
    ("fault", "database"),
    [*strikes("2 loads at once"), *strikes("8 loads at once")],
    ids=lambda value: case_name(value) if isinstance(value, str) else value.name[:1],
)
def test_loads_at_once_land_a_week_and_its_restatement_once(
    fault, database, together, server, tmp_path
):
    count = int(fault.name.split()[0])
    place = Place.prepared(database, tmp_path / "place", server(database))
    alone = Place.prepared(database, tmp_path / "alone", server(database))
    plan = Plan(together, "stop") if together else None
    publisher = Publisher(1)
    with FaultyServer(publisher) as source:
        for landings, state in enumerate(("A", "B"), start=1):
            publisher.states[week_of(0)] = state
            job = Job(place.url, place.folder, source.url, [key_of(0)], plan)
            told = sorted(at_once(job, count))
            (first,) = loaded(Job(alone.url, alone.folder, source.url, [key_of(0)]))
            assert told.count(first) == 1
            told.remove(first)
            assert all(is_unchanged_or_superseded(each) for each in told), told
            assert rows(place.url, CHANGED) == [(landings,)]
    same(contents(place.url), contents(alone.url))
    nothing_is_left(place)
    place.forget()
    alone.forget()


def at_once(job: Job, count: int) -> list[str]:
    """Load in so many processes; let them go on together from where they were stopped."""
    processes = [Process(load_keys, job) for _ in range(count)]
    if job.plan is not None:
        for process in processes:
            process.wait_until_stopped()
        for process in processes:
            process.go_on()
    return [words for process in processes for words in process.answer()]


def is_unchanged_or_superseded(told: str) -> bool:
    return told == "unchanged; source api" or told.startswith(
        "SupersededError: another run delivered the same partition first\n  expected: delivery "
    )
