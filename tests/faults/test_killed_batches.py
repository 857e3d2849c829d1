"""Pieces that load together do so whole or not at all, wherever their load is killed."""

import pytest
from sqlalchemy import text

from tests.databases import rows
from tests.faults.loads import Process, load_keys
from tests.faults.pipelines import strikes_on
from tests.faults.places import published
from tests.faults.points import Plan
from tests.faults.series import series

pytestmark = pytest.mark.faults

STATES = text("SELECT state FROM work_items")


@pytest.mark.parametrize(
    ("fault", "database", "pipeline"), strikes_on("killed while several pieces load together")
)
def test_a_killed_batch_is_loaded_whole_or_not_at_all(
    fault, database, pipeline, campaign, undisturbed_loads, tmp_path, kill_seen
):
    if not campaign.falls_on(pipeline, fault, database):
        return
    expected = undisturbed_loads(pipeline, database)
    with series(expected, tmp_path) as struck:
        numbers = range(expected.count)
        process = Process(load_keys, struck.job(*numbers, plan=Plan(fault.stage, "die")))
        assert process.wait_and_check_answer() == []
        kill_seen(f"{pipeline.name}, {database}, batch", process.seen.stage)
        is_over = fault.stage == "after COMMIT"
        left = expected.after_published if is_over else expected.before_published
        assert published(struck.place) == left
        states = {state for (state,) in rows(struck.place.url, STATES)}
        assert states == ({"done", "dead"} if is_over else {"leased"})
        for number in numbers:
            struck.leave(number, process)
