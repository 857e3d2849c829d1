"""A load is stopped while another process loads the same piece; then it goes on."""

from dataclasses import replace

import pytest

from tests.databases import contents
from tests.faults.loads import Process, load_keys, loaded
from tests.faults.pipelines import Pipeline, Source, strikes_on
from tests.faults.places import Place, check_nothing_is_left, check_same_rows
from tests.faults.points import Plan
from tests.faulty_server import FaultyServer

pytestmark = pytest.mark.faults

NOT_WAITING = {"sqlite": "?timeout=1", "postgresql": "&options=-c%20lock_timeout%3D1s"}
"""Ends a URL whose user waits for a lock for a second."""

LOCKED = {"sqlite": "database is locked", "postgresql": "lock timeout"}


@pytest.fixture
def publisher(pipeline: Pipeline) -> Source:
    return pipeline.source(1)


@pytest.fixture
def source(publisher):
    with FaultyServer(publisher) as source:
        yield source.url


@pytest.mark.parametrize(
    ("fault", "database", "pipeline"), strikes_on("stopped and overtaken", is_in_part=False)
)
def test_a_stopped_load_cannot_commit_over_a_later_load(
    fault, database, pipeline, server, publisher, source, tmp_path
):
    place = Place.prepared(database, tmp_path / "place", server(database), pipeline)
    alone = Place.prepared(database, tmp_path / "alone", server(database), pipeline)
    stopped = Process(load_keys, place.job(source, 0, plan=Plan(fault.stage, "stop")))
    stopped.wait_until_stopped()
    publisher.put(0, "B")
    newer = place.job(source, 0)
    (ended,) = loaded(newer)
    assert ended.startswith(pipeline.restated)
    stopped.go_on()
    (outcome,) = stopped.wait_and_check_answer()
    assert outcome == (
        "SupersededError: another run delivered the same partition first\n"
        "  expected: delivery 1\n"
        "  found: 1 deliveries\n"
        "  what to do: nothing: the partition is read again\n"
        f"  where: partition={pipeline.key_of(0)}"
    )
    assert loaded(newer) == [pipeline.unchanged]
    loaded(alone.job(source, 0))
    check_same_rows(contents(place.url), contents(alone.url))
    check_nothing_is_left(place)
    place.forget()
    alone.forget()


@pytest.mark.parametrize(
    ("fault", "database", "pipeline"), strikes_on("stopped with the lock", is_in_part=False)
)
def test_a_load_that_waits_for_a_stopped_one_reports_and_commits(
    fault, database, pipeline, server, source, tmp_path
):
    place = Place.prepared(database, tmp_path / "place", server(database), pipeline)
    stopped = Process(load_keys, place.job(source, 0, plan=Plan(fault.stage, "stop")))
    stopped.wait_until_stopped()
    hasty = replace(place, url=place.url + NOT_WAITING[database])
    (outcome,) = loaded(hasty.job(source, 0))
    assert outcome.startswith("TransientError: the database did not do what was asked\n")
    assert LOCKED[database] in outcome
    stopped.go_on()
    (ended,) = stopped.wait_and_check_answer()
    assert ended.startswith(pipeline.added)
    assert loaded(hasty.job(source, 0)) == [pipeline.unchanged]
    check_nothing_is_left(place)
    place.forget()
