"""Deriving from loaded rows, on both databases: fences, and what makes a partition out of date."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from orchestration_project.domains.finra.contract import DE_MINIMIS
from orchestration_project.domains.finra.tables.weekly import (
    finra_concentration_week,
    finra_otc_weekly,
    finra_symbol_rolling_6w,
    finra_tier_week,
)
from orchestration_project.engine.derived import DerivedLoad, DerivedTable
from orchestration_project.engine.warehouse import SupersededError
from orchestration_project.engine.warehouse.fencing import read_derived_versions
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.finra.gold import CONCENTRATION, CROSS_TIER, ROLLING
from tests.resources.weeks import MONDAY, PartitionLoader, row

KEY = f"T1|{MONDAY}"
NEXT = MONDAY + timedelta(weeks=1)


def loader(
    partition_loader: PartitionLoader, recipe: DerivedTable = ROLLING, *requested: str
) -> DerivedLoad:
    return DerivedLoad([recipe], partition_loader.warehouse, requested or (KEY,))


def derive(
    partition_loader: PartitionLoader, recipe: DerivedTable = ROLLING, key: str = KEY
) -> list[str]:
    """Derive a partition and return what was recomputed."""
    load = loader(partition_loader, recipe, key)
    return list(load.write_batch(load.take(key)).tables[recipe.table.name].recomputed)


def windows(partition_loader: PartitionLoader) -> list[tuple[object, ...]]:
    return partition_loader.rows(
        finra_symbol_rolling_6w, "week_start", "symbol", "weeks_in_window", "max_share_quantity"
    )


@pytest.mark.slow_on_postgresql
def test_a_slower_run_cannot_put_older_figures_over_newer_ones(partition_loader):
    partition_loader.write_batch(row(share_quantity=100))
    slow = loader(partition_loader).take(KEY)
    partition_loader.write_batch(row(share_quantity=900), version="v2")
    derive(partition_loader)
    with pytest.raises(SupersededError):
        loader(partition_loader).write_batch(slow)
    assert windows(partition_loader) == [(MONDAY, "AAA", 1, 900)]
    assert derive(partition_loader) == []


def test_figures_that_a_load_overtook_are_derived_again(partition_loader):
    partition_loader.write_batch(row(share_quantity=100))
    taken = loader(partition_loader).take(KEY)
    partition_loader.write_batch(row(share_quantity=900), version="v2")
    loader(partition_loader).write_batch(taken)
    assert windows(partition_loader) == [(MONDAY, "AAA", 1, 100)]
    assert derive(partition_loader) == [KEY]
    assert windows(partition_loader) == [(MONDAY, "AAA", 1, 900)]


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_change_of_dates_or_rules_derives_again_and_an_equal_delivery_nothing(partition_loader):
    partition_loader.write_batch(row())
    derive(partition_loader)
    later = date(2026, 1, 1)
    assert (
        partition_loader.write_batch(row(last_update_date=later), version="v2").change_cause
        == "metadata"
    )
    assert derive(partition_loader) == [KEY]
    assert (
        partition_loader.write_batch(row(last_update_date=later), version="v3").change_cause
        == "none"
    )
    assert derive(partition_loader) == []
    partition_loader.write_batch(row(last_update_date=later), version="v3", rule_version="2")
    assert derive(partition_loader) == [KEY]


@pytest.mark.slow_on_postgresql
def test_a_symbol_that_a_restatement_removes_leaves_what_is_derived(partition_loader):
    following = replace(partition_loader, week_start=NEXT)
    partition_loader.write_batch(row("AAA"), row("BBB"))
    following.write_batch(row("AAA"), row("BBB"))
    derive(partition_loader)
    partition_loader.write_batch(row("AAA"), version="v2")
    assert derive(partition_loader) == [KEY, f"T1|{NEXT}"]
    assert windows(partition_loader) == [
        (MONDAY, "AAA", 1, 100),
        (NEXT, "AAA", 2, 100),
        (NEXT, "BBB", 1, 100),
    ]


@pytest.mark.slow_on_postgresql
def test_the_change_of_concentration_is_none_after_a_hole(partition_loader):
    partition_loader.write_batch(row(venue="V"), row(venue="W"))
    replace(partition_loader, week_start=NEXT).write_batch(row(venue="V"))
    replace(partition_loader, week_start=NEXT + timedelta(weeks=2)).write_batch(row(venue="V"))
    for week in (MONDAY, NEXT, NEXT + timedelta(weeks=2)):
        derive(partition_loader, CONCENTRATION, f"T1|{week}")
    found = partition_loader.rows(finra_concentration_week, "hhi_upper", "hhi_upper_change")
    assert found == [(0.5, None), (1.0, 0.5), (1.0, None)]


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(
            [
                row(venue="V", share_quantity=60),
                row(venue="W", market="NON_ATS", share_quantity=30),
                row(venue=DE_MINIMIS, market="NON_ATS", share_quantity=10),
                row("BBB", venue=DE_MINIMIS, market="NON_ATS", share_quantity=10),
            ],
            [("AAA", 0.6, 0.9), ("BBB", None, None)],
            id="each venue in one market",
        ),
        pytest.param(
            [
                row(venue="V", share_quantity=30),
                row(venue="V", market="NON_ATS", share_quantity=30),
                row(venue="W", share_quantity=40),
                row("BBB", venue="X", share_quantity=2**42),
            ],
            [("AAA", 0.6, 1.0), ("BBB", 1.0, 1.0)],
            id="a venue in both",
        ),
    ],
)
def test_the_largest_venues_are_those_of_both_markets_together(partition_loader, rows, expected):
    partition_loader.write_batch(*rows)
    derive(partition_loader, CONCENTRATION)
    shares = ("top_venue_share", "top_3_venue_share")
    assert partition_loader.rows(finra_concentration_week, "symbol", *shares) == expected


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_week_is_derived_across_tiers_only_with_all_of_them(partition_loader):
    partition_loader.write_batch(row())
    replace(partition_loader, tier="T2").write_batch(row(share_quantity=300))
    with pytest.raises(ConfigurationError, match="cannot be derived") as refused:
        derive(partition_loader, CROSS_TIER, str(MONDAY))
    assert refused.value.found == f"not loaded: OTCE|{MONDAY}"
    replace(partition_loader, tier="OTCE").write_batch(row(share_quantity=0))
    assert derive(partition_loader, CROSS_TIER, str(MONDAY)) == [str(MONDAY)]
    assert partition_loader.rows(finra_tier_week, "tier", "market_share") == [
        ("OTCE", 0.0),
        ("T1", 0.25),
        ("T2", 0.75),
    ]


def test_an_invalid_request_is_refused_as_not_loaded(partition_loader):
    with pytest.raises(ConfigurationError, match="nonsense cannot be derived"):
        derive(partition_loader, ROLLING, "nonsense")


@pytest.mark.slow_on_postgresql
def test_what_is_derived_is_known_by_what_it_was_made_of(partition_loader):
    partition_loader.write_batch(row())
    partition_loader.write_batch(row(share_quantity=5), version="v2")
    derive(partition_loader)
    assert partition_loader.warehouse.changes(finra_otc_weekly) == {KEY: 2}
    with partition_loader.warehouse.reading() as connection:
        versions = read_derived_versions(connection, finra_symbol_rolling_6w)
    assert versions == {KEY: f"gold 3: {KEY}#2"}
