"""Declared datasets as Dagster runs them, over the real demo source."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import func, select

from orchestration_project.__main__ import main
from orchestration_project.assets.finra import DATASET_ASSETS, FRESHNESS_CHECKS
from orchestration_project.definitions import defs
from orchestration_project.domains.finra.datasets import (
    BOND_TRADE_ACTIVITY,
    TREASURY_DAILY,
    TREASURY_MONTHLY,
    TREASURY_WEEKLY,
)
from orchestration_project.domains.finra.equity_datasets import (
    OTC_MONTHLY,
    REG_SHO_DAILY,
    SHORT_INTEREST,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.simulator import stop_demos
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.sensors.finra import DATASET_SENSORS
from orchestration_project.services.status import read_late_datasets
from orchestration_project.settings import Settings, load_settings
from orchestration_project.tables.spine import captures, landings, rejects
from tests import databases
from tests.prepared import write_default
from tests.programs import DEMO
from tests.resources.definitions import RESOURCES
from tests.runs import expect_failure, metadata_by_partition, observed_by, part_of_daily

SENSORS = {
    dataset_sensor.name.removeprefix("finra_on_"): dataset_sensor
    for dataset_sensor in DATASET_SENSORS
}
ASSETS = {asset.dataset.noun: asset for asset in DATASET_ASSETS}
TWO_WEEKS_LATER = "2026-03-16T15:00:00+00:00"
NEWEST_BONDS = "T1|2026-02-20"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of one demo source for all of these tests: their datasets do not meet."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in DEMO.items():
            environment.setenv(name, value)
        environment.setenv("STATE_DIR", str(tmp_path_factory.mktemp("datasets") / "state"))
        yield write_default(load_settings())
        stop_demos(load_settings())


def load(instance: dg.DagsterInstance, noun: str, first: str, last: str = "", **config: Any):
    """Run a dataset's job for a partition, or for a range of them."""
    tags = (
        {"dagster/partition": first}
        if not last
        else {
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        }
    )
    return defs.resolve_job_def(f"finra_{noun}").execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags=tags,
        run_config={"ops": {f"finra_{noun}_load": {"config": config}}},
    )


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {
        evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()
    }


def tick(instance: dg.DagsterInstance, noun: str) -> tuple[list[str], str]:
    """Return the partitions that a look requests, and what it says where it requests none."""
    with dg.build_resources(RESOURCES, instance) as made:
        sensor = SENSORS[noun]
        resources = {
            name: value
            for name, value in made._asdict().items()
            if name in sensor.required_resource_keys
        }
        context = dg.build_sensor_context(
            instance=instance, resources=resources, repository_def=defs.get_repository_def()
        )
        found = sensor.evaluate_tick(context)
    requested = [str(run_request.partition_key) for run_request in found.run_requests or ()]
    return requested, found.skip_message or ""


def numbers_of(metadata: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if isinstance(value, int | float)}


def rows(url: str, *columns: Any) -> list[tuple[Any, ...]]:
    return databases.rows(url, select(*columns))


@pytest.mark.parametrize("made", DATASET_ASSETS, ids=lambda made: made.dataset.noun)
def test_each_declaration_has_an_asset_a_source_checks_a_job_and_a_sensor(made):
    job = defs.resolve_job_def(f"finra_{made.dataset.noun}")
    assert {key.to_user_string() for key in job.asset_layer.asset_graph.executable_asset_keys} == {
        f"finra/{made.dataset.noun}"
    }
    names = {key.name for key in job.asset_layer.asset_graph.asset_check_keys}
    assert {"has_rows", "has_unique_keys", "has_the_fields_that_we_know"} < names
    assert {claim.name for claim in made.dataset.contract.claims} < names
    assert "is_as_new_as_the_calendar" not in names
    is_over = made.dataset.noun == "treasury_weekly"
    assert is_over or SENSORS[made.dataset.noun].job_name == job.name
    assert made.source.metadata["licence"] == made.dataset.licence


