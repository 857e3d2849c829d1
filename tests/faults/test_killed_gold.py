"""Gold whose run is killed: each partition is the old or the new one; the next run ends it."""

import pytest

from tests.databases import contents
from tests.faults.gold import KEYS, RECIPES, derive_keys, derived, restated, states
from tests.faults.loads import Job, Process
from tests.faults.matrix import case_name, strikes
from tests.faults.places import check_nothing_is_left, check_same_rows
from tests.faults.points import Plan

pytestmark = pytest.mark.faults


@pytest.mark.parametrize(
    ("fault", "database"), strikes("killed while gold is derived"), ids=case_name
)
def test_gold_of_a_killed_run_is_whole_and_derived_by_the_next(
    fault, database, server, campaign, tmp_path, kill_seen
):
    before = restated(database, tmp_path / "before", server(database))
    alone = before.copy(tmp_path / "alone")
    undisturbed = Process(derive_keys, Job(alone.url, alone.folder, "", KEYS))
    assert [line.split()[0] for line in undisturbed.wait_and_check_answer()] == ["derived"] * len(
        KEYS
    )
    old, new, expected = states(before), states(alone), contents(alone.url)
    assert [key for key in old if old[key] == new[key]] == []
    first = campaign.random(fault.name, database).randint(1, campaign.every)
    for point in range(first, undisturbed.seen.number + 1, campaign.every):
        place = before.copy(tmp_path / f"point {point}")
        job = Job(place.url, place.folder, "", KEYS, Plan(point, "die"))
        process = Process(derive_keys, job)
        assert process.wait_and_check_answer() == []
        kill_seen(f"{database}, gold", process.seen.stage)
        found = states(place)
        assert [key for key in found if found[key] not in (old[key], new[key])] == []
        for name in RECIPES:
            assert len({found[key] == new[key] for key in found if key[0] == name}) == 1
        assert len(derived(place, *KEYS)) == len(KEYS)
        check_same_rows(contents(place.url), expected)
        check_nothing_is_left(place)
        place.forget()
    for started in (before, alone):
        started.forget()
