"""Daily prices as Dagster runs them, from a folder of files and from the demo."""

import shutil
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import delete, func, select, update

from orchestration_project.__main__ import main
from orchestration_project.assets.prices import LOAD_OP, SPECS
from orchestration_project.definitions import defs
from orchestration_project.domains.prices.calendar import sessions
from orchestration_project.domains.prices.tables import (
    prices_daily,
    prices_daily_history,
    prices_returns,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.work_items import NewItem
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.tables.spine import fences, landings, work_items
from tests import databases
from tests.domains.prices import csv, line
from tests.runs import executed, expect_failure, metadata_by_partition, observed_by, texts_of

FEBRUARY, MARCH = "2026-02-01", "2026-03-01"
DAYS = sessions(date(2026, 2, 1), date(2026, 3, 3))


@pytest.fixture
def url(demo_settings, prepared, set_clock, tmp_path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty database for real data, beside an empty folder of prices."""
    (tmp_path / "prices").mkdir()
    (tmp_path / "finra").mkdir()
    found = prepared.sqlite(tmp_path / "warehouse.sqlite")
    for name, value in {
        "DATABASE_URL": found,
        "FINRA_SOURCE": "files",
        "FINRA_FILES_DIR": f"{tmp_path}/finra",
        "PRICES_SOURCE": "files",
        "PRICES_FILES_DIR": f"{tmp_path}/prices",
        "PRICES_SYMBOLS": "AAA,BBB",
    }.items():
        monkeypatch.setenv(name, value)
    set_clock("2026-03-03T23:30:00+00:00")
    return found


def run(instance, job: str, *months: str, **config) -> dg.ExecuteInProcessResult:
    ends = {
        "dagster/asset_partition_range_start": months[:1],
        "dagster/asset_partition_range_end": months[-1:],
    }
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={"ops": {"prices_daily_load": {"config": config}}} if config else {},
        tags={tag: key for tag, keys in ends.items() for key in keys},
    )


def charted(instance, *symbols: str) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("prices_charts").execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={"ops": {"draw_prices": {"config": {"symbols": [*symbols]}}}},
    )


def test_a_backfill_says_where_there_is_no_month(url, instance, monkeypatch: pytest.MonkeyPatch):
    to_come = dg.MonthlyPartitionsDefinition("2100-01-01")
    monkeypatch.setattr("orchestration_project.assets.prices.backfill.MONTHS", to_come)
    refused = run(instance, "prices_backfill").failure_data_for_node("launch_prices_backfill")
    assert refused
    assert refused.error
    assert (
        "no month can be loaded: PRICES_FIRST_MONTH is in the future" in refused.error.to_string()
    )
    assert instance.get_backfills() == []


def test_more_months_than_are_known_are_refused_unless_that_is_meant(url, kept_instance):
    instance = kept_instance

    def requested(**config: Any) -> Any:
        ops = {"launch_prices_backfill": {"config": config}}
        return executed(instance, "prices_backfill", ops=ops)

    refused = requested(months=500, dry_run=False).failure_data_for_node("launch_prices_backfill")
    assert refused
    assert refused.error
    text = refused.error.to_string()
    assert "invalid months 500: expected at most " in text
    assert "set PRICES_FIRST_MONTH to an earlier day, or clip: true" in text
    assert instance.get_backfills() == []
    assert requested(months=500, clip=True, dry_run=False).success
    [backfill] = instance.get_backfills()
    assert backfill.tags["requested_range"] == "the latest 500 months"
    assert backfill.tags["loaded_range"].endswith(f" to {MARCH}")


@pytest.mark.slow
def test_months_are_loaded_by_symbol_and_reported_by_month(url, instance, tmp_path):
    # Two months load: one symbol has a file, the other is refused.
    (tmp_path / "prices" / "AAA.csv").write_bytes(csv(*map(line, DAYS)))
    result = run(instance, "prices_daily", FEBRUARY, MARCH)
    assert result.success
    for spec in SPECS:
        assert instance.get_materialized_partitions(spec.key) == {FEBRUARY, MARCH}
    metadata = metadata_by_partition(result)["daily"]
    counts = {month: metadata[month]["dagster/row_count"] for month in (FEBRUARY, MARCH)}
    assert counts == {FEBRUARY: 19, MARCH: 2}
    for month in (FEBRUARY, MARCH):
        assert (metadata[month]["symbols_landed"], metadata[month]["symbols_refused"]) == (1, 1)
        [waits] = metadata[month]["open_symbols"].records
        assert (waits.data["symbol"], waits.data["state"]) == ("BBB", "refused")
    outcomes = {
        evaluation.check_name: evaluation.passed
        for evaluation in result.get_asset_check_evaluations()
    }
    assert set(outcomes.values()) == {True}
    # Returns and charts are derived from them.
    assert run(instance, "prices_gold").success
    assert databases.rows(url, select(func.count()).select_from(prices_returns)) == [(20,)]
    drawn = metadata_by_partition(run(instance, "prices_charts"))["charts"][None]
    assert drawn["coverage_ratio"] == 21 / 120
    pictures = [drawn[name] for name in ("coverage", "chart_AAA")]
    assert all(picture.startswith("![") for picture in pictures)
    assert sum(map(len, pictures)) < 60_000
    assert "AAA_file" in drawn
    assert all("SYNTHETIC DATA" not in texts_of(picture) for picture in pictures)

    # A symbol with a day twice is quarantined; the other stays loaded.
    (tmp_path / "prices" / "BBB.csv").write_bytes(csv(line(DAYS[0]), line(DAYS[0])))
    held = run(instance, "prices_daily", FEBRUARY, full=True)
    assert not held.success
    said = expect_failure(held, "prices_daily_load")
    assert "1 of 2 symbols failed: BBB" in said
    assert "has_unique_days" in said
    assert (
        metadata_by_partition(held)["daily"][FEBRUARY]["symbols_landed"] == 1
    )  # what loaded is materialized
    checks = {
        evaluation.check_name: evaluation for evaluation in held.get_asset_check_evaluations()
    }
    unique = {name: value.value for name, value in checks["has_unique_days"].metadata.items()}
    assert unique["symbols_failed"] == 1
    assert unique["failed"] == "BBB"  # in the line that alerts quote
    loaded = select(prices_daily.c.symbol).distinct()
    assert databases.rows(url, loaded) == [("AAA",)]

    # A dividend of March replaces the adjusted closes of both months.
    dividend = [line(DAYS[-1], 9, dividend=1)]  # of March, it restates what is loaded of February
    (tmp_path / "prices" / "BBB.csv").unlink()
    (tmp_path / "prices" / "AAA.csv").write_bytes(
        csv(*(line(day, adjusted_close=9) for day in DAYS[:-1]), *dividend)
    )
    again = run(instance, "prices_daily", MARCH, full=True)
    assert again.success
    months = metadata_by_partition(again)["daily"]
    assert (months[FEBRUARY]["rows_replaced"], months[MARCH]["rows_replaced"]) == (19, 2)
    assert set(metadata_by_partition(again)["symbol_months"]) == {FEBRUARY, MARCH}


@pytest.mark.slow
def test_a_symbol_is_left_to_another_run_until_that_has_ended_and_then_loaded(
    url, instance, tmp_path
):
    for symbol in ("AAA", "BBB"):
        (tmp_path / "prices" / f"{symbol}.csv").write_bytes(csv(*map(line, DAYS)))
    other = instance.create_run_for_job(defs.resolve_job_def("prices_daily"))
    clock = Clock(datetime(2026, 3, 3, 23, 30, tzinfo=UTC))
    with Warehouse(url, clock=clock) as warehouse:
        WorkItems(warehouse, clock).claim_named(
            "prices_symbols",
            [NewItem("AAA|2026-02-01|2026-03-01", "2026-03-03 files")],
            run_id=other.run_id,
            until=clock.now() + timedelta(hours=1),
            is_under_way=lambda _: True,
        )
    result = run(instance, "prices_daily", FEBRUARY, MARCH)
    assert result.success
    metadata = metadata_by_partition(result)["daily"]
    for month in (FEBRUARY, MARCH):
        assert (metadata[month]["symbols_landed"], metadata[month]["symbols_waiting"]) == (1, 1)
        [waits] = metadata[month]["open_symbols"].records
        assert waits.data["reason"] == f"the run {other.run_id} loads it"
    instance.report_run_canceled(other)
    metadata = metadata_by_partition(run(instance, "prices_daily", FEBRUARY, MARCH))["daily"]
    assert [metadata[month]["symbols_landed"] for month in (FEBRUARY, MARCH)] == [2, 2]
    items = select(work_items.c.item_key, work_items.c.state, work_items.c.attempt_count)
    assert databases.rows(url, items.order_by(work_items.c.item_key)) == [
        ("AAA|2026-02-01|2026-03-01", "done", 2),
        ("BBB|2026-02-01|2026-03-01", "done", 2),  # a file is compared by each run
    ]


@pytest.mark.slow
def test_prices_are_late_once_some_are_loaded_and_a_wanted_symbol_lacks_a_due_session(
    url, instance, tmp_path
):
    def freshness() -> dg.AssetCheckEvaluation:
        [found] = run(instance, "prices_freshness").get_asset_check_evaluations()
        return found

    assert freshness().passed  # nothing was ever loaded, so nothing is expected
    for symbol in ("AAA", "BBB"):
        (tmp_path / "prices" / f"{symbol}.csv").write_bytes(csv(*map(line, DAYS)))
    assert run(instance, "prices_daily", FEBRUARY, MARCH).success
    assert freshness().passed
    (tmp_path / "prices" / "CCC.csv").write_bytes(csv(line(DAYS[0])))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PRICES_SYMBOLS", "AAA,BBB,CCC")
        assert run(instance, "prices_daily", FEBRUARY, MARCH).success
        late = freshness()
    assert not late.passed
    assert late.metadata["oldest_month"].value == FEBRUARY
    assert late.metadata["what_to_do"].value == f"run prices_daily for {FEBRUARY}"


def test_a_run_whose_source_lags_when_a_month_begins_succeeds_and_makes_the_others(
    url, instance, tmp_path
):
    for symbol in ("AAA", "BBB"):
        (tmp_path / "prices" / f"{symbol}.csv").write_bytes(csv(*map(line, DAYS[:-2])))
    result = run(instance, "prices_daily", FEBRUARY, MARCH)
    assert result.success
    assert metadata_by_partition(result)["daily"][FEBRUARY]["symbols_landed"] == 2
    waits = observed_by(result)["daily"][MARCH]
    assert (waits["outcome"], waits["symbols_waiting"]) == ("no data", 2)
    for spec in SPECS:
        assert instance.get_materialized_partitions(spec.key) == {FEBRUARY}


@pytest.mark.slow
def test_a_chart_is_of_the_symbols_that_a_run_names(url, instance, tmp_path):
    for symbol in ("AAA", "BBB"):
        (tmp_path / "prices" / f"{symbol}.csv").write_bytes(csv(*map(line, DAYS)))
    assert run(instance, "prices_daily", MARCH).success
    drawn = metadata_by_partition(charted(instance, "BBB", "BBB"))["charts"][None]
    assert [name for name in drawn if name.endswith("_file")] == ["coverage_file", "BBB_file"]
    assert drawn["coverage_ratio"] == 0.0333
    refused = charted(instance, "BBB", "CCC").failure_data_for_node("draw_prices")
    assert refused
    assert refused.error
    assert refused.error.cause
    assert "no prices are loaded of CCC" in refused.error.cause.message


@pytest.mark.slow
def test_a_replay_needs_no_source_and_writes_nothing_by_the_same_rules(
    url, instance, tmp_path, monkeypatch: pytest.MonkeyPatch, capfd
):
    for symbol in ("AAA", "BBB"):
        (tmp_path / "prices" / f"{symbol}.csv").write_bytes(csv(*map(line, DAYS)))
    assert run(instance, "prices_daily", FEBRUARY, MARCH).success
    before = databases.contents(url)
    shutil.rmtree(tmp_path / "prices")
    monkeypatch.delenv("PRICES_SOURCE")
    metadata = metadata_by_partition(run(instance, "prices_daily", FEBRUARY, MARCH, replay=True))[
        "daily"
    ]
    assert [metadata[month]["symbols_unchanged"] for month in (FEBRUARY, MARCH)] == [2, 2]
    assert (metadata[MARCH]["source"], metadata[MARCH]["dagster/row_count"]) == ("files", 4)
    refused = run(instance, "prices_daily", FEBRUARY, replay=True, full=True)
    assert "invalid full: expected no option of a load in a replay" in expect_failure(
        refused, LOAD_OP
    )
    refused = run(instance, "prices_daily", FEBRUARY, symbols=["AAA"])
    assert "invalid symbols: expected no option of a replay" in expect_failure(refused, LOAD_OP)
    assert main(["replay", "--table", "prices_daily", "BBB"]) == 0
    said = capfd.readouterr().out
    assert "[ 1/1] BBB: unchanged" in said
    assert "1 of 1 symbols: unchanged, nothing was written" in said
    assert databases.contents(url) == before


@pytest.mark.slow
def test_a_month_that_a_replay_changes_beyond_its_own_names_the_recorded_source(
    url, instance, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "prices" / "AAA.csv").write_bytes(csv(*map(line, DAYS)))
    assert run(instance, "prices_daily", FEBRUARY, MARCH).success
    with Warehouse(url, clock=Clock()) as warehouse, warehouse.writing() as connection:
        connection.execute(delete(prices_daily).where(prices_daily.c.trade_date == DAYS[0]))
        connection.execute(update(landings).values(rule_version="older"))
        connection.execute(update(fences).values(landed_rule_version="older"))
    monkeypatch.delenv("PRICES_SOURCE")  # no other source is set
    result = run(instance, "prices_daily", MARCH, replay=True)
    assert result.success
    metadata = metadata_by_partition(result)["daily"]
    assert {month: value["source"] for month, value in metadata.items()} == {
        FEBRUARY: "files",
        MARCH: "files",
    }
    assert (metadata[FEBRUARY]["symbols_restated"], metadata[FEBRUARY]["rows_written"]) == (1, 1)


@pytest.mark.slow
def test_a_replay_leaves_out_months_of_which_nothing_was_kept(url, instance, tmp_path):
    (tmp_path / "prices" / "AAA.csv").write_bytes(csv(*map(line, DAYS)))
    assert run(instance, "prices_daily", FEBRUARY).success
    result = run(instance, "prices_daily", FEBRUARY, MARCH, replay=True)
    assert result.success
    assert list(metadata_by_partition(result)["daily"]) == [FEBRUARY]


@pytest.mark.slow
def test_a_command_replays_all_symbols_or_one_delivery_and_says_what_there_is_not(
    url, instance, tmp_path, capfd
):
    for symbol in ("AAA", "BBB"):
        (tmp_path / "prices" / f"{symbol}.csv").write_bytes(csv(*map(line, DAYS)))
    assert run(instance, "prices_daily", FEBRUARY).success
    before = databases.contents(url)
    for options, said in {
        "--table prices_daily --all": "[ 2/2] BBB: unchanged",
        "--group prices_daily:AAA#1": "[ 1/1] AAA: unchanged",
    }.items():
        assert main(["replay", *options.split()]) == 0
        assert said in capfd.readouterr().out
    for options, said in {
        "--table prices_daily CCC": "CCC has no delivery to replay",
        "--group prices_daily:AAA#2": "AAA has no delivery to replay",
        "--group prices_returns:AAA#1": "a delivery of prices_returns cannot be replayed",
        "--table finra_treasury_weekly --all": "there is nothing to replay",
    }.items():
        assert main(["replay", *options.split()]) == 1
        assert said in "".join(capfd.readouterr())
    assert databases.contents(url) == before


@pytest.mark.slow
def test_a_replaced_file_of_a_closed_month_is_read_again_by_a_load(url, instance, tmp_path):
    (tmp_path / "prices" / "AAA.csv").write_bytes(csv(*(line(day, 400) for day in DAYS)))
    assert run(instance, "prices_daily", FEBRUARY).success
    (tmp_path / "prices" / "AAA.csv").write_bytes(csv(*(line(day, 100) for day in DAYS)))
    replaced = metadata_by_partition(run(instance, "prices_daily", FEBRUARY))["daily"][FEBRUARY]
    assert (replaced["outcome"], replaced["rows_replaced"]) == ("loaded", 19)
    assert replaced["symbols_not_asked"] == 0
    assert databases.rows(url, select(prices_daily.c.close).distinct()) == [(100_000_000,)]
    history = prices_daily_history.c.close
    assert databases.rows(url, select(history).distinct()) == [(400_000_000,)]
    same = metadata_by_partition(run(instance, "prices_daily", FEBRUARY))["daily"][FEBRUARY]
    assert (same["outcome"], same["symbols_unchanged"]) == ("unchanged", 1)