@pytest.mark.slow
def test_weeks_still_listed_are_loaded_once_and_discontinued(settings, instance, capfd):
    url = databases.sqlite_url(settings.state_path)
    assert "treasury_weekly" not in SENSORS
    result = load(instance, "treasury_weekly", "2023-01-23", "2023-02-06")
    assert result.success
    metadata = metadata_by_partition(result)["treasury_weekly"]
    assert set(metadata) == {"2023-01-23", "2023-01-30", "2023-02-06"}
    freshness = checks_of(result)["is_as_new_as_the_calendar"]
    assert (freshness.passed, freshness.metadata["partitions_landed"].value) == (True, 3)
    assert "discontinued: the last partition is of 2023-02-06" in str(freshness.description)
    assert freshness.metadata["days_late"].value == 0
    table = TREASURY_WEEKLY.table
    assert rows(url, func.count(table.c.week_start)) == [(3 * 14,)]
    newest = metadata["2023-02-06"]
    assert (newest["dagster/row_count"], newest["outcome"]) == (14, "first")
    checks = checks_of(result)
    assert [name for name, check in checks.items() if not check.passed] == []
    assert "has_the_fields_that_we_know" in checks
    kept = [func.count(captures.c.capture_id), func.count(landings.c.group_id)]
    before = [rows(url, each) for each in kept]
    again = metadata_by_partition(load(instance, "treasury_weekly", "2023-02-06"))[
        "treasury_weekly"
    ]
    assert again["2023-02-06"]["outcome"] == "unchanged"
    assert [rows(url, each) for each in kept] == before
    as_it_is = databases.contents(url)
    assert main(["replay", "--table", table.name, "2023-02-06", "2023-01-30"]) == 0
    assert "2 of 2 partitions: unchanged, nothing was written" in capfd.readouterr().out
    assert databases.contents(url) == as_it_is
    refused = load(instance, "treasury_weekly", "2023-02-06", allow_older=True)
    said = expect_failure(refused, "finra_treasury_weekly_load")
    assert "invalid allow_older: expected no option of a replay in a load" in said
    marks = {"outcome": "unchanged", "landed_by": result.run_id}
    assert again["2023-02-06"] == newest | marks
    later = load(instance, "treasury_weekly", "2023-02-13")
    assert "found: a day after 2023-02-06, the last partition" in expect_failure(
        later, "finra_treasury_weekly_load"
    )
    assert (
        read_late_datasets([ASSETS["treasury_weekly"].dataset], *opened_at(TWO_WEEKS_LATER)) == []
    )


@pytest.mark.slow
def test_days_and_months_of_treasuries_are_asked_for_and_a_month_is_named_by_its_first_day(
    settings, instance, monkeypatch: pytest.MonkeyPatch
):
    url = databases.sqlite_url(settings.state_path)
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "1")
    days = ["2026-02-23", "2026-02-24", "2026-02-25", "2026-02-26", "2026-02-27"]
    assert tick(instance, "treasury_daily")[0] == days[::-1]
    result = load(instance, "treasury_daily", days[0], days[-1])
    assert [name for name, value in checks_of(result).items() if not value.passed] == []
    requested, said = tick(instance, "treasury_daily")
    assert requested == []
    assert (
        "of those in the horizon 0 were never taken; of the latest 4 that were, 0 changed." in said
    )
    day = TREASURY_DAILY.table.c
    with_price = select(day.product_category).where(day.vwap.is_(None)).distinct()
    assert databases.rows(url, with_price) == [("Bills",)]
    bills = select(day.ats_interdealer_volume).where(day.product_category == "Bills")
    assert all(100_000_000 < volume < 300_000_000 for (volume,) in databases.rows(url, bills))
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "12")
    assert tick(instance, "treasury_monthly")[0] == ["2026-01-01"]
    month = metadata_by_partition(load(instance, "treasury_monthly", "2026-01-01"))
    assert month["treasury_monthly"]["2026-01-01"]["dagster/row_count"] == 14
    categories = select(TREASURY_MONTHLY.table.c.product_category).distinct()
    assert {text for (text,) in databases.rows(url, categories)} == {
        *("Bills", "FRNs", "Nominal Coupons", "TIPS")
    }
    refused = load(instance, "treasury_monthly", "2026-01-02")
    assert "expected: <a past day 1 of a month, yyyy-mm-dd>" in expect_failure(
        refused, "finra_treasury_monthly_load"
    )


