"""The `as-of` command: what was known at a time equals what was loaded by then."""

import itertools
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from orchestration_project.__main__ import main
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.tables.schema import key_names
from tests.commands import run_without_failure
from tests.properties import bounded
from tests.resources.weeks import MONDAY, NOON, PartitionLoader, row

MICROSECOND = timedelta(microseconds=1)
OTHER_WEEKS = itertools.count(1)

amounts = st.integers(1, 3)
updates = st.sampled_from([date(2025, 12, 1), date(2026, 2, 2)])
deliveries = st.dictionaries(st.sampled_from("ABCD"), st.tuples(amounts, updates), max_size=4)
histories = st.lists(st.tuples(deliveries, st.integers(0, 2)), min_size=1, max_size=5)


def known(file, at, *options) -> pl.DataFrame:
    """Return the weekly table as the command says that it was known."""
    arguments = ["--at", at.isoformat(), "--format", "parquet", "--output", str(file), "--force"]
    run_without_failure("as-of", "finra_otc_weekly", *arguments, *options)
    return pl.read_parquet(file)


def published(partition_loader) -> pl.DataFrame:
    """Return the partition's rows as they are now."""
    table = finra_otc_weekly
    own = select(table).where(table.c.week_start == partition_loader.week_start)
    keys = [table.c[name] for name in key_names(table)]
    return partition_loader.warehouse.frame(own.order_by(*keys), table)


@pytest.mark.slow
@given(history=histories)
@settings(bounded, max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_known_at_a_time_is_what_was_loaded_by_then(
    partition_loader, clock, tmp_path, history
):
    week = PartitionLoader(
        partition_loader.warehouse,
        tmp_path / "artifacts",
        week_start=MONDAY + timedelta(7 * next(OTHER_WEEKS)),
    )
    states = [(NOON - timedelta(days=9), published(week))]
    for version, (delivered, days_passed) in enumerate(history):
        clock.at += timedelta(days_passed)
        loaded = week.write_batch(
            *(
                row(symbol, share_quantity=shares, last_update_date=updated)
                for symbol, (shares, updated) in delivered.items()
            ),
            version=str(version),
        )
        states.append((loaded.known_from, published(week)))
    own = ["--where", f"week_start={week.week_start}"]
    for (_, before), (at, after) in itertools.pairwise(states):
        assert known(tmp_path / "known.parquet", at - MICROSECOND, *own).equals(before)
        assert known(tmp_path / "known.parquet", at, *own).equals(after)
    assert known(tmp_path / "known.parquet", clock.at + timedelta(1), *own).equals(published(week))


@pytest.mark.slow
def test_what_was_known_is_written_as_csv_too_with_conditions_and_columns(
    partition_loader, clock, capfd
):
    partition_loader.write_batch(row("AAA"), row("BBB"))
    clock.at = NOON + timedelta(days=7)
    partition_loader.write_batch(row("AAA", share_quantity=150), row("CCC"), version="v2")
    chosen = ["--columns", "symbol,share_quantity", "--where", "symbol<CCC"]
    assert main(["as-of", "finra_otc_weekly", "--at", "2026-01-06T00:00:00Z", *chosen]) == 0
    output, error = capfd.readouterr()
    assert output == "symbol,share_quantity\r\nAAA,100.000000\r\nBBB,100.000000\r\n"
    assert error == "finra_otc_weekly: 2 rows, 55 bytes to standard output\n"


@pytest.mark.slow
def test_a_time_before_the_first_load_is_reported_as_such(partition_loader, capfd):
    loaded = partition_loader.write_batch(row())
    before, since = NOON - timedelta(days=1), loaded.known_from + timedelta(days=1)
    assert main(["as-of", "finra_otc_weekly", "--at", before.isoformat()]) == 0
    said = f"nothing was loaded by then; the first load was at {loaded.known_from.isoformat()}"
    assert said in capfd.readouterr().err
    nothing = ["--where", "symbol=ZZZ"]
    assert main(["as-of", "finra_otc_weekly", "--at", since.isoformat(), *nothing]) == 0
    assert "nothing was loaded" not in capfd.readouterr().err


@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    ("table", "at", "message"),
    [
        (
            "finra_otc_weekly",
            "2026-01-05",
            "invalid --at '2026-01-05': expected an ISO time with its zone",
        ),
        ("finra_otc_weekly", "yesterday", "expected an ISO time with its zone"),
        (
            "finra_otc_weekly",
            "0001-01-01T00:00:00+14:00",
            "invalid --at '0001-01-01T00:00:00+14:00'",
        ),
        ("finra_venue_week", "2026-01-05T00:00:00Z", "finra_venue_week keeps no history"),
        (
            "finra_venue_week",
            "2026-01-05T00:00:00Z",
            "one of documents_pages, events_webhooks, fact_bond_trade_activity",
        ),
        ("v_finra_otc_weekly", "2026-01-05T00:00:00Z", "v_finra_otc_weekly keeps no history"),
        ("v_finra_otc_weekly", "2026-01-05T00:00:00Z", "did you mean finra_otc_weekly?"),
        ("nothing", "2026-01-05T00:00:00Z", "table or view not found: 'nothing'"),
    ],
)
def test_what_cannot_be_known_is_a_clear_message(partition_loader, capfd, table, at, message):
    assert main(["as-of", table, "--at", at]) == (2 if table == "nothing" else 1)
    output, error = capfd.readouterr()
    assert output == ""
    assert message in error
