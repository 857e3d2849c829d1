"""A delivery that loads range by range leaves what one that loads at once leaves."""

import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, select

from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_otc_weekly_history,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.engine.warehouse import WriteResult
from orchestration_project.tables.schema import key_names
from orchestration_project.tables.spine import landings
from tests.resources.weeks import MONDAY, PUBLISHED, PartitionLoader, row

TABLES = (finra_otc_weekly, finra_otc_weekly_history, finra_symbol_week, finra_venue_week)
OF_A_WEEK = ("week_start", "week_end", "capture_id")
OF_ITS_OWN = ("seconds", "derived_seconds", "group_id")

ROWS = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(["", "AAA", "AAa", "B", "Z", "é"]),
        "venue": st.sampled_from(["XATS", "YATS", "CRD:0"]),
        "market": st.sampled_from(["ATS", "NON_ATS"]),
        "share_quantity": st.integers(0, 3),
        "last_update_date": st.sampled_from([PUBLISHED, PUBLISHED + timedelta(days=1)]),
    }
)
STATES = st.lists(
    st.lists(ROWS, unique_by=lambda each: (each["market"], each["symbol"], each["venue"])),
    min_size=1,
    max_size=3,
)


def content(partition_loader: PartitionLoader, table: Table) -> list[dict[str, Any]]:
    """Return a partition's rows of ``table``, without what names the week."""
    found = select(table).where(table.c.week_start == partition_loader.week_start)
    rows = partition_loader.warehouse.frame(found, table)
    return rows.sort(key_names(table)).drop(OF_A_WEEK, strict=False).to_dicts()


def facts_of(loaded: WriteResult[Any]) -> dict[str, Any]:
    facts = {name: value for name, value in vars(loaded).items() if name not in OF_ITS_OWN}
    return facts | {"derived": set(loaded.derived_seconds)}


def in_key_order(state: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = ("market", "symbol", "venue")
    return [row(**record) for record in sorted(state, key=lambda row: [row[key] for key in keys])]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("warehouse", "examples"), [("sqlite", 12), ("postgresql", 6)], indirect=["warehouse"]
)
def test_a_load_in_ranges_stores_and_reports_the_same_as_at_once(partition_loader, examples):
    weeks = itertools.count()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(STATES, st.integers(1, 4))
    def load_and_check(states, most_rows):
        at_once, in_ranges = (
            PartitionLoader(
                partition_loader.warehouse,
                partition_loader.folder,
                week_start=MONDAY + timedelta(weeks=next(weeks)),
            )
            for _ in range(2)
        )
        for number, state in enumerate(states):
            rows, version = in_key_order(state), f"v{number}"
            one = at_once.write_batch(*rows, version=version)
            other = in_ranges.write_batch(*rows, version=version, ranges_of=most_rows)
            assert facts_of(other) == facts_of(one)
            for table in TABLES:
                assert content(in_ranges, table) == content(at_once, table)

    load_and_check()


@pytest.mark.slow_after_first
def test_a_market_in_ranges_leaves_the_other_alone_and_derives_of_both(partition_loader):
    both = [row("A"), row("B"), row("B", "YATS", market="NON_ATS"), row("C", market="NON_ATS")]
    partition_loader.write_batch(*both)
    loaded = partition_loader.write_batch(
        row("B", share_quantity=7), row("D"), version="v2", scope={"market": "ATS"}, ranges_of=1
    )
    assert (loaded.rows_added, loaded.rows_changed, loaded.rows_removed) == (1, 1, 1)
    quantities = ("symbol", "ats_share_quantity", "non_ats_share_quantity")
    assert partition_loader.rows(finra_symbol_week, *quantities) == [
        ("B", 7, 100),
        ("C", 0, 100),
        ("D", 100, 0),
    ]
    assert partition_loader.rows(finra_venue_week, "market", "venue_id", "share_quantity") == [
        ("ATS", "XATS", 107),
        ("NON_ATS", "XATS", 100),
        ("NON_ATS", "YATS", 100),
    ]


@pytest.mark.slow_after_first
def test_unchanged_rows_in_ranges_are_loaded_with_no_table_read(partition_loader):
    rows = [row("A"), row("B")]
    partition_loader.write_batch(*rows, ranges_of=1)
    loaded = partition_loader.write_batch(*rows, version="v2", ranges_of=1)
    assert (loaded.change_cause, loaded.rows_unchanged, loaded.change) == ("none", 2, None)
    assert partition_loader.count(finra_otc_weekly_history) == 0


@pytest.mark.slow_on_postgresql
def test_rows_that_turn_out_the_same_are_not_derived_of_again(partition_loader):
    rows = [row("A"), row("B")]
    partition_loader.write_batch(*rows, ranges_of=1)
    loaded = partition_loader.write_batch(
        *reversed(rows), version="v2", ranges_of=2
    )  # another hash
    assert (loaded.change_cause, loaded.rows_unchanged) == ("none", 2)
    assert (loaded.change, loaded.derived_seconds) == (None, {})


@pytest.mark.slow
def test_an_error_in_any_range_leaves_all_as_it_was(partition_loader, monkeypatch):
    partition_loader.write_batch(row("A"), row("B"), row("C"))
    before = [content(partition_loader, table) for table in TABLES]
    for broken in range(6):
        numbers = itertools.count()

        def read(shelf, number, numbers=numbers, broken=broken):
            if next(numbers) == broken + 3:  # the first three are for the hash, the last derived of
                raise ZeroDivisionError
            return shelf[number]

        monkeypatch.setattr("tests.domains.weekly.Listed.get", read)
        with pytest.raises(ZeroDivisionError):
            partition_loader.write_batch(
                row("A", share_quantity=1), row("B"), row("D"), version="v2", ranges_of=1
            )
        assert [content(partition_loader, table) for table in TABLES] == before
        assert partition_loader.count(landings) == 1
