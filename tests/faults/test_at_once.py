"""Many processes load the same piece at the same moment: one loads it, the others report so."""

import pytest
from sqlalchemy import text

from tests.databases import contents, rows
from tests.faults.loads import Job, Process, load_keys, loaded
from tests.faults.pipelines import Pipeline, strikes_on
from tests.faults.places import Place, check_nothing_is_left, check_same_rows
from tests.faults.points import Plan
from tests.faulty_server import FaultyServer

pytestmark = pytest.mark.faults

TOGETHER = ("", "capture begun", "staged")
"""Point at which all of them wait for the last one; None: none waits."""

CHANGED = text("SELECT count(*) FROM landings WHERE change_cause <> 'none'")


@pytest.mark.parametrize("together", TOGETHER)
@pytest.mark.parametrize(
    ("fault", "database", "pipeline"),
    strikes_on("2 loads at once", "8 loads at once", is_in_part=False),
)
def test_concurrent_loads_load_a_piece_and_its_restatement_once(
    fault, database, pipeline, together, server, tmp_path
):
    if together == "staged" and together not in pipeline.stages:
        together = "captured"
    count = int(fault.name.split()[0])
    place = Place.prepared(database, tmp_path / "place", server(database), pipeline)
    alone = Place.prepared(database, tmp_path / "alone", server(database), pipeline)
    plan = Plan(together, "stop") if together else None
    publisher = pipeline.source(1)
    with FaultyServer(publisher) as source:
        for landings, state in enumerate(("A", "B"), start=1):
            publisher.put(0, state)
            outcomes = sorted(at_once(place.job(source.url, 0, plan=plan), count))
            (first,) = loaded(alone.job(source.url, 0))
            assert outcomes.count(first) == 1
            outcomes.remove(first)
            assert all(is_unchanged_or_superseded(pipeline, outcome) for outcome in outcomes), (
                outcomes
            )
            assert rows(place.url, CHANGED) == [(landings,)]
    check_same_rows(contents(place.url), contents(alone.url))
    check_nothing_is_left(place)
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
    return [words for process in processes for words in process.wait_and_check_answer()]


def is_unchanged_or_superseded(pipeline: Pipeline, outcome: str) -> bool:
    return outcome == pipeline.unchanged or outcome.startswith(
        "SupersededError: another run delivered the same partition first\n  expected: delivery "
    )
