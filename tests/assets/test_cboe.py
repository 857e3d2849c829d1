"""Cboe's market volume as Dagster runs it, over the demo: load, holiday, restatement, replay."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import func, select

from orchestration_project.__main__ import main
from orchestration_project.assets.cboe import OFF_EXCHANGE_CHART
from orchestration_project.catalog.cboe import CBOE
from orchestration_project.definitions import defs
from orchestration_project.domains.cboe.tables import market_volume_daily, off_exchange_share_weekly
from orchestration_project.engine.connections.simulator import stop_demos
from orchestration_project.settings import Settings, load_settings
from orchestration_project.tables.schema import HISTORY
from tests import databases
from tests.prepared import write_default
from tests.programs import DEMO
from tests.resources.definitions import RESOURCES
from tests.runs import expect_failure, metadata_by_partition, observed_by, part_of_daily

TABLE, WEEKLY = market_volume_daily, off_exchange_share_weekly
JOB, OP, ASSET = "cboe_market_volume_daily", "cboe_market_volume_daily_load", "market_volume_daily"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in DEMO.items():
            environment.setenv(name, value)
        environment.setenv("STATE_DIR", str(tmp_path_factory.mktemp("cboe") / "state"))
        yield write_default(load_settings())
        stop_demos(load_settings())


def run(
    instance: dg.DagsterInstance, first: str, last: str, job: str = JOB
) -> dg.ExecuteInProcessResult:
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance, raise_on_error=False, tags=tags
    )


def tick(instance: dg.DagsterInstance) -> list[str]:
    found = requested(instance, "cboe_on_market_volume_daily")
    return [str(request.partition_key) for request in found]


def requested(instance: dg.DagsterInstance, name: str) -> Sequence[dg.RunRequest]:
    sensor = next(sensor for sensor in CBOE.definitions.sensors if sensor.name == name)
    with dg.build_resources(RESOURCES, instance) as made:
        resources = {name: getattr(made, name) for name in sensor.required_resource_keys}
        context = dg.build_sensor_context(
            instance=instance, resources=resources, repository_def=defs.get_repository_def()
        )
        found = sensor.evaluate_tick(context)
    return found.run_requests or ()


def rows(url: str, *columns: Any) -> list[tuple[Any, ...]]:
    return databases.rows(url, select(*columns))


@pytest.mark.slow
def test_days_load_over_new_year_a_restated_one_keeps_its_history_and_replays(
    settings, instance, monkeypatch: pytest.MonkeyPatch, capfd
):
    url = databases.sqlite_url(settings.state_path)
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-01-06T12:00:00+00:00")
    first = run(instance, "2025-12-31", "2026-01-05")
    assert first.success
    loaded = metadata_by_partition(first)[ASSET]
    assert {key: value["dagster/row_count"] for key, value in loaded.items()} == {
        "2025-12-31": 18,
        "2026-01-02": 18,
        "2026-01-05": 18,
    }
    outcomes = {key: value["outcome"] for key, value in observed_by(first)[ASSET].items()}
    assert outcomes == {"2026-01-01": "no data"}
    again = metadata_by_partition(run(instance, "2026-01-05", "2026-01-05"))[ASSET]
    assert again["2026-01-05"]["outcome"] == "unchanged"
    assert tick(instance)[0] == "2025-12-30"  # the newest of 30 days that was never loaded

    stop_demos(load_settings())
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-01-07T12:00:00+00:00")  # the 2nd is corrected
    assert tick(instance)[0] == "2026-01-02"  # what changed goes before what is missing
    restated = metadata_by_partition(run(instance, "2026-01-02", "2026-01-02"))[ASSET]
    assert restated["2026-01-02"]["outcome"] == "source"
    history = TABLE.info[HISTORY]
    [(code, before, cause)] = rows(
        url, history.c.participant_code, history.c.total_share_quantity, history.c.change_cause
    )
    [(now,)] = databases.rows(
        url,
        select(TABLE.c.total_share_quantity).where(
            TABLE.c.participant_code == code, func.date(TABLE.c.trade_date) == "2026-01-02"
        ),
    )
    assert (code, now - before, cause) == ("DQ", 100, "source")
    as_it_is = databases.contents(url)
    assert main(["replay", "--table", TABLE.name, "--all"]) == 0
    assert "unchanged, nothing was written" in capfd.readouterr().out
    assert databases.contents(url) == as_it_is


@pytest.mark.slow
def test_a_day_that_is_not_published_yet_fails_nothing(
    settings, instance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-02-26T12:00:00+00:00")
    early = run(instance, "2026-02-25", "2026-02-26")
    assert early.success
    reason = observed_by(early)[ASSET]["2026-02-26"]["reason"]
    assert reason == "not published until 2026-02-27"


@pytest.mark.slow
def test_without_a_source_the_load_fails_and_names_the_setting(
    settings, instance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DATA_PROFILE", "real")
    for name in ("FINRA_SOURCE", "PRICES_SOURCE", "CBOE_SOURCE"):
        monkeypatch.delenv(name, raising=False)
    refused = run(instance, "2026-02-25", "2026-02-25")
    assert "Cboe has no source: CBOE_SOURCE is not set" in expect_failure(refused, OP)


@pytest.mark.slow
def test_a_load_derives_its_day_and_the_sensor_the_weeks_that_are_over(
    settings, instance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-02-26T12:00:00+00:00")
    found = metadata_by_partition(run(instance, "2026-02-09", "2026-02-10"))
    derived = found["off_exchange_share_daily"]["2026-02-09"]
    assert (derived["outcome"], derived["dagster/row_count"]) == ("derived", 4)
    requests = requested(instance, "cboe_on_landing")
    assert "2026-02-09" in [
        request.tags["dagster/asset_partition_range_end"] for request in requests
    ]
    weeks = run(instance, "2026-02-09", "2026-02-09", "cboe_off_exchange_share_weekly")
    week = metadata_by_partition(weeks)["off_exchange_share_weekly"]["2026-02-09"]
    assert (week["outcome"], week["dagster/row_count"]) == ("derived", 4)
    again = run(instance, "2026-02-09", "2026-02-09", "cboe_off_exchange_share_weekly")
    again_week = metadata_by_partition(again)["off_exchange_share_weekly"]["2026-02-09"]
    assert again_week["outcome"] == "unchanged"
    url = databases.sqlite_url(settings.state_path)
    [(day_count, ratio)] = databases.rows(
        url,
        select(WEEKLY.c.day_count, WEEKLY.c.off_exchange_share_ratio).where(
            WEEKLY.c.tape == "all", func.date(WEEKLY.c.week_start) == "2026-02-09"
        ),
    )
    assert day_count == 2
    assert 0.35 < ratio < 0.55
    [drawn] = metadata_by_partition(
        part_of_daily("cboe", OFF_EXCHANGE_CHART).execute_in_process(instance=instance)
    )["off_exchange_share_chart"].values()
    assert drawn["dagster/row_count"] % 4 == 0
    assert "picture" in drawn
