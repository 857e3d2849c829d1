"""Weeks of shares off exchange as a run derives them, and marked stale by either input."""

from datetime import timedelta

import polars as pl
import pytest

from orchestration_project.catalog.cboe import VOLUME
from orchestration_project.domains.cboe.tables import (
    off_exchange_share_daily,
    off_exchange_share_weekly,
)
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.derived import find_outdated
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.cboe import WEEKLY, read_shares, weekly_load
from orchestration_project.tables.spine import fences
from tests.resources.weeks import MONDAY, NOON, PartitionLoader, row

KEY = MONDAY.isoformat()
COLUMNS = ("tape", "exchange_share_quantity", "finra_ats_share_quantity", "is_stale")


def load_day(
    partition_loader: PartitionLoader, back: int = 0, *, exchange: int = 60, token: int = 1
) -> None:
    """Write what the load of a day derives, and its fence."""
    day = MONDAY + timedelta(days=back)
    zeros = {
        name: 0
        for name, kind in derive_schema(off_exchange_share_daily).items()
        if kind.is_numeric()
    }
    given = {
        **zeros,
        "trade_date": day,
        "tape": "all",
        "exchange_share_quantity": exchange,
        "off_exchange_share_quantity": 40,
        "off_exchange_share_ratio": 40 / (40 + exchange),
        "known_from": NOON,
    }
    rows = pl.DataFrame([given], derive_schema(off_exchange_share_daily))
    with partition_loader.warehouse.writing() as connection:
        insert_frame(connection, off_exchange_share_daily, rows)
        connection.execute(
            fences.insert().values(
                table_name=VOLUME.table.name,
                scope_key=day.isoformat(),
                token=token,
                changed_token=token,
                known_from=NOON,
            )
        )


def derive(partition_loader: PartitionLoader) -> bool:
    """Derive the week as a run does, and return whether rows were written."""
    load = weekly_load(partition_loader.warehouse)
    return bool(load.write_batch(load.take(KEY)).recomputed)


def outdated(partition_loader: PartitionLoader) -> list[str]:
    return find_outdated(partition_loader.warehouse, [WEEKLY])[1]


def test_a_week_without_market_volume_is_refused_and_names_its_job(partition_loader):
    with pytest.raises(ConfigurationError, match="cannot be derived") as refused:
        derive(partition_loader)
    assert "cboe_market_volume_daily" in str(refused.value.remedy)


@pytest.mark.slow_on_postgresql
def test_a_week_is_derived_again_when_a_day_or_a_tier_comes_and_is_stale_until_then(
    partition_loader,
):
    load_day(partition_loader)
    assert outdated(partition_loader) == [KEY]
    assert derive(partition_loader)
    assert partition_loader.rows(off_exchange_share_weekly, *COLUMNS) == [("all", 60, None, False)]
    assert not derive(partition_loader)
    for tier in ("T1", "T2"):
        PartitionLoader(
            partition_loader.warehouse, partition_loader.folder, tier, MONDAY
        ).write_batch(row("AAA"))
    assert partition_loader.rows(off_exchange_share_weekly, "is_stale") == [(True,)]
    assert outdated(partition_loader) == [KEY]
    derive(partition_loader)
    [(_, exchange, ats, is_stale)] = partition_loader.rows(off_exchange_share_weekly, *COLUMNS)
    assert (exchange, ats is not None, is_stale) == (60, True, False)
    load_day(partition_loader, 1)
    assert outdated(partition_loader) == [KEY]
    derive(partition_loader)
    assert partition_loader.rows(
        off_exchange_share_weekly, "day_count", "exchange_share_quantity"
    ) == [(2, 120)]
    assert outdated(partition_loader) == []


def test_the_chart_shows_the_share_of_each_loaded_day(partition_loader):
    assert read_shares(partition_loader.warehouse).is_empty()
    load_day(partition_loader)
    load_day(partition_loader, 1, exchange=160)
    assert read_shares(partition_loader.warehouse).rows() == [
        (MONDAY, "all", 0.4),
        (MONDAY + timedelta(days=1), "all", 0.2),
    ]