@pytest.mark.slow
def test_a_dataset_is_late_when_nothing_newer_is_loaded(settings, instance, monkeypatch):
    load(instance, "treasury_monthly", "2026-01-01")
    late = {}
    for now in (
        "2026-03-19T15:59:00+00:00",
        "2026-03-19T16:00:00+00:00",
        "2026-05-20T15:00:00+00:00",
    ):
        monkeypatch.setenv("DEMO_CLOCK_NOW", now)
        late[now[:16]] = days_late(instance)["treasury_monthly"]
    # February is due on March 18th, 36 hours after the midnight that begins it
    assert late == {"2026-03-19T15:59": 0, "2026-03-19T16:00": 1, "2026-05-20T15:00": 63}
    [missing] = read_late_datasets(
        [ASSETS["treasury_monthly"].dataset], *opened_at("2026-05-20T15:00:00+00:00")
    )
    found = (missing.asset, missing.partition, missing.missing_count)
    assert found == ("finra/treasury_monthly", "2026-02-01", 3)


def opened_at(now: str) -> tuple[Settings, Warehouse, Clock]:
    settings = load_settings()
    return settings, open_warehouse(settings), Clock(datetime.fromisoformat(now))


def days_late(instance: dg.DagsterInstance) -> dict[str, Any]:
    """Return for how long something newer than what is loaded of each dataset is overdue."""
    checks = [spec.key for check in FRESHNESS_CHECKS for spec in check.check_specs]
    result = part_of_daily("finra", *checks).execute_in_process(instance=instance)
    return {
        evaluation.asset_key.path[-1]: evaluation.metadata["days_late"].value
        for evaluation in result.get_asset_check_evaluations()
        if "days_late" in evaluation.metadata
    }


