"""Earlier weeks that a loaded week is compared with, on both databases."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from orchestration_project.domains.finra.anomaly_bands import (
    EarlierWeeks,
    size_of_rows,
    warnings_about,
)
from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.contracts.audits import Audit
from orchestration_project.engine.warehouse import QuarantinedError, Warehouse
from orchestration_project.resources.finra.weekly import read_earlier
from orchestration_project.tables.spine import audits
from tests.resources.weeks import FAILED, LIMITS, MONDAY, PASSED, PartitionLoader, row

PARTITION = TierWeek("T1", MONDAY)
TWO_MARKETS = (
    row("AAA", share_quantity=100, trade_count=4),
    row("BBB", share_quantity=50, trade_count=2),
    row("AAA", "CRD:7", market="NON_ATS", share_quantity=300, trade_count=6),
)


@pytest.fixture
def loader_of(warehouse: Warehouse, tmp_path: Path):
    """Give the loader of a week, counted back from the one under test."""

    def loader_of(back: int, tier: str = "T1") -> PartitionLoader:
        week = MONDAY - timedelta(weeks=back)
        return PartitionLoader(warehouse, tmp_path / "artifacts", tier=tier, week_start=week)

    return loader_of


def earlier(warehouse: Warehouse, *markets: str, weeks: int = 12) -> EarlierWeeks:
    scope = {"market": markets} if markets else {}
    with warehouse.reading() as connection:
        return read_earlier(connection, PARTITION, scope, weeks=weeks)


def write_batch(partition_loader: PartitionLoader, *rows, audits=(PASSED,), **delivery) -> None:
    """Load rows and let them be compared, as a load does."""

    def warn(connection, batch) -> list[Sequence[Audit]]:
        own, [each] = TierWeek(partition_loader.tier, partition_loader.week_start), batch
        past = read_earlier(connection, own, each.delivery.scope, weeks=LIMITS.weeks)
        size = size_of_rows([each.validated.rows])
        return [warnings_about(size, past, week_start=own.week_start, limits=LIMITS)]

    partition_loader.write_batch(*rows, audits=audits, warn=warn, **delivery)


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_the_weeks_before_are_read_by_date_of_the_same_tier_alone(warehouse, loader_of):
    for back in (-1, 0, 1, 3, 12, 13):
        loader_of(back).write_batch(*TWO_MARKETS)
    loader_of(2, tier="T2").write_batch(*TWO_MARKETS)
    found = earlier(warehouse).figures()
    assert list(found) == [MONDAY - timedelta(weeks=back) for back in (12, 3, 1)]
    assert found[MONDAY - timedelta(weeks=1)] == {
        "rows": 3,
        "shares": 450,
        "trades": 12,
        "symbols": 2,
        "venues": 2,
    }
    assert list(earlier(warehouse, weeks=2).figures()) == [MONDAY - timedelta(weeks=1)]


def test_of_a_delivery_of_one_market_that_market_is_compared(warehouse, loader_of):
    loader_of(1).write_batch(*TWO_MARKETS)
    (ats,) = earlier(warehouse, "ATS").figures().values()
    (other,) = earlier(warehouse, "NON_ATS").figures().values()
    names = ("rows", "shares", "trades", "symbols", "venues")
    assert [ats[name] for name in names] == [2, 150, 6, 2, 1]
    assert [other[name] for name in names] == [1, 300, 6, 1, 1]


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_week_is_compared_in_the_transaction_that_loads_it(loader_of):
    for back in (4, 3, 2, 1):
        write_batch(loader_of(back), *TWO_MARKETS)
    partition_loader = loader_of(0)
    write_batch(partition_loader, row("AAA", share_quantity=100, trade_count=4))
    assert partition_loader.rows(audits, "partition_key", "name", "severity", "outcome")[:3] == [
        ("T1|2025-10-13", "has_all_large_venues", "warning", "not_applicable"),
        ("T1|2025-10-13", "has_unique_keys", "error", "passed"),
        ("T1|2025-10-13", "is_of_usual_size", "warning", "not_applicable"),
    ]
    latest = partition_loader.warehouse.latest_audits(finra_otc_weekly)
    of_week = latest.filter(partition_key=partition_loader.partition_key)
    assert dict(of_week.select("name", "outcome").rows()) == {
        "has_all_large_venues": "failed",
        "has_unique_keys": "passed",
        "is_of_usual_size": "failed",
    }
    assert of_week.filter(name="has_all_large_venues")["offenders"].item() == (
        '[{"venue_id": "CRD:7", "share_before": 0.6667}]'
    )
    loaded = partition_loader.warehouse.row_counts(
        [finra_otc_weekly], partition_loader.target().partition
    )
    assert loaded == {"finra_otc_weekly": 1}


@pytest.mark.slow_after_first
def test_a_week_that_is_quarantined_is_compared_too(loader_of):
    for back in (4, 3, 2, 1):
        write_batch(loader_of(back), *TWO_MARKETS)
    partition_loader = loader_of(0)
    with pytest.raises(QuarantinedError, match="is quarantined by has_few_rejects"):
        write_batch(partition_loader, row("AAA"), audits=[FAILED])
    latest = partition_loader.warehouse.latest_audits(finra_otc_weekly)
    of_week = latest.filter(partition_key=partition_loader.partition_key)
    assert dict(of_week.select("name", "severity").rows()) == {
        "has_all_large_venues": "warning",
        "has_few_rejects": "error",
        "is_of_usual_size": "warning",
    }
    assert set(of_week["outcome"]) == {"failed"}


@pytest.mark.slow_on_postgresql
def test_an_old_week_loaded_again_is_compared_with_earlier_weeks(loader_of):
    for back in (4, 3, 2, 1):
        write_batch(loader_of(back), *TWO_MARKETS)
    oldest = loader_of(4)
    write_batch(oldest, row("AAA"), version="v2")
    latest = oldest.warehouse.latest_audits(finra_otc_weekly)
    again = latest.filter(partition_key=oldest.partition_key, name="is_of_usual_size")
    assert again.select("outcome", "found").rows() == [("not_applicable", "0 weeks")]
