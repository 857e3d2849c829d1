"""Tables derived across weeks and tiers, as Dagster runs it, over the real demo source."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import Boolean, func, select

from orchestration_project.assets.finra import catalogue
from orchestration_project.definitions import defs
from orchestration_project.domains.finra.tables.weekly import (
    finra_concentration_week,
    finra_otc_weekly,
    finra_symbol_rolling_6w,
    finra_symbol_week,
    finra_tier_week,
)
from orchestration_project.tables.spine import balances
from tests import databases
from tests.assets.conftest import BOTH
from tests.expecting import expect_success
from tests.runs import expect_failure, metadata_by_partition

RESTATED = date(2026, 1, 12)
"""A week of T1 that the demo restates on 2026-03-10."""

AFTER_IT = "2026-03-12T15:00:00+00:00"


def t1(week: date) -> str:
    return f"T1|{week}"


def run(instance, job: str, first: str, last: str | None = None) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags={
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last or first,
        },
    )


def load(instance, first: str, last: str | None = None) -> None:
    expect_success(run(instance, "finra_otc_weekly", first, last))


def derive(instance, first: str, last: str | None = None) -> dg.ExecuteInProcessResult:
    return expect_success(run(instance, "finra_gold", first, last))


def of_week(url, table, week: date) -> databases.Rows:
    return databases.rows(
        url, select(table).where(table.c.week_start == week).order_by(*table.primary_key.columns)
    )


@pytest.mark.slow
@BOTH
def test_a_range_derives_a_row_for_each_symbol_of_each_week(url, instance):
    first, last = RESTATED, RESTATED + timedelta(weeks=2)
    load(instance, t1(first), t1(last))
    derive(instance, t1(first), t1(last))
    keys = ("week_start", "tier", "symbol")
    symbols = databases.rows(url, select(*(finra_symbol_week.c[name] for name in keys)))
    for table in (finra_symbol_rolling_6w, finra_concentration_week):
        derived = databases.rows(url, select(*(table.c[name] for name in keys)))
        assert sorted(derived) == sorted(symbols)
    windows = finra_symbol_rolling_6w.c
    assert databases.rows(
        url,
        select(windows.week_start, func.max(windows.weeks_in_window))
        .group_by(windows.week_start)
        .order_by(windows.week_start),
    ) == [(first + timedelta(weeks=weeks), weeks + 1) for weeks in range(3)]
    assert databases.rows(url, select(windows.is_complete).distinct()) == [(False,)]
    changes = finra_concentration_week.c
    assert databases.rows(
        url, select(changes.week_start).where(changes.hhi_upper_change.is_not(None)).distinct()
    ) == [(first + timedelta(weeks=1),), (last,)]


@pytest.mark.slow
@BOTH
def test_six_loaded_weeks_make_a_window_complete(url, instance):
    first, last = RESTATED - timedelta(weeks=5), RESTATED
    load(instance, t1(first), t1(last))
    derive(instance, t1(last))
    windows = finra_symbol_rolling_6w.c
    assert databases.rows(url, select(windows.week_start, windows.is_complete).distinct()) == [
        (last, True)
    ]
    assert databases.rows(url, select(func.max(windows.weeks_in_window))) == [(6,)]


@pytest.mark.slow
@BOTH
def test_running_it_twice_changes_nothing_and_says_so(url, instance):
    load(instance, t1(RESTATED))
    first = metadata_by_partition(derive(instance, t1(RESTATED)))
    before = databases.contents(url)
    metadata = metadata_by_partition(derive(instance, t1(RESTATED)))
    assert databases.contents(url) == before
    for asset in ("symbol_rolling_6w", "concentration_week"):
        assert metadata[asset][t1(RESTATED)]["outcome"] == "unchanged"
        assert metadata[asset][t1(RESTATED)]["recomputed_weeks"] == "none"
        assert metadata[asset][t1(RESTATED)]["dagster/row_count"] > 0
        assert metadata[asset][t1(RESTATED)]["largest"] == first[asset][t1(RESTATED)]["largest"]
    row = balances.c
    of_runs = (row.equation == "partitions", row.table_name == finra_symbol_rolling_6w.name)
    ended = select(row.came_in, row.went_to).where(*of_runs).order_by(row.went_to)
    assert databases.rows(url, ended) == [(1, '{"loaded": 1}'), (1, '{"unchanged": 1}')]


@pytest.mark.slow
def test_what_was_derived_shows_the_symbols_with_most_shares(url, instance):
    load(instance, t1(RESTATED))
    metadata = metadata_by_partition(derive(instance, t1(RESTATED)))
    weeks = finra_symbol_week.c
    largest = select(weeks.symbol).order_by(weeks.total_share_quantity.desc()).limit(10)
    for asset in ("symbol_rolling_6w", "concentration_week"):
        rows = metadata[asset][t1(RESTATED)]["largest"].records
        assert [(row.data["symbol"],) for row in rows] == databases.rows(url, largest)


@pytest.mark.slow
@BOTH
def test_a_restated_week_updates_its_dependents_and_nothing_else(url, instance, set_clock):
    before, first, last = (RESTATED + timedelta(weeks=weeks) for weeks in (-1, 0, 2))
    load(instance, t1(before), t1(last))
    derive(instance, t1(before), t1(last))
    tables = (finra_symbol_rolling_6w, finra_concentration_week)
    weeks = [before + timedelta(weeks=weeks) for weeks in range(4)]
    old = {(table, week): of_week(url, table, week) for table in tables for week in weeks}

    set_clock(AFTER_IT)
    load(instance, t1(first))
    result = derive(instance, t1(first))
    metadata = metadata_by_partition(result)
    dependents = [t1(week) for week in weeks[1:]]
    assert metadata["symbol_rolling_6w"][t1(first)]["recomputed_weeks"] == ", ".join(dependents)
    assert metadata["concentration_week"][t1(first)]["recomputed_weeks"] == ", ".join(
        dependents[:2]
    )
    assert metadata["symbol_rolling_6w"][t1(last)]["outcome"] == f"derived: {t1(first)} changed"
    counts = {
        key: value["recomputed_week_count"] for key, value in metadata["symbol_rolling_6w"].items()
    }
    assert counts == {t1(first): 3, **dict.fromkeys(dependents[1:], 1)}
    assert set(metadata["symbol_rolling_6w"]) == set(dependents)
    now = {(table, week): of_week(url, table, week) for table in tables for week in weeks}
    rolling, concentration = tables
    changed = {place for place in old if old[place] != now[place]}
    assert changed == {
        *((rolling, week) for week in weeks[1:]),
        *((concentration, week) for week in weeks[1:3]),
    }

    derived = {table: databases.rows(url, select(table)) for table in tables}
    again = metadata_by_partition(derive(instance, t1(before), t1(last)))
    assert {value["outcome"] for of in again.values() for value in of.values()} == {"unchanged"}
    assert {table: databases.rows(url, select(table)) for table in tables} == derived


@pytest.mark.slow
def test_a_restatement_of_dates_alone_marks_derived_rows_stale_and_updates_their_dates(
    url, instance, set_clock
):
    partition, rows = "OTCE|2025-12-22", finra_concentration_week.c
    latest = select(func.max(rows.published_at), func.max(rows.is_stale, type_=Boolean))
    load(instance, partition)
    derive(instance, partition)
    assert databases.rows(url, latest) == [(datetime(2026, 1, 26, tzinfo=UTC), False)]
    set_clock(AFTER_IT)
    load(instance, partition)
    assert databases.rows(url, latest) == [(datetime(2026, 1, 26, tzinfo=UTC), True)]
    derive(instance, partition)
    assert databases.rows(url, latest) == [(datetime(2026, 3, 11, tzinfo=UTC), False)]


def test_one_of_the_two_assets_of_a_step_is_derived_alone_if_it_alone_is_asked_for(url, instance):
    load(instance, t1(RESTATED))
    job = defs.resolve_job_def("finra_gold")
    for asset, of, rest in (
        (catalogue.CONCENTRATION_WEEK, finra_concentration_week, finra_symbol_rolling_6w),
        (catalogue.SYMBOL_ROLLING_6W, finra_symbol_rolling_6w, finra_concentration_week),
    ):
        before = of_week(url, rest, RESTATED)
        result = job.execute_in_process(
            instance=instance, partition_key=t1(RESTATED), asset_selection=[asset]
        )
        assert set(metadata_by_partition(result)) == {asset.path[-1]}
        assert of_week(url, of, RESTATED) != []
        assert of_week(url, rest, RESTATED) == before


@pytest.mark.slow
def test_a_week_not_loaded_is_refused_and_others_are_derived(url, instance):
    load(instance, t1(RESTATED))
    missing = t1(RESTATED + timedelta(weeks=1))
    result = run(instance, "finra_gold", t1(RESTATED), missing)
    assert not result.success
    said = expect_failure(result, "derive_finra_across_weeks")
    assert f"{missing} cannot be derived" in said
    assert f"found: not loaded: {missing}" in said
    assert "what to do: load that first, by the job finra_otc_weekly" in said
    for asset in (catalogue.SYMBOL_ROLLING_6W, catalogue.CONCENTRATION_WEEK):
        assert instance.get_materialized_partitions(asset) == {t1(RESTATED)}


@pytest.mark.slow
@BOTH
def test_the_tiers_of_a_week_are_derived_once_all_are_loaded(url, instance):
    week = date(2026, 1, 26)
    load(instance, f"T1|{week}")
    load(instance, f"OTCE|{week}")
    result = run(instance, "finra_tier_week", str(week))
    assert not result.success
    assert f"found: not loaded: T2|{week}" in expect_failure(result, "derive_finra_tier_week")
    assert of_week(url, finra_tier_week, week) == []

    load(instance, f"T2|{week}")
    assert run(instance, "finra_tier_week", str(week)).success
    assert instance.get_materialized_partitions(catalogue.TIER_WEEK) == {str(week)}
    source = finra_otc_weekly.c
    expected = databases.rows(
        url,
        select(
            source.tier,
            func.sum(source.share_quantity),
            func.sum(source.trade_count),
            func.count(),
            func.count(source.symbol.distinct()),
            func.count(source.venue_id.distinct()).filter(source.venue_id != "CRD:0"),
        )
        .group_by(source.tier)
        .order_by(source.tier),
    )
    rows = of_week(url, finra_tier_week, week)
    assert [row[1:7] for row in rows] == expected
    total = sum(row[2] for row in rows)
    assert [row[7] for row in rows] == [pytest.approx(float(row[2] / total)) for row in rows]


@pytest.mark.slow
@BOTH
def test_what_is_derived_before_a_defect_is_materialized(url, instance):
    first, last = t1(RESTATED), t1(RESTATED + timedelta(weeks=2))
    load(instance, first, last)
    databases.forbid_two_weeks(url, finra_symbol_rolling_6w.name, "tier", "symbol")
    result = run(instance, "finra_gold", first, last)
    assert not result.success
    assert instance.get_materialized_partitions(catalogue.SYMBOL_ROLLING_6W) == {first}
    failure = result.failure_data_for_node("derive_finra_across_weeks")
    assert failure
    assert failure.error
    assert f"where: partition={t1(RESTATED + timedelta(weeks=1))}" in failure.error.to_string()


def test_a_database_that_does_not_answer_is_named_with_what_was_to_be_derived(
    instance, demo_settings, monkeypatch
):
    monkeypatch.setenv("DATABASE_URL", "postgresql://me@127.0.0.1:9/none")
    result = run(instance, "finra_tier_week", "2026-01-19")
    assert not result.success
    assert len([event for event in result.all_events if event.is_step_up_for_retry]) == 1
    said = expect_failure(result, "derive_finra_tier_week")
    assets = "finra/tier_week, finra/venue_week_all_tiers"
    assert f"assets={assets}, partitions=2026-01-19, run={result.run_id}" in said
