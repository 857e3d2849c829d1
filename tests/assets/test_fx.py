"""Euro reference rates as Dagster runs them, over the demo: load, holiday, restatement, replay."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import func, select

from orchestration_project.__main__ import main
from orchestration_project.catalog.fx import FX, RATES
from orchestration_project.definitions import defs
from orchestration_project.domains.fx.tables import fx_rates_daily
from orchestration_project.engine.connections.simulator import stop_demos
from orchestration_project.engine.deliveries import SourceDeliveries
from orchestration_project.engine.loader import DatasetLoader
from orchestration_project.settings import Settings, load_settings
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import captures
from tests import databases
from tests.prepared import write_default
from tests.programs import DEMO
from tests.resources.definitions import RESOURCES
from tests.resources.weeks import known
from tests.runs import expect_failure, metadata_by_partition, observed_by

TABLE = fx_rates_daily
JOB, OP = "fx_rates_daily", "fx_rates_daily_load"
[SENSOR] = FX.definitions.sensors


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in DEMO.items():
            environment.setenv(name, value)
        environment.setenv("STATE_DIR", str(tmp_path_factory.mktemp("fx") / "state"))
        yield write_default(load_settings())
        stop_demos(load_settings())


def run(instance: dg.DagsterInstance, first: str, last: str, **config: Any):
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    return defs.resolve_job_def(JOB).execute_in_process(
        instance=instance,
        raise_on_error=False,
        tags=tags,
        run_config={"ops": {OP: {"config": config}}},
    )


def tick(instance: dg.DagsterInstance) -> list[str]:
    with dg.build_resources(RESOURCES, instance) as made:
        resources = {name: getattr(made, name) for name in SENSOR.required_resource_keys}
        context = dg.build_sensor_context(
            instance=instance, resources=resources, repository_def=defs.get_repository_def()
        )
        found = SENSOR.evaluate_tick(context)
    return [str(run_request.partition_key) for run_request in found.run_requests or ()]


def rates(url: str, *columns: Any) -> list[tuple[Any, ...]]:
    return databases.rows(url, select(*columns))


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("ends", "unknown"),
    [(("2025-02-28", "2025-03-05"), "2025-02-28"), (("2026-02-27", "2026-03-04"), "2026-03-04")],
)
def test_a_range_of_tags_that_passes_the_known_days_is_refused_whole(
    settings, instance, ends, unknown
):
    result = run(instance, *ends)
    assert not result.success
    assert expect_failure(result, OP).startswith(
        f"1 of 1 partitions did not load: {unknown}\nfx_rates_daily has no partition {unknown}"
    )
    assert metadata_by_partition(result) == {}


@pytest.mark.slow
def test_days_load_a_holiday_is_empty_a_restated_day_keeps_its_history_and_replays(
    settings, instance, monkeypatch: pytest.MonkeyPatch, capfd
):
    url = databases.sqlite_url(settings.state_path)
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-01-05T18:00:00+00:00")
    first = run(instance, "2025-12-31", "2026-01-05")
    assert first.success
    loaded = metadata_by_partition(first)["rates_daily"]
    assert {key: value["dagster/row_count"] for key, value in loaded.items()} == {
        "2025-12-31": 6,
        "2026-01-02": 6,
        "2026-01-05": 6,
    }
    assert_first_rows_are_decimals(loaded["2026-01-05"]["first_rows"], url)
    observed = observed_by(first)["rates_daily"]
    assert {key: value["outcome"] for key, value in observed.items()} == {"2026-01-01": "no data"}
    assert rates(url, func.count(captures.c.capture_id)) == [(3,)]
    again = metadata_by_partition(run(instance, "2026-01-05", "2026-01-05"))["rates_daily"]
    assert again["2026-01-05"]["outcome"] == "unchanged"
    assert tick(instance)[0] == "2025-12-30"  # the newest of 85 days that was never loaded

    stop_demos(load_settings())
    monkeypatch.setenv(
        "DEMO_CLOCK_NOW", "2026-01-07T18:00:00+00:00"
    )  # the USD of the 2nd is corrected
    assert tick(instance)[0] == "2026-01-02"  # what changed goes before what is missing
    restated = metadata_by_partition(run(instance, "2026-01-02", "2026-01-02"))["rates_daily"][
        "2026-01-02"
    ]
    assert (restated["outcome"], restated["rows_changed"]) == ("source", 1)
    [(before, cause)] = rates(url, TABLE.info[HISTORY].c.rate, TABLE.info[HISTORY].c.change_cause)
    [(now,)] = rates_of_usd(url)
    assert (now - before, cause) == (100, "source")
    as_it_is = databases.contents(url)
    assert main(["replay", "--table", TABLE.name, "--all"]) == 0
    assert "unchanged, nothing was written" in capfd.readouterr().out
    assert databases.contents(url) == as_it_is
    older = run(
        instance,
        "2026-01-02",
        "2026-01-02",
        replay=True,
        group_id="fx_rates_daily:2026-01-02#1",
        allow_older=True,
    )
    assert older.success
    assert rates_of_usd(url) == [(before,)]


def assert_first_rows_are_decimals(shown: dg.TableMetadataValue, url: str) -> None:
    on_the_5th = [rate for rate in rates(url, *TABLE.c) if f"{rate[0]}" == "2026-01-05"]
    stored = {currency: rate for _, currency, rate, *_ in on_the_5th}
    found = {record.data["currency_code"]: str(record.data["rate"]) for record in shown.records}
    assert {name: Decimal(rate) * 10**6 for name, rate in found.items()} == stored
    assert found["USD"].startswith(("1.0", "1.1"))


def rates_of_usd(url: str) -> list[tuple[Any, ...]]:
    statement = select(TABLE.c.rate).where(
        TABLE.c.currency_code == "USD", func.date(TABLE.c.rate_date) == "2026-01-02"
    )
    return databases.rows(url, statement)


@pytest.mark.slow
def test_a_day_that_is_not_published_yet_fails_nothing_and_an_old_one_is_in_the_history(
    settings, instance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(
        "DEMO_CLOCK_NOW", "2026-02-26T12:00:00+00:00"
    )  # before the rates of the 26th
    monkeypatch.setenv("FX_FIRST_DAY", "2025-06-02")
    early = run(instance, "2026-02-25", "2026-02-26")
    assert early.success
    assert (
        observed_by(early)["rates_daily"]["2026-02-26"]["reason"]
        == "not published until 2026-02-27"
    )
    assert run(instance, "2025-07-01", "2025-07-02").success


@pytest.mark.slow
def test_a_day_before_the_first_partition_is_refused_and_nothing_of_it_is_loaded(
    settings, instance
):
    before = "2000-01-03"
    refused = defs.resolve_job_def(JOB).execute_in_process(
        instance=instance, raise_on_error=False, tags={"dagster/partition": before}
    )
    said = expect_failure(refused, OP)
    assert f"fx_rates_daily has no partition {before}" in said
    assert "found: a day before 20" in said
    url = databases.sqlite_url(settings.state_path)
    assert before not in {f"{day}" for (day,) in rates(url, TABLE.c.rate_date)}


@pytest.mark.slow
def test_a_replay_of_all_skips_days_before_the_first_partition(settings, instance, capfd, tmp_path):
    old = "2024-01-02"
    with dg.build_resources(RESOURCES, instance) as made:
        loader = DatasetLoader(
            RATES,
            SourceDeliveries(RATES, made.fx, made.warehouse, made.clock),
            made.warehouse,
            made.artifacts,
            today=made.clock.today(RATES.partitioning.calendar.zone),
            run_id="run",
            scratch=tmp_path,
            is_reported=known,
            max_reject_ratio=0,
        )
        loader.ready()
        assert loader.write_batch(loader.take(old)).row_count > 0
    assert run(instance, "2026-02-23", "2026-02-23").success
    assert main(["replay", "--table", TABLE.name, "--all"]) == 0
    assert "1 before the first partition are not replayed" in capfd.readouterr().out
    assert main(["replay", "--table", TABLE.name, old]) == 1
    assert f"found: {old}" in capfd.readouterr().err


@pytest.mark.slow
def test_real_rates_need_a_source(settings, instance, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PRICES_SOURCE", "yahoo")
    refused = run(instance, "2026-02-25", "2026-02-25")
    assert "FX has no source: FX_SOURCE is not set" in expect_failure(refused, OP)


@pytest.mark.slow
def test_the_weekly_backfill_requests_days_that_the_sensor_does_not_see(
    kept_instance, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    for name, value in {**DEMO, "STATE_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-02-26T12:00:00+00:00")
    [schedule] = [
        schedule
        for schedule in FX.definitions.schedules
        if schedule.name.endswith("_weekly_backfill")
    ]
    with dg.build_resources(RESOURCES, kept_instance) as made:
        resources = {name: getattr(made, name) for name in schedule.required_resource_keys}
        context = dg.build_schedule_context(
            instance=kept_instance, resources=resources, repository_def=defs.get_repository_def()
        )
        launched = schedule.evaluate_tick(context).skip_message
    stop_demos(load_settings())
    assert str(launched).endswith("from 2025-03-03 to 2026-02-25.")
    assert len(kept_instance.get_backfills()) == 1


@pytest.mark.slow
def test_a_holiday_is_reported_as_not_asked_and_a_full_load_asks(settings, instance, monkeypatch):
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-01-05T18:00:00+00:00")
    skipped = run(instance, "2026-01-01", "2026-01-01")
    found = observed_by(skipped)["rates_daily"]["2026-01-01"]
    assert (found["outcome"], found["reason"]) == (
        "no data",
        "no data: a holiday of the source; not asked; to ask the source: --full, or full: true in "
        "the run's config",
    )
    requested = run(instance, "2026-01-01", "2026-01-01", full=True)
    assert requested.success
    found = observed_by(requested)["rates_daily"]["2026-01-01"]
    assert (found["outcome"], found["reason"]) == ("no data", "no data: a holiday of the source")
