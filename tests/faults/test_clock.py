"""The clock jumps between two loads of a week; what was known when stays in order."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables.catalogue import relation_as_of
from tests.databases import rows
from tests.faults.matrix import case_name, strikes
from tests.faults.places import Place
from tests.resources.weeks import PartitionLoader, StoppedClock, row

pytestmark = pytest.mark.faults

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
DAY, YEAR = timedelta(days=1), timedelta(days=365)
JUMPS = {
    "clock set back a day": [-DAY, 2 * DAY],
    "clock set forward a year": [YEAR, DAY],
    "clock set forward a year and back": [YEAR, -YEAR, DAY],
}
"""Moves of the clock before each load but the first."""

INVERTED = text("SELECT count(*) FROM finra_otc_weekly_history WHERE known_from >= known_to")


@pytest.mark.parametrize(
    ("fault", "database"),
    [case for name in JUMPS for case in strikes(name)],
    ids=lambda value: case_name(value) if isinstance(value, str) else value.name,
)
def test_what_was_known_when_stays_in_order_when_the_clock_jumps(fault, database, server, tmp_path):
    clock = StoppedClock(NOON)
    place = Place.prepared(database, tmp_path / "place", server(database))
    with Warehouse(place.url, clock=clock) as warehouse:
        partition_loader = PartitionLoader(warehouse, tmp_path / "artifacts")
        loaded = [
            partition_loader.write_batch(
                row("AAA", share_quantity=0), row("BBB"), version="v0"
            ).known_from
        ]
        for number, jump in enumerate(JUMPS[fault.name], start=1):
            clock.at += jump
            changed = row("AAA", share_quantity=number)
            written = partition_loader.write_batch(changed, row("BBB"), version=f"v{number}")
            loaded.append(written.known_from)
        assert loaded == sorted(set(loaded))
        for number, at in enumerate(loaded):
            assert shares_as_of(partition_loader, at) == {"AAA": number, "BBB": 100}
            assert shares_as_of(partition_loader, at - MICROSECOND).get("AAA") == (
                number - 1 if number else None
            )
        assert partition_loader.rows(
            finra_otc_weekly_history, "share_quantity", "known_from", "known_to"
        ) == [(number, *known) for number, known in enumerate(itertools.pairwise(loaded))]
    assert rows(place.url, INVERTED) == [(0,)]
    place.forget()


def shares_as_of(partition_loader: PartitionLoader, at: datetime) -> dict[str, int]:
    """Return the shares by symbol that were known at a moment."""
    names = ("symbol", "share_quantity")
    query = relation_as_of(finra_otc_weekly.name, at).select(names, [])
    with partition_loader.warehouse.batches(query, finra_otc_weekly) as batches:
        return {
            symbol: shares for batch in batches for symbol, shares in batch.select(names).rows()
        }
