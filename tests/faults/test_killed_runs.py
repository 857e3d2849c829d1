"""A Dagster run that is killed is known to be dead, and the next run loads and records its week."""

import pytest
from sqlalchemy import func, select

from orchestration_project.tables.spine import pending_announcements
from tests.databases import contents, rows
from tests.faults.dagster_runs import as_settings, materialized, run_job, runs_of
from tests.faults.loads import Job, Process, loaded
from tests.faults.matrix import STAGES, case_name, strikes
from tests.faults.pipelines import WEEKLY, is_large
from tests.faults.places import Place, Reader, check_nothing_is_left, check_same_rows, published
from tests.faults.points import Plan
from tests.faults.publisher import Publisher, key_of
from tests.faulty_server import FaultyServer

pytestmark = pytest.mark.faults

ONE_IN = 16
"""Number of kills of which one also strikes a whole run."""

LINGER_SECONDS, MAX_DELAY_SECONDS = 0.005, 0.03


def is_at_or_past(stage: str, seen: str) -> bool:
    return seen != "" and STAGES.index(seen) >= STAGES.index(stage)


@pytest.mark.parametrize(("fault", "database"), strikes("killed in a Dagster run"), ids=case_name)
def test_the_run_after_a_killed_one_loads_and_records_the_week(
    fault, database, server, campaign, tmp_path, kill_seen
):
    count = max(1, campaign.kills // ONE_IN)
    place = Place.prepared(database, tmp_path / "place", server(database))
    alone = Place.prepared(database, tmp_path / "alone", server(database))
    dagster = Place.empty(database, tmp_path / "dagster", server(database))
    dagster_url = dagster.url if database == "postgresql" else ""
    moments = campaign.random(fault.stage, database)
    # a run takes none of these weeks for too large, so neither may what it is compared with
    numbers = [number for number in range(2 * count) if not is_large(number)][:count]
    keys = [key_of(number) for number in numbers]
    dead = 0

    def begun(source_url: str, key: str, plan: Plan | None) -> Process:
        job = Job(place.url, place.folder, source_url, [key], plan)
        return Process(run_job, as_settings(job, dagster_url))

    with FaultyServer(Publisher(2 * count)) as source, Reader(place) as reader:
        loaded(Job(alone.url, alone.folder, source.url, keys))
        looking = as_settings(Job(place.url, place.folder, source.url, []), dagster_url)
        for key in keys:
            stage = (
                fault.stage if fault.stage in STAGES else moments.choice(WEEKLY.stages_of("new"))
            )
            process = begun(source.url, key, Plan(stage, "linger", LINGER_SECONDS))
            process.wait_until(lambda seen, stage=stage: is_at_or_past(stage, seen.stage))
            process.go_on_for(moments.uniform(0, MAX_DELAY_SECONDS))
            process.kill()
            if not process.wait_and_check_answer():
                dead += 1
                kill_seen(f"weeks, {database}, run", process.seen.stage)
            assert runs_of(looking)["unfinished"] == ["FAILED"] * dead
            assert begun(source.url, key, None).wait_and_check_answer() == ["success"]
        found = runs_of(looking)
        assert (found["materialized"], found["announced"]) == (materialized(keys), sorted(keys))
        assert dead > 0
    reader.check_saw_only({}, published(alone))
    check_same_rows(contents(place.url), contents(alone.url))
    waiting = select(func.count()).select_from(pending_announcements)
    assert rows(place.url, waiting) == [(0,)]
    check_nothing_is_left(place)
    for started in (place, alone, dagster):
        started.forget()