@pytest.mark.slow
def test_bonds_are_followed_over_pages_and_corrections_and_a_bad_cusip_is_rejected(
    settings, instance, monkeypatch: pytest.MonkeyPatch
):
    url = databases.sqlite_url(settings.state_path)
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "2")
    requested, _ = tick(instance, "bond_trade_activity")
    assert requested == ["T2|2026-02-20", NEWEST_BONDS, "OTCE|2026-02-20"]
    first = metadata_by_partition(load(instance, "bond_trade_activity", NEWEST_BONDS))[
        "bond_trade_activity"
    ]
    metadata = first[NEWEST_BONDS]
    assert (metadata["dagster/row_count"], metadata["rejects"]) == (5199, 1)
    assert metadata["captures"] > 1
    assert rows(url, rejects.c.table_name, rejects.c.reason_code) == [
        ("fact_bond_trade_activity", "not_a_cusip")
    ]
    with dg.DagsterInstance.ephemeral() as another:
        again = load(another, "bond_trade_activity", NEWEST_BONDS)
    unchanged = metadata_by_partition(again)["bond_trade_activity"][NEWEST_BONDS]
    assert (
        unchanged.items()
        >= {**numbers_of(metadata), "outcome": "unchanged", "seconds": 0.0}.items()
    )
    assert tick(instance, "bond_trade_activity")[0] == ["T2|2026-02-20", "OTCE|2026-02-20"]
    monkeypatch.setenv("DEMO_CLOCK_NOW", TWO_WEEKS_LATER)
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "4")
    requested, _ = tick(instance, "bond_trade_activity")
    assert NEWEST_BONDS in requested
    result = load(instance, "bond_trade_activity", NEWEST_BONDS)
    metadata = metadata_by_partition(result)["bond_trade_activity"][NEWEST_BONDS]
    assert (metadata["outcome"], metadata["rows_removed"]) == ("source", 1)
    history = BOND_TRADE_ACTIVITY.history
    assert rows(url, func.count(history.c.cusip)) == [(metadata["rows_changed"] + 1,)]
    fields = checks_of(result)["has_the_fields_that_we_know"]
    assert (fields.passed, fields.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "totalOddLotTradeCount" in str(fields.metadata["differences"])


@pytest.mark.slow
def test_breadth_is_loaded_and_an_unpublished_day_is_observed(settings, instance):
    result = load(instance, "corporate_market_breadth", "2026-02-26", "2026-03-02")
    assert result.success
    assert observed_by(result)["corporate_market_breadth"]["2026-03-02"]["reason"] == (
        "not published until 2026-03-03"
    )
    loaded = metadata_by_partition(result)["corporate_market_breadth"]
    assert {key: value["dagster/row_count"] for key, value in loaded.items()} == {
        "2026-02-26": 3,
        "2026-02-27": 3,
    }
    saturday = load(instance, "corporate_market_breadth", "2026-02-28")
    assert "found: 2026-02-28 is a Saturday" in expect_failure(
        saturday, "finra_corporate_market_breadth_load"
    )


@pytest.mark.slow
def test_bonds_need_a_licence_where_the_data_is_real(settings, instance, monkeypatch, tmp_path):
    monkeypatch.setenv("FINRA_SOURCE", "files")
    monkeypatch.setenv("FINRA_FILES_DIR", str(tmp_path))
    refused = load(instance, "bond_trade_activity", NEWEST_BONDS)
    said = expect_failure(refused, "finra_bond_trade_activity_load")
    assert "no source of bonds by CUSIP is set: FINRA does not publish them" in said
    feed = tmp_path / "feed"
    feed.mkdir()
    monkeypatch.setenv("FINRA_BONDS_FILES_DIR", str(feed))
    lines = ["weekEnding|tierIdentifier|cusip|totalVolume|tradeCount"]
    lines.append("2026-02-20|T1|037833100|5000000|3")
    (feed / "fact_bond_trade_activity_T1_20260220.csv").write_text("\n".join(lines) + "\n")
    assert load(instance, "bond_trade_activity", NEWEST_BONDS).success
    table = BOND_TRADE_ACTIVITY.table.c
    url = databases.sqlite_url(settings.state_path, "real")
    assert rows(url, table.tier, table.cusip, table.volume_total, table.trade_count) == [
        ("T1", "037833100", 5_000_000, 3)
    ]
    treasury = load(instance, "treasury_daily", "2026-02-24")
    assert "FINRA_SOURCE=files has no public dataset" in expect_failure(
        treasury, "finra_treasury_daily_load"
    )


@pytest.mark.slow
def test_short_interest_loads_by_half_month_is_restated_by_a_revision_and_replays(
    settings, instance, monkeypatch: pytest.MonkeyPatch, capfd
):
    url, history = databases.sqlite_url(settings.state_path), SHORT_INTEREST.history
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "7")
    assert tick(instance, "short_interest")[0] == ["2026-02-01", "2026-01-16"]
    first = load(instance, "short_interest", "2026-02-01")
    assert first.success
    assert checks_of(first)["has_changes_that_add_up"].passed
    metadata = metadata_by_partition(first)["short_interest"]["2026-02-01"]
    assert (metadata["dagster/row_count"], metadata["outcome"], metadata["captures"]) == (
        5200,
        "first",
        2,
    )
    table = SHORT_INTEREST.table.c
    days = select(table.settlement_date).distinct()
    assert databases.rows(url, days) == [(date(2026, 2, 13),)]
    assert rows(url, func.count(table.short_change)) == [(5096,)]  # 104 issues are new
    again = metadata_by_partition(load(instance, "short_interest", "2026-02-01"))["short_interest"]
    assert again["2026-02-01"]["outcome"] == "unchanged"

    monkeypatch.setenv("DEMO_CLOCK_NOW", TWO_WEEKS_LATER)
    assert tick(instance, "short_interest")[0] == ["2026-02-01", "2026-02-16"]
    revised = metadata_by_partition(load(instance, "short_interest", "2026-02-01"))[
        "short_interest"
    ]
    metadata = revised["2026-02-01"]
    assert (metadata["outcome"], metadata["rows_changed"], metadata["rows_removed"]) == (
        "source",
        130,
        1,
    )
    assert rows(url, func.count(table.symbol))[0] == (5199,)
    flags = databases.rows(url, select(func.count()).where(table.revision_flag == "R"))
    assert flags == [(130,)]
    assert rows(url, func.count(history.c.symbol)) == [(131,)]
    as_it_is = databases.contents(url)
    assert main(["replay", "--table", "finra_short_interest", "2026-02-01"]) == 0
    assert "1 of 1 partitions: unchanged, nothing was written" in capfd.readouterr().out
    assert databases.contents(url) == as_it_is


