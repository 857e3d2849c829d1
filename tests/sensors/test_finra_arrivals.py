"""The sensors that request what FINRA published or changed, ticked by the test over the demo."""

import re
import shutil
from datetime import date, timedelta

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.assets.finra import SPECS
from orchestration_project.assets.finra.catalogue import build_tier_weeks, build_weeks
from orchestration_project.definitions import defs
from orchestration_project.domains.finra.calendar import monday_of
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly_history
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.http import RetryPolicy
from orchestration_project.errors import ConfigurationError, TransientError
from orchestration_project.resources.finra.connection import open_finra, open_http
from orchestration_project.sensors.finra import (
    arrivals,
    finra_on_publication,
    finra_on_restatement,
)
from orchestration_project.settings import load_settings
from orchestration_project.tables.spine import landings
from tests import databases
from tests.faulty_server import FaultyServer, Reply
from tests.sensors.conftest import Sensor, note_run, run

DAY = "2026-03-02"
FAILURE, STARTED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED
RESTATED, RELABELLED, QUIET = "T1|2026-01-12", "OTCE|2025-12-22", "T1|2026-01-05"
AFTER_BOTH = "2026-03-12T15:00:00+00:00"


@pytest.fixture(autouse=True)
def short_horizon(demo_settings, monkeypatch):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "1")


@pytest.fixture
def publication(instance):
    return Sensor(finra_on_publication, instance)


@pytest.fixture
def restatement(instance):
    return Sensor(finra_on_restatement, instance)


@pytest.fixture
def url(demo_settings):
    return databases.sqlite_url(demo_settings.state_path)


def load_without_failure(instance, *keys: str) -> None:
    for key in keys:
        assert run(instance, dg.RunRequest(partition_key=key, run_key=f"manual {key}"))


@pytest.mark.slow
def test_what_is_published_and_was_never_taken_is_asked_for_once(publication, instance):
    first = publication.tick()
    assert first.keys == ["OTCE|2026-01-26", "T1|2026-02-09", "T2|2026-01-26"]
    for request in first.requests:
        assert run(instance, request)
    second = publication.tick()
    assert second.said == (
        "Nothing to do: all 3 partitions published in the last 1 weeks were taken."
    )
    assert second.probes == []


def test_a_run_key_names_partition_state_and_day_and_is_the_same_after_a_cursor_reset(publication):
    request = publication.tick().requests[1]
    state = r"weeklySummary: \d+ records, updated 2026-03-02"
    assert re.fullmatch(rf"T1\|2026-02-09 {state} \({DAY}\)", str(request.run_key))
    publication.cursor = None
    assert publication.tick().requests[1].run_key == request.run_key


def test_at_most_so_many_are_asked_for_oldest_publication_first_and_the_rest_later(
    publication, instance, monkeypatch, capfd
):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "2")
    monkeypatch.setenv("FINRA_MAX_RUNS_PER_TICK", "4")
    first = publication.tick()
    assert first.keys == ["OTCE|2026-01-19", "T1|2026-02-02", "T2|2026-01-19", "OTCE|2026-01-26"]
    assert set(first.probes) == set(first.keys)
    assert "2 more wait for the next tick." in capfd.readouterr().err
    for request in first.requests:
        note_run(instance, request, STARTED)
    assert publication.tick().keys == ["T1|2026-02-09", "T2|2026-01-26"]


@pytest.mark.slow
def test_partitions_that_runs_or_backfills_load_now_are_left_to_them(publication, instance):
    requests = publication.tick().requests
    note_run(instance, requests[0], STARTED)
    note_run(instance, requests[1], dg.DagsterRunStatus.STARTING)
    assert publication.tick().keys == ["T2|2026-01-26"]
    instance.create_run_for_job(
        defs.resolve_implicit_global_asset_job_def(),
        status=STARTED,
        asset_selection=frozenset(spec.key for spec in SPECS),
        tags={
            "dagster/asset_partition_range_start": "T2|2026-01-12",
            "dagster/asset_partition_range_end": "T2|2026-01-26",
        },
    )
    assert publication.tick().said == (
        "Nothing to do: all 3 partitions published in the last 1 weeks were taken or are being "
        "loaded (OTCE 2026-01-26 (1 week), T1 2026-02-09 (1 week), T2 2026-01-26 (1 week))."
    )


def test_a_run_of_a_jobs_backfill_over_tiers_keeps_just_its_own_weeks_waiting(
    publication, instance
):
    instance.create_run_for_job(
        defs.resolve_job_def("finra_otc_weekly"),
        status=STARTED,
        tags={
            "dagster/asset_partition_range_start": "T2|2026-01-26",
            "dagster/asset_partition_range_end": "OTCE|2026-01-26",
            "dagster/partition/tier": "T2",
            "dagster/partition/week": "2026-01-19",
            "dagster/partition_set": "finra_otc_weekly_partition_set",
        },
    )
    assert publication.tick().keys == ["T1|2026-02-09"]


