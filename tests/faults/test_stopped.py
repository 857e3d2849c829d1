"""A load is stopped while another process lands the same week; then it goes on."""

import pytest

from tests.databases import contents
from tests.faults.loads import Job, Process, load_keys, loaded
from tests.faults.matrix import case_name, strikes
from tests.faults.points import Plan
from tests.faults.publisher import Publisher, key_of, week_of
from tests.faults.scene import Place, nothing_is_left, same
from tests.faulty_server import FaultyServer

pytestmark = pytest.mark.faults

NOT_WAITING = {"sqlite": "?timeout=1", "postgresql": "&options=-c%20lock_timeout%3D1s"}
"""Ends a URL whose user waits for a lock for a second."""

LOCKED = {"sqlite": "database is locked", "postgresql": "lock timeout"}


@pytest.fixture
def publisher() -> Publisher:
    return Publisher(1)


@pytest.fixture
def source(publisher):
    with FaultyServer(publisher) as source:
        yield source.url


@pytest.mark.parametrize(("fault", "database"), strikes("stopped and overtaken"), ids=case_name)
def test_a_load_that_was_stopped_cannot_commit_over_what_another_landed_meanwhile(
    fault, database, server, publisher, source, tmp_path
):
    place = Place.prepared(database, tmp_path / "place", server(database))
    alone = Place.prepared(database, tmp_path / "alone", server(database))
    job = Job(place.url, place.folder, source, [key_of(0)], Plan(fault.stage, "stop"))
    stopped = Process(load_keys, job)
    stopped.wait_until_stopped()
    publisher.states[week_of(0)] = "B"
    newer = Job(place.url, place.folder, source, [key_of(0)])
    (landed,) = loaded(newer)
    assert landed.startswith("118 rows added")
    stopped.go_on()
    (told,) = stopped.answer()
    assert told == (
        "SupersededError: another run delivered the same partition first\n"
        "  expected: delivery 1\n"
        "  found: 1 deliveries\n"
        "  what to do: nothing: the partition is looked at once more\n"
        f"  where: partition={key_of(0)}"
    )
    assert loaded(newer) == ["unchanged; source api"]
    loaded(Job(alone.url, alone.folder, source, [key_of(0)]))
    same(contents(place.url), contents(alone.url))
    nothing_is_left(place)
    place.forget()
    alone.forget()


@pytest.mark.parametrize(("fault", "database"), strikes("stopped with the lock"), ids=case_name)
def test_who_waits_for_a_load_that_was_stopped_with_the_lock_is_told_and_it_lands_when_it_goes_on(
    fault, database, server, source, tmp_path
):
    place = Place.prepared(database, tmp_path / "place", server(database))
    job = Job(place.url, place.folder, source, [key_of(0)], Plan(fault.stage, "stop"))
    stopped = Process(load_keys, job)
    stopped.wait_until_stopped()
    url = place.url + NOT_WAITING[database]
    (told,) = loaded(Job(url, place.folder, source, [key_of(0)]))
    assert told.startswith("TransientError: the database did not do what was asked\n")
    assert LOCKED[database] in told
    stopped.go_on()
    (landed,) = stopped.answer()
    assert landed.startswith("120 rows added")
    assert loaded(Job(url, place.folder, source, [key_of(0)])) == ["unchanged; source api"]
    nothing_is_left(place)
    place.forget()