@pytest.mark.slow
def test_a_day_that_begins_no_half_month_is_refused_and_an_unpublished_one_observed(
    settings, instance
):
    settled = load(instance, "short_interest", "2026-01-15")
    assert "no partition 2026-01-15" in expect_failure(settled, "finra_short_interest_load")
    early = load(instance, "short_interest", "2026-02-16")
    assert early.success
    assert observed_by(early)["short_interest"]["2026-02-16"]["reason"] == (
        "not published until 2026-03-18"
    )


@pytest.mark.slow
def test_short_sales_load_by_day_with_fractions_and_a_list_of_threshold_securities(
    settings, instance
):
    url = databases.sqlite_url(settings.state_path)
    result = load(instance, "reg_sho_daily", "2026-02-26", "2026-03-02")
    assert result.success
    metadata = metadata_by_partition(result)["reg_sho_daily"]
    assert set(metadata) == {"2026-02-26", "2026-02-27"}
    assert observed_by(result)["reg_sho_daily"]["2026-03-02"]["reason"] == (
        "not published until 2026-03-03"
    )
    assert [name for name, value in checks_of(result).items() if not value.passed] == []
    sales = REG_SHO_DAILY.table.c
    fractions = select(func.count()).where(sales.total_quantity % 1_000_000 != 0)
    assert databases.rows(url, fractions)[0][0] > 0
    facilities = select(sales.facility_code, sales.market_code).distinct()
    assert set(databases.rows(url, facilities)) == {
        *[("NQTRF", "Q"), ("NYTRF", "N"), ("NCTRF", "B")]
    }
    spelled = select(sales.symbol).distinct().where(sales.symbol.in_(["BRK/B", "BRK.B", "PL/WS"]))
    assert {symbol for (symbol,) in databases.rows(url, spelled)} == {"BRK/B", "PL/WS"}
    listed = metadata_by_partition(load(instance, "threshold_list", "2026-02-27"))
    assert listed["threshold_list"]["2026-02-27"]["dagster/row_count"] == 30
    again = metadata_by_partition(load(instance, "threshold_list", "2026-02-27"))
    assert again["threshold_list"]["2026-02-27"]["outcome"] == "unchanged"


@pytest.mark.slow
def test_months_load_by_tier_without_the_sums_and_blocks_by_size(
    settings, instance, monkeypatch: pytest.MonkeyPatch
):
    url = databases.sqlite_url(settings.state_path)
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "10")
    assert tick(instance, "otc_monthly")[0] == ["OTCE|2026-01-01", "NMS|2026-01-01"]
    result = load(instance, "otc_monthly", "OTCE|2026-01-01")
    assert [name for name, value in checks_of(result).items() if not value.passed] == []
    table = OTC_MONTHLY.table.c
    kinds = select(table.tier, table.summary_type).distinct()
    assert databases.rows(url, kinds) == [("OTCE", "OTC_M_SMBL_FIRM")]
    lumps = select(func.count()).where(table.firm_crd_number == 0)
    assert databases.rows(url, lumps)[0][0] > 0
    for noun, venues in (("ats_blocks", 30), ("otc_blocks", 61)):
        assert tick(instance, noun)[0] == ["2026-01-01"]
        made = load(instance, noun, "2026-01-01")
        assert [name for name, value in checks_of(made).items() if not value.passed] == []
        metadata = metadata_by_partition(made)[noun]["2026-01-01"]
        assert metadata["dagster/row_count"] == 6 * venues