def test_runs_that_derive_from_the_same_weeks_do_not_keep_them_waiting(publication, instance):
    instance.create_run_for_job(
        defs.resolve_job_def("finra_gold"),
        status=STARTED,
        tags={
            "dagster/asset_partition_range_start": "T1|2026-02-02",
            "dagster/asset_partition_range_end": "T1|2026-02-09",
        },
    )
    assert "T1|2026-02-09" in publication.tick().keys


@pytest.mark.slow
def test_a_run_that_failed_is_asked_for_again_on_the_next_day_and_costs_nothing_until_then(
    publication, instance, set_clock
):
    requests = publication.tick().requests
    for request in requests:
        note_run(instance, request, FAILURE)
    first, second = publication.tick(), publication.tick()
    assert first.said == second.said
    assert first.said == (
        "Not loaded, and requested today: OTCE 2026-01-26 (1 week), T1 2026-02-09 (1 week), "
        "T2 2026-01-26 (1 week); a run that brings nothing is requested again the day after."
    )
    assert len(first.probes) == 3
    assert second.probes == []
    publication.cursor = None
    assert publication.tick().said == first.said
    set_clock("2026-03-03T15:00:00+00:00")
    again = publication.tick()
    assert again.keys == [str(request.partition_key) for request in requests]
    assert {request.run_key for request in again.requests}.isdisjoint(
        request.run_key for request in requests
    )


def test_partitions_that_failed_today_do_not_keep_the_others_waiting(
    publication, instance, monkeypatch
):
    monkeypatch.setenv("FINRA_MAX_RUNS_PER_TICK", "1")
    (failed,) = publication.tick().requests
    note_run(instance, failed, FAILURE)
    assert publication.tick().keys == ["T1|2026-02-09"]


def test_a_tier_that_is_not_documented_is_named_and_not_asked_for(publication, monkeypatch, capfd):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "9")
    monkeypatch.setenv("FINRA_MAX_RUNS_PER_TICK", "1")
    assert len(publication.tick().keys) == 1
    assert "Left out, as tiers that are not documented: NMS." in capfd.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("sensor", [finra_on_publication, finra_on_restatement])
def test_a_source_that_is_down_fails_the_tick_and_leaves_the_cursor(sensor, instance, monkeypatch):
    load_without_failure(instance, QUIET)
    down = Reply(200, {"Content-Type": "application/json"}, b'{"statusCode": 500}')
    ticked = Sensor(sensor, instance, cursor=DAY)
    with FaultyServer(lambda _: down) as server:
        monkeypatch.setenv("FINRA_API_URL", server.url)
        settings = load_settings().model_copy(
            update={"finra_source": "api", "data_profile": "real"}
        )
        with (
            open_http(settings, retries=RetryPolicy(max_attempts=2)) as http,
            pytest.raises(TransientError, match="FINRA's answer cannot be used"),
        ):
            ticked.tick(open_finra(settings, http))
    assert ticked.cursor == DAY


OUT = {
    "Martin Luther King": ("2026-01-19T23:00:00-05:00", "2026-01-20T00:00:00-05:00", "2025-12-29"),
    "Presidents": ("2026-02-16T23:00:00-05:00", "2026-02-17T00:00:00-05:00", "2026-01-26"),
    "Memorial": ("2026-05-25T23:00:00-04:00", "2026-05-26T00:00:00-04:00", "2026-05-04"),
    "Thanksgiving week": ("2025-11-23T23:00:00-05:00", "2025-11-24T00:00:00-05:00", "2025-11-03"),
    "Christmas week": ("2025-12-21T23:00:00-05:00", "2025-12-22T00:00:00-05:00", "2025-12-01"),
    "clocks went forward": ("2026-03-09T03:58:00+00:00", "2026-03-09T04:00:00+00:00", "2026-02-16"),
    "clocks went back": ("2025-11-03T04:58:00+00:00", "2025-11-03T05:00:00+00:00", "2025-10-13"),
}
OFTEN = ("Presidents", "clocks went forward")
"""The calendar itself has tests for every day to 2030."""


def weeks_on(day: date) -> frozenset[str]:
    """Return the partitions as a code location has them that is loaded on a day."""
    weeks = build_weeks(
        date(2025, 6, 2),
        monday_of(day) - timedelta(days=21),
        machine_now=Clock().today_in_new_york(),
    )
    return frozenset(build_tier_weeks(weeks).get_partition_keys())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "week"),
    [
        pytest.param(*value, id=name, marks=[] if name in OFTEN else pytest.mark.slow)
        for name, value in OUT.items()
    ],
)
def test_a_week_is_asked_for_from_new_yorks_midnight_of_its_publication_on(
    publication, demo_settings, monkeypatch, before, after, week
):
    shutil.rmtree(demo_settings.state_path / "demo")  # the first day of this one is that day
    monkeypatch.setattr(
        arrivals, "list_week_keys", lambda: weeks_on(date.fromisoformat(after[:10]))
    )
    monkeypatch.setenv("DEMO_CLOCK_NOW", before)
    assert f"T1|{week}" not in publication.tick().keys
    monkeypatch.setenv("DEMO_CLOCK_NOW", after)
    requested = publication.tick().keys
    assert [key for key in requested if key.startswith("T1")] == [f"T1|{week}"]
    assert len(requested) == 3


