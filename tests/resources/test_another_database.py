"""A database that we have no path of our own for: what is portable must do.

tests/another.py describes it.
"""

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.warehouse import QuarantinedError, Warehouse
from orchestration_project.engine.warehouse.recorded import read_parts
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.catalogue import tables
from tests import another as _another  # noqa: F401 - registers both names
from tests.resources.weeks import FAILED, NOON, PartitionLoader, rejected, row


@pytest.fixture
def opened(tmp_path, clock) -> Iterator[dict[str, Warehouse]]:
    """The same empty database under both names."""
    with (
        Warehouse(f"another:///{tmp_path}/another.db", clock=clock) as another,
        Warehouse(f"sqlite:///{tmp_path}/own.db", clock=clock) as own,
    ):
        yield {"another": another, "sqlite": own}


def contents(warehouse: Warehouse) -> dict[str, list[str]]:
    return {
        table.name: sorted(map(repr, warehouse.frame(select(table), table).rows()))
        for table in tables()
    }


@pytest.mark.slow
def test_another_database_loads_derives_and_keeps_evidence(opened, tmp_path):
    for warehouse in opened.values():
        warehouse.prepare(holds="real")
        warehouse.prepare(holds="real")
        partition_loader = PartitionLoader(warehouse, tmp_path)
        partition_loader.write_batch(
            row("AAA"), row("É", notional_usd=2**63 - 1), rejects=rejected(7)
        )
        partition_loader.write_batch(row("AAA", share_quantity=7), row("ABCp"), version="v2")
        with pytest.raises(QuarantinedError):
            partition_loader.write_batch(row("ZZZ"), version="v3", audits=[FAILED])
        assert partition_loader.quantities() == {"AAA": 7, "ABCp": 100}
        _, recorded = warehouse.recorded(finra_otc_weekly, partition_loader.partition_key)
        assert [outcome.outcome for outcome in recorded] == ["landed", "landed", "held_back"]
        with warehouse.reading() as connection:
            (capture,) = read_parts(connection, recorded[0])
        assert capture.fetched_at == NOON
    assert contents(opened["another"]) == contents(opened["sqlite"])


@pytest.mark.slow
def test_tables_move_to_it(opened, tmp_path):
    opened["sqlite"].prepare(holds="real")
    PartitionLoader(opened["sqlite"], tmp_path).write_batch(row("AAA"))
    counts = opened["another"].fill_from(opened["sqlite"])
    assert (counts["finra_otc_weekly"], counts["finra_venue_week"]) == (1, 1)
    assert contents(opened["another"]) == contents(opened["sqlite"])


def test_a_database_that_alembic_does_not_know_is_refused(tmp_path, clock):
    with (
        Warehouse(f"unknown:///{tmp_path}/unknown.db", clock=clock) as warehouse,
        pytest.raises(ConfigurationError, match="cannot make tables in a database of the kind"),
    ):
        warehouse.prepare(holds="real")
