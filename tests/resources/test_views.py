"""Views of loaded rows, the same on every database."""

from decimal import Decimal

import pytest
from sqlalchemy import select, text

from orchestration_project.domains.finra.contract import TIER_OF_DESCRIPTION
from orchestration_project.domains.finra.tables.weekly import TIER_NAMES, v_finra_otc_weekly
from tests.resources.weeks import PartitionLoader, row

VIEW = v_finra_otc_weekly.table


def shown(partition_loader, *names):
    columns = [VIEW.c[name] for name in names]
    return partition_loader.warehouse.frame(select(*columns).order_by(VIEW.c.symbol), VIEW).rows()


def test_codes_have_their_names_and_a_venue_is_never_without_one(partition_loader):
    partition_loader.write_batch(
        row("AAA"),
        row("BBB", market="NON_ATS", participant_name=None),
        row("CCC", participant_name=None, mpid=None, venue_id="CRD:7"),
    )
    assert shown(partition_loader, "symbol", "tier_name", "market_name", "venue_name") == [
        ("AAA", "NMS Tier 1", "ATS", "XATS LLC"),
        ("BBB", "NMS Tier 1", "Non-ATS OTC", "XATS"),
        ("CCC", "NMS Tier 1", "ATS", "CRD:7"),
    ]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("tier", "name"), [("T2", "NMS Tier 2"), ("OTCE", "OTC Equity Securities"), ("T9", "T9")]
)
def test_a_tier_without_a_name_is_its_own(warehouse, tmp_path, tier, name):
    partition_loader = PartitionLoader(warehouse, tmp_path / "artifacts", tier=tier)
    partition_loader.write_batch(row("AAA"))
    assert shown(partition_loader, "tier", "tier_name") == [(tier, name)]


def test_every_tier_that_we_know_has_a_name():
    assert set(TIER_OF_DESCRIPTION.values()) == set(TIER_NAMES)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("notional", "dollars"),
    [
        (None, None),
        (0, "0.000000"),
        (1, "0.000001"),
        (999_999, "0.999999"),
        (1_000_000, "1.000000"),
        (2**53 + 1, "9007199254.740993"),
        (2**63 - 1, "9223372036854.775807"),
        (-1, "-0.000001"),
        (-(2**63), "-9223372036854.775808"),
    ],
)
def test_dollars_have_every_digit(partition_loader, notional, dollars):
    partition_loader.write_batch(row("AAA", notional_usd=notional))
    assert shown(partition_loader, "notional_dollars") == [
        (None if dollars is None else Decimal(dollars),)
    ]
    with partition_loader.warehouse.reading() as connection:
        stored = connection.execute(text("SELECT notional_dollars FROM v_finra_otc_weekly"))
        assert str(stored.scalar_one()) == str(dollars)