def test_before_anything_was_taken_no_restatement_is_looked_for(restatement):
    assert restatement.tick().said == "Nothing to do: no week was taken yet."


@pytest.mark.slow
def test_only_changed_weeks_are_requested_and_once_loaded_not_again(
    restatement, instance, set_clock, url
):
    load_without_failure(instance, RESTATED, RELABELLED, QUIET)
    before = restatement.tick()
    assert before.said == (
        "Nothing to do: FINRA changed none of the 3 weeks that were taken, from 2026-01-26 to "
        "2026-03-02."
    )
    assert before.day == "2026-03-02"
    set_clock(AFTER_BOTH)
    found = restatement.tick()
    assert found.keys == found.probes == [RELABELLED, RESTATED]
    assert found.day == "2026-03-02"
    for request in found.requests:
        assert run(instance, request)
    after = restatement.tick()
    assert after.said == (
        "Nothing to do: FINRA changed none of the 3 weeks that were taken, from 2026-03-02 to "
        "2026-03-12."
    )
    assert after.day == "2026-03-12"
    assert restatement.tick().said.endswith("from 2026-03-12 to 2026-03-12.")
    restatement.cursor = None
    assert restatement.tick().requests == []


@pytest.mark.slow
def test_a_change_of_dates_alone_loads_as_metadata(restatement, instance, set_clock, url):
    load_without_failure(instance, RELABELLED)
    restatement.tick()
    set_clock(AFTER_BOTH)
    (request,) = restatement.tick().requests
    assert run(instance, request)
    causes = select(landings.c.change_cause).order_by(landings.c.landed_at)
    assert databases.rows(url, causes) == [("first",), ("metadata",)]
    marks = databases.rows(url, select(finra_otc_weekly_history.c.change_cause))
    assert set(marks) == {("metadata",)}
    again = restatement.tick()
    assert (again.requests, again.day) == ([], "2026-03-12")


@pytest.mark.slow
def test_the_watermark_waits_until_all_changes_are_loaded(
    restatement, instance, monkeypatch, set_clock, capfd
):
    load_without_failure(instance, RESTATED, RELABELLED)
    restatement.tick()
    set_clock(AFTER_BOTH)
    monkeypatch.setenv("FINRA_MAX_RUNS_PER_TICK", "1")
    first = restatement.tick()
    assert (first.keys, first.day) == ([RELABELLED], "2026-03-02")
    assert "1 more wait for the next tick." in capfd.readouterr().err
    assert run(instance, first.requests[0])
    second = restatement.tick()
    assert (second.keys, second.day) == ([RESTATED], "2026-03-02")
    note_run(instance, second.requests[0], FAILURE)
    assert restatement.tick().said == (
        "Nothing more to request of the 2 weeks that were taken, from 2026-03-02 to 2026-03-12. "
        "Being loaded or requested today: T1 2026-01-12 (1 week); a run that brings nothing is "
        "requested again the day after."
    )
    set_clock("2026-03-13T15:00:00+00:00")
    third = restatement.tick()
    assert (third.keys, third.day) == ([RESTATED], "2026-03-02")
    assert run(instance, third.requests[0])
    assert restatement.tick().day == "2026-03-13"


@pytest.mark.slow
def test_a_quarantined_week_is_not_requested_until_it_changes(
    restatement, publication, instance, monkeypatch
):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "9")
    quarantined = dg.RunRequest(partition_key="T2|2025-12-01", run_key="manual")
    assert not run(instance, quarantined)
    assert restatement.tick().said == (
        "Nothing to do: FINRA changed none of the 1 weeks that were taken, from 2026-01-05 to "
        "2026-03-02."
    )
    assert "T2|2025-12-01" not in publication.tick().keys


@pytest.mark.slow
def test_the_cursor_of_another_database_is_none(restatement, instance):
    load_without_failure(instance, QUIET)
    restatement.tick()
    restatement.cursor = restatement.cursor.replace(":", ".")
    assert f"1 weeks that were taken, from 2026-01-26 to {DAY}" in restatement.tick().said
    restatement.cursor = DAY
    assert f"1 weeks that were taken, from {DAY} to {DAY}" in restatement.tick().said


@pytest.mark.slow
def test_a_cursor_that_is_no_date_is_refused_with_a_remedy(instance):
    load_without_failure(instance, QUIET)
    with pytest.raises(ConfigurationError, match="invalid cursor of finra_on_restatement"):
        Sensor(finra_on_restatement, instance, cursor="yesterday").tick()
