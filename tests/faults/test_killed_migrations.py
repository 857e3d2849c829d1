"""The tables are made whole or not at all, however often that is interrupted."""

import pytest

from orchestration_project.resources.clock import Clock
from orchestration_project.resources.warehouse import Warehouse
from orchestration_project.resources.warehouse.migrating import is_current
from tests.databases import contents, rows
from tests.faults.loads import NOW, Job, Process, prepare_database
from tests.faults.matrix import case_name, strikes
from tests.faults.points import Plan
from tests.faults.scene import TABLES, Place, nothing_is_left, same

pytestmark = pytest.mark.faults


@pytest.mark.parametrize(
    ("fault", "database"), strikes("killed while the tables are made"), ids=case_name
)
def test_tables_whose_making_is_killed_at_each_point_are_all_there_or_none(
    fault, database, server, campaign, tmp_path
):
    place = Place.empty(database, tmp_path / "place", server(database))
    whole = Place.prepared(database, tmp_path / "whole", server(database))
    tables = sorted(rows(whole.url, TABLES[database]))
    job = Job(place.url, place.folder, "", [])
    point, told = 0, []
    while not told:
        point += campaign.every
        plan = Plan(point, "die")
        told = Process(prepare_database, Job(place.url, place.folder, "", [], plan)).answer()
        assert sorted(rows(place.url, TABLES[database])) in ([], tables)
    assert point > 20
    assert Process(prepare_database, job).answer() == ["prepared"]
    with Warehouse(place.url, clock=Clock(NOW)) as warehouse, warehouse.reading() as connection:
        assert is_current(connection)
    same(contents(place.url), contents(whole.url))
    nothing_is_left(place)
    place.forget()
    whole.forget()
