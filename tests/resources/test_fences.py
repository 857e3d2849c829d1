"""However deliveries end, the fence of a partition agrees with its history."""

import itertools
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, seed, settings

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables.spine import audits, fences, landings
from tests.resources.fence_histories import HISTORIES, Histories, check_fences, drawn
from tests.resources.weeks import MONDAY, PartitionLoader, row

pytestmark = pytest.mark.usefixtures("careless_databases")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("warehouse", "examples"), [("sqlite", 12), ("postgresql", 6)], indirect=["warehouse"]
)
def test_a_fence_has_the_state_that_its_history_leads_to(partition_loader, clock, examples):
    weeks = itertools.count()

    @seed(0)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(HISTORIES)
    def each(history):
        week = MONDAY + timedelta(weeks=next(weeks))
        histories = Histories(
            PartitionLoader(partition_loader.warehouse, partition_loader.folder, week_start=week),
            clock,
        )
        for step in history:
            histories.play(*step)
        check_fences(partition_loader.warehouse)

    each()


@pytest.mark.slow
def test_a_copy_of_the_database_has_the_same_state(partition_loader, clock, tmp_path):
    histories = Histories(partition_loader, clock)
    for step in drawn(1, 20):
        histories.play(*step)
    with Warehouse(f"sqlite:///{tmp_path}/copy.sqlite", clock=Clock()) as copy:
        copy.fill_from(partition_loader.warehouse)
        check_fences(copy)
        assert (
            copy.changes(finra_otc_weekly)
            == partition_loader.warehouse.changes(finra_otc_weekly)
            != {}
        )


def test_the_present_is_read_from_fences_and_not_from_history(partition_loader):
    partition_loader.write_batch(row("AAA"))
    state = partition_loader.warehouse.state(finra_otc_weekly, partition_loader.partition_key)
    with partition_loader.warehouse.writing() as connection:
        connection.execute(landings.delete())
    assert (
        partition_loader.warehouse.state(finra_otc_weekly, partition_loader.partition_key) == state
    )
    assert partition_loader.warehouse.changes(finra_otc_weekly) == {
        partition_loader.partition_key: 1
    }
    assert partition_loader.warehouse.known_versions(finra_otc_weekly) == {
        partition_loader.partition_key: {"v1"}
    }
    assert partition_loader.warehouse.first_landed_at(finra_otc_weekly) == state.landed_at
    assert (
        len(partition_loader.warehouse.latest_audits(finra_otc_weekly))
        == partition_loader.count(audits)
        == 1
    )
    assert partition_loader.rows(fences, "audited_group_id") == [
        ("finra_otc_weekly:T1|2025-11-10#1",)
    ]
