"""The check that compares what is loaded with FINRA's calendar, over the real demo source."""

import asyncio

import dagster as dg
import pytest
from dagster._core.loader import LoadingContextForTest

from orchestration_project.assets.finra import SPECS
from orchestration_project.definitions import defs
from orchestration_project.services.ended_runs import RunEnd, read_run
from tests.expecting import expect_present
from tests.runs import part_of_daily
from tests.sensors.conftest import run


@pytest.fixture(autouse=True)
def short_horizon(url, monkeypatch, set_clock):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "1")
    set_clock("2026-03-03T18:00:00+00:00")  # the Tuesday after publication


def evaluate(instance) -> dg.AssetCheckEvaluation:
    check = dg.AssetCheckKey(dg.AssetKey(["finra", "otc_weekly"]), "is_as_new_as_the_calendar")
    result = part_of_daily("finra", check).execute_in_process(instance=instance)
    [evaluation] = result.get_asset_check_evaluations()
    return evaluation


def numbers(evaluation) -> dict[str, object]:
    return {
        name: value.value
        for name, value in evaluation.metadata.items()
        if name.startswith("weeks_")
    }


def load(instance, key: str) -> bool:
    return run(instance, dg.RunRequest(partition_key=key, run_key=key))


@pytest.mark.slow
def test_weeks_that_are_missing_are_a_warning_with_a_sentence_each(instance):
    assert load(instance, "T1|2026-02-09")
    found = evaluate(instance)
    assert (found.check_name, found.passed) == ("is_as_new_as_the_calendar", False)
    assert (found.severity, found.blocking) == (dg.AssetCheckSeverity.WARN, False)
    assert numbers(found) == {
        "weeks_due": 3,
        "weeks_landed": 1,
        "weeks_held_back": 0,
        "weeks_not_landed": 2,
        "weeks_not_out": 0,
    }
    table = found.metadata["missing_weeks"]
    assert isinstance(table, dg.TableMetadataValue)
    assert [record.data for record in table.records] == [
        {
            "partition": f"{tier}|2026-01-26",
            "state": "not landed",
            "due": "2026-03-02",
            "days_late": 1,
            "what_to_do": f"{tier}, week 2026-01-26, was due on 2026-03-02 and is not loaded: "
            "FINRA lists it; start finra_otc_weekly for it, or see why its runs failed.",
        }
        for tier in ("OTCE", "T2")
    ]


@pytest.mark.slow
def test_the_check_passes_with_all_weeks_loaded_or_within_grace(instance, set_clock):
    for key in ("T1|2026-02-09", "T2|2026-01-26", "OTCE|2026-01-26"):
        assert load(instance, key)
    assert evaluate(instance).passed
    set_clock("2026-03-09T18:00:00+00:00")
    found = evaluate(instance)
    assert found.passed
    assert numbers(found)["weeks_due"] == 0


@pytest.mark.slow
def test_a_demo_is_judged_from_the_weeks_on_that_it_loaded(instance, monkeypatch):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "9")
    for key in ("T1|2026-02-02", "T1|2026-02-09", "T2|2026-01-26", "OTCE|2026-01-26"):
        assert load(instance, key)
    found = evaluate(instance)
    assert (found.passed, numbers(found)["weeks_due"]) == (True, 4)


def test_a_quarantined_week_differs_from_one_that_was_not_loaded(instance, monkeypatch):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "9")
    assert not load(instance, "T2|2025-12-01")
    found = evaluate(instance)
    assert numbers(found) == {
        "weeks_due": 27,
        "weeks_landed": 0,
        "weeks_held_back": 1,
        "weeks_not_landed": 26,
        "weeks_not_out": 0,
    }


@pytest.mark.slow
def test_weeks_that_were_late_before_a_load_are_alerted_by_the_checks_own_job_alone(instance):
    assert load(instance, "T1|2026-02-09")
    assert failed_checks_of_the_latest_run(instance) == []
    assert not evaluate(instance).passed
    assert failed_checks_of_the_latest_run(instance) == ["is_as_new_as_the_calendar"]


def failed_checks_of_the_latest_run(instance) -> list[str]:
    """Return the checks that alerts are raised about."""
    [record] = instance.get_run_records(limit=1)
    end = RunEnd(1, record.dagster_run.run_id, "success")
    ended = expect_present(read_run(instance, end))
    return [check.name for check in ended.checks if not check.passed]


def status_of_the_check(instance) -> str:
    """Return what the asset's page shows of the check: nothing that a materialization followed."""
    key = dg.AssetCheckKey(dg.AssetKey(["finra", "otc_weekly"]), "is_as_new_as_the_calendar")
    [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    context = LoadingContextForTest(instance)
    is_of_the_newest = asyncio.run(record.targets_latest_materialization(context))
    return str(record.status.value) if is_of_the_newest else "NOT EVALUATED"


@pytest.mark.slow
@pytest.mark.parametrize("job", ["finra_otc_weekly", "replay", "__ASSET_JOB"])
def test_each_run_that_materializes_weeks_evaluates_the_check(instance, job):
    for key in ("T1|2026-02-09", "T2|2026-01-26"):
        assert load(instance, key)
        assert status_of_the_check(instance) == "FAILED"
    is_replay = job == "replay"
    if is_replay:
        assert load(instance, "OTCE|2026-01-26")
    chosen = [spec.key for spec in SPECS] if job == "__ASSET_JOB" else None
    result = defs.resolve_job_def("finra_otc_weekly" if is_replay else job).execute_in_process(
        instance=instance,
        partition_key="OTCE|2026-01-26",
        asset_selection=chosen,
        run_config={"ops": {"finra_otc_weekly_load": {"config": {"replay": is_replay}}}},
    )
    assert result.success
    assert status_of_the_check(instance) == "SUCCEEDED"


@pytest.mark.slow
def test_a_run_with_a_quarantined_week_evaluates_loaded_weeks(instance, monkeypatch):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "9")
    tag = "dagster/asset_partition_range_"
    result = defs.resolve_job_def("finra_otc_weekly").execute_in_process(
        instance=instance,
        tags={f"{tag}start": "T2|2025-11-24", f"{tag}end": "T2|2025-12-01"},
        raise_on_error=False,
    )
    assert not result.success
    assert status_of_the_check(instance) == "FAILED"
    [found] = [
        evaluation
        for evaluation in result.get_asset_check_evaluations()
        if evaluation.check_name == "is_as_new_as_the_calendar"
    ]
    assert numbers(found) == {
        "weeks_due": 27,
        "weeks_landed": 0,
        "weeks_held_back": 1,
        "weeks_not_landed": 0,
        "weeks_not_out": 0,
        "weeks_not_asked": 26,
    }
