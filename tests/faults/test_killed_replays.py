"""A replay that is killed leaves nothing half done, and the next one loads the week."""

import pytest

from tests.databases import contents
from tests.faults.loads import Job, Process, loaded, replay_keys
from tests.faults.matrix import case_name, strikes
from tests.faults.places import Place, Reader, check_nothing_is_left, check_same_rows, published
from tests.faults.points import Plan
from tests.faults.publisher import Publisher, key_of, week_of
from tests.faulty_server import FaultyServer

pytestmark = pytest.mark.faults

MAX_POINTS = 100
BATCH_WEEKS = 48
"""Each point has a week of its own, and before the clock's there are no more."""

UNCHANGED = "unchanged; source api"


def load_twice_and_expect_changes(database, folder, server: str, count: int) -> Place:
    """Load weeks, then restate them: every other in nearly all rows, the others in a few."""
    place = Place.prepared(database, folder, server)
    publisher = Publisher(count)
    keys = [key_of(number) for number in range(count)]
    with FaultyServer(publisher) as source:
        job = Job(place.url, place.folder, source.url, keys)
        loaded(job)
        publisher.states = {week_of(number): "BC"[number % 2] for number in range(count)}
        assert UNCHANGED not in loaded(job)
    return place


@pytest.mark.parametrize(("fault", "database"), strikes("killed in a replay"), ids=case_name)
def test_a_killed_replay_publishes_all_or_nothing_and_resumes(
    fault, database, server, campaign, tmp_path, kill_seen
):
    first = campaign.random(fault.name, database).randint(1, campaign.every)
    points = range(first, MAX_POINTS + 1, campaign.every)
    assert points
    for start in range(0, len(points), BATCH_WEEKS):
        some = points[start : start + BATCH_WEEKS]
        check_killed_replays(database, server(database), tmp_path / str(start), some, kill_seen)


def check_killed_replays(database, server: str, folder, points, kill_seen) -> None:
    """Replay a week for each point, and die there."""
    keys = [key_of(number) for number in range(len(points))]
    place = load_twice_and_expect_changes(database, folder / "place", server, len(points))
    alone = place.copy(folder / "alone")
    before = published(place)

    def begun(where: Place, *keys: str, plan: Plan | None = None) -> Process:
        return Process(replay_keys, Job(where.url, where.folder, "", keys, plan))

    undisturbed = begun(alone, keys[0])
    outcomes = [
        *undisturbed.wait_and_check_answer(),
        *begun(alone, *keys[1:]).wait_and_check_answer(),
    ]
    assert UNCHANGED not in outcomes
    assert undisturbed.seen.number <= MAX_POINTS
    with Reader(place) as reader:
        for key, point, words in zip(keys, points, outcomes, strict=True):
            process = begun(place, key, plan=Plan(point, "die"))
            if not process.wait_and_check_answer():
                kill_seen(f"weeks, {database}, replay", process.seen.stage)
            (found,) = begun(place, key).wait_and_check_answer()
            assert found in (words, UNCHANGED), process.seen
    reader.check_saw_only(before, published(alone))
    check_same_rows(contents(place.url), contents(alone.url))
    check_nothing_is_left(place)
    for started in (place, alone):
        started.forget()
