"""Report of a load about its changes, on both databases."""

from datetime import date, timedelta

import pytest

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly_history
from tests.resources.weeks import NOON, row


def test_a_first_load_reports_all_of_the_week(partition_loader):
    change = partition_loader.write_batch(row("AAA"), row("BBB", share_quantity=7)).change
    assert (change.rows_before, change.rows_after, change.symbols_after) == (0, 2, 2)
    assert (change.shares_before, change.shares_after) == (0, 107)


@pytest.mark.slow_on_postgresql
def test_a_restatement_reports_rows_symbols_and_moves(partition_loader):
    partition_loader.write_batch(row("AAA"), row("AAA", "YATS"), row("BBB"), row("CCC"), row("DDD"))
    loaded = partition_loader.write_batch(
        row("AAA", share_quantity=150, trade_count=3),
        row("BBB", last_update_date=date(2026, 1, 12)),
        row("CCC"),
        row("AAA", "YATS", issue_name="AAA Corp."),
        row("EEE", share_quantity=1),
        version="v2",
    )
    change = loaded.change
    assert loaded.change_cause == "source"
    assert (change.rows_before, change.rows_after) == (5, 5)
    assert (change.rows_added, change.rows_changed, change.rows_removed) == (1, 2, 1)
    assert change.rows_relabelled == 1
    assert (change.symbols_added, change.symbols_removed) == (("EEE",), ("DDD",))
    assert (change.shares_before, change.shares_after) == (500, 451)
    assert (change.trades_before, change.trades_after) == (5, 7)
    assert [(move.symbol, move.change) for move in change.moves] == [
        ("DDD", -100),
        ("AAA", 50),
        ("EEE", 1),
    ]


@pytest.mark.slow_on_postgresql
def test_a_change_of_dates_alone_restates_no_row(partition_loader):
    partition_loader.write_batch(row("AAA"), row("BBB"))
    loaded = partition_loader.write_batch(
        row("AAA", last_update_date=date(2026, 1, 12)), row("BBB"), version="v2"
    )
    assert loaded.change_cause == "metadata"
    assert (loaded.change.restated_rows, loaded.change.rows_relabelled) == (0, 1)
    assert partition_loader.count(finra_otc_weekly_history) == 1


@pytest.mark.slow_on_postgresql
def test_an_unchanged_load_reports_nothing(partition_loader):
    partition_loader.write_batch(row("AAA"))
    assert partition_loader.write_batch(row("AAA"), version="v2").change is None
    assert partition_loader.write_batch(row("AAA"), rule_version="2").change is None


@pytest.mark.slow_on_postgresql
def test_other_rules_of_ours_are_compared_in_the_same_way(partition_loader):
    partition_loader.write_batch(row("AAA"), row("BBB"))
    loaded = partition_loader.write_batch(
        row("AAA", share_quantity=99), row("BBB"), rule_version="2"
    )
    assert (loaded.change_cause, loaded.change.moved_shares) == ("ours", 1)


@pytest.mark.slow_on_postgresql
def test_a_part_of_the_partition_is_compared_with_that_part_alone(partition_loader):
    partition_loader.write_batch(row("AAA"), row("BBB", market="NON_ATS"))
    loaded = partition_loader.write_batch(
        row("AAA", share_quantity=101), version="v2", scope={"market": ("ATS",)}
    )
    assert (loaded.change.rows_before, loaded.change.shares_before) == (1, 100)
    assert loaded.change.rows_removed == 0


@pytest.mark.slow_on_postgresql
def test_the_other_market_is_more_of_the_week_and_restates_nothing(partition_loader):
    ats, other = row("AAA"), row("BBB", market="NON_ATS")
    both = {"market": ("ATS", "NON_ATS")}
    partition_loader.write_batch(ats, scope={"market": ("ATS",)})
    loaded = partition_loader.write_batch(ats, other, version="v2", scope=both)
    assert (loaded.change_cause, loaded.change.rows_added) == ("more", 1)
    third = row("CCC", market="NON_ATS")
    assert (
        partition_loader.write_batch(ats, other, third, version="v3", scope=both).change_cause
        == "source"
    )


@pytest.mark.slow_on_postgresql
def test_the_other_market_beside_a_change_of_the_first_is_a_restatement(partition_loader):
    partition_loader.write_batch(row("AAA"), scope={"market": ("ATS",)})
    rows = (row("AAA", share_quantity=9), row("BBB", market="NON_ATS"))
    loaded = partition_loader.write_batch(*rows, version="v2", scope={"market": ("ATS", "NON_ATS")})
    assert (loaded.change_cause, loaded.change.restated_rows) == ("source", 2)


@pytest.mark.slow_on_postgresql
def test_a_new_row_of_a_loaded_market_is_a_restatement(
    partition_loader,
):
    ats, other = {"market": ("ATS",)}, {"market": ("NON_ATS",)}
    partition_loader.write_batch(row("AAA"), scope=ats)
    assert (
        partition_loader.write_batch(
            row("BBB", market="NON_ATS"), version="v2", scope=other
        ).change_cause
        == "more"
    )
    assert (
        partition_loader.write_batch(row("AAA"), row("CCC"), version="v3", scope=ats).change_cause
        == "source"
    )


@pytest.mark.slow_on_postgresql
def test_the_other_market_beside_a_new_row_of_the_first_is_a_restatement(partition_loader):
    partition_loader.write_batch(row("AAA"), scope={"market": ("ATS",)})
    rows = (row("AAA"), row("CCC"), row("BBB", market="NON_ATS"))
    loaded = partition_loader.write_batch(*rows, version="v2", scope={"market": ("ATS", "NON_ATS")})
    assert (loaded.change_cause, loaded.change.restated_rows) == ("source", 2)


@pytest.mark.slow_on_postgresql
def test_a_second_restatement_is_compared_with_the_first(partition_loader, clock):
    partition_loader.write_batch(row("AAA"), row("BBB"))
    for days, shares in ((7, 110), (8, 120)):
        clock.at = NOON + timedelta(days=days)
        change = partition_loader.write_batch(
            row("AAA", share_quantity=shares), row("BBB"), version=f"v{days}"
        ).change
        assert (change.rows_changed, change.moved_shares) == (1, 10)
