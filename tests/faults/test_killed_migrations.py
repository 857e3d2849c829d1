"""The tables are made whole or not at all, however often that is interrupted."""

import pytest

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.migrating import is_current
from tests.databases import contents, rows
from tests.faults.loads import NOW, Job, Process, prepare_database
from tests.faults.matrix import case_name, strikes
from tests.faults.places import TABLES, Place, check_nothing_is_left, check_same_rows
from tests.faults.points import Plan

pytestmark = pytest.mark.faults


@pytest.mark.parametrize(
    ("fault", "database"), strikes("killed while the tables are made"), ids=case_name
)
def test_tables_whose_making_is_killed_at_a_point_are_all_there_or_none(
    fault, database, server, campaign, tmp_path
):
    place = Place.empty(database, tmp_path / "place", server(database))
    whole = Place.empty(database, tmp_path / "whole", server(database))
    undisturbed = Process(prepare_database, Job(whole.url, whole.folder, "", []))
    assert undisturbed.wait_and_check_answer() == ["prepared"]
    tables, last = sorted(rows(whole.url, TABLES[database])), undisturbed.seen.number
    job = Job(place.url, place.folder, "", [])
    points = campaign.some(last, fault.name, database)
    for point in points:
        plan = Plan(point, "die")
        assert (
            Process(
                prepare_database, Job(place.url, place.folder, "", [], plan)
            ).wait_and_check_answer()
            == []
        )
        if found := sorted(rows(place.url, TABLES[database])):
            assert found == tables
            break  # what was committed has no further point
    assert len(points) * campaign.every > 100
    assert Process(prepare_database, job).wait_and_check_answer() == ["prepared"]
    with Warehouse(place.url, clock=Clock(NOW)) as warehouse, warehouse.reading() as connection:
        assert is_current(connection)
    check_same_rows(contents(place.url), contents(whole.url))
    check_nothing_is_left(place)
    place.forget()
    whole.forget()
