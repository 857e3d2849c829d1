"""A load that is killed leaves nothing half done, wherever it was, and a clean run loads it."""

import itertools

import pytest

from tests.faults.matrix import STAGES
from tests.faults.pipelines import is_large, situation_of, strikes_on
from tests.faults.points import Plan
from tests.faults.series import Series, series, strike_each

pytestmark = pytest.mark.faults

LINGER_SECONDS = 0.005
PARTS = 2


@pytest.mark.parametrize(("fault", "database", "pipeline"), strikes_on("killed"))
def test_a_load_killed_at_a_stage_publishes_all_or_nothing(
    fault, database, pipeline, campaign, undisturbed_loads, tmp_path, kill_seen
):
    if not campaign.falls_on(pipeline, fault, database):
        return
    moments = campaign.random(fault.stage, database, pipeline.name)
    held = itertools.cycle([True, True, False])
    left = campaign.share

    def is_wanted(number: int) -> bool:
        return left > 0 and fault.stage in pipeline.stages_of(situation_of(number))

    def kill(struck: Series, number: int) -> None:
        """Kill at the boundary, where the load is held, or soon after it, where it goes on."""
        nonlocal left
        left -= 1
        delay = 0 if next(held) else moments.uniform(0, 4 * LINGER_SECONDS)
        plan = Plan(fault.stage, "linger", LINGER_SECONDS if delay else 60)
        process = struck.begin(number, plan)
        stages = STAGES[STAGES.index(fault.stage) :]
        process.wait_until(lambda seen: seen.stage in stages)
        process.go_on_for(delay)
        process.kill()
        struck.leave(number, process)
        kill_seen(f"{pipeline.name}, {database}", process.seen.stage)

    with series(undisturbed_loads(pipeline, database), tmp_path) as struck:
        strike_each(struck, is_wanted, kill)
    at_the_boundary = [seen for _, seen in struck.struck if seen.stage == fault.stage]
    assert len(at_the_boundary) >= max(1, campaign.share * 2 // 3)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize(("fault", "database", "pipeline"), strikes_on("killed at any moment"))
def test_a_load_killed_at_any_moment_publishes_all_or_nothing(
    fault, database, pipeline, part, campaign, undisturbed_loads, tmp_path, kill_seen
):
    if not campaign.falls_on(pipeline, fault, database, part):
        return
    moments = campaign.random(part, database, pipeline.name)
    expected = undisturbed_loads(pipeline, database)

    def kill(struck: Series, number: int) -> None:
        process = struck.begin(number)
        point = moments.randint(1, expected.points[situation_of(number), is_large(number)])
        process.wait_until(lambda seen: seen.stage != "" and seen.number >= point)
        process.go_on_for(moments.uniform(0, LINGER_SECONDS))
        process.kill()
        struck.leave(number, process)
        if not process.wait_and_check_answer():
            kill_seen(f"{pipeline.name}, {database}, any", process.seen.stage)

    with series(expected, tmp_path) as struck:
        strike_each(struck, lambda number: True, kill)
