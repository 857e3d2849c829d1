"""The check that compares what is landed with FINRA's calendar, over the real demo source."""

import dagster as dg
import pytest

from orchestration_project.definitions import defs
from tests.sensors.conftest import run


@pytest.fixture(autouse=True)
def short_horizon(url, monkeypatch, set_clock):
    monkeypatch.setenv("FINRA_HORIZON_WEEKS", "1")
    set_clock("2026-03-03T18:00:00+00:00")  # the Tuesday after publication


def evaluate(instance) -> dg.AssetCheckEvaluation:
    result = defs.resolve_job_def("finra_freshness").execute_in_process(instance=instance)
    assert result.success
    weekly = dg.AssetKey(["finra", "otc_weekly"])
    (evaluation,) = (
        each for each in result.get_asset_check_evaluations() if each.asset_key == weekly
    )
    return evaluation


def numbers(evaluation) -> dict[str, object]:
    return {
        name: value.value
        for name, value in evaluation.metadata.items()
        if name.startswith("weeks_")
    }


def load(instance, key: str) -> bool:
    return run(instance, dg.RunRequest(partition_key=key, run_key=key))


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
            "what_to_do": f"{tier}, week 2026-01-26, was due on 2026-03-02 and is not landed: "
            "FINRA lists it; start finra_otc_weekly for it, or see why its runs failed.",
        }
        for tier in ("OTCE", "T2")
    ]


def test_when_all_weeks_are_landed_the_claim_holds_and_a_week_within_the_grace_is_not_missed(
    instance, set_clock
):
    for key in ("T1|2026-02-09", "T2|2026-01-26", "OTCE|2026-01-26"):
        assert load(instance, key)
    assert evaluate(instance).passed
    set_clock("2026-03-09T18:00:00+00:00")
    found = evaluate(instance)
    assert found.passed
    assert numbers(found)["weeks_due"] == 0


def test_a_week_that_an_audit_held_back_is_told_from_one_that_was_not_loaded(instance, monkeypatch):
    monkeypatch.setenv("FINRA_HORIZON_WEEKS", "9")
    assert not load(instance, "T2|2025-12-01")
    found = evaluate(instance)
    assert numbers(found) == {
        "weeks_due": 27,
        "weeks_landed": 0,
        "weeks_held_back": 1,
        "weeks_not_landed": 26,
        "weeks_not_out": 0,
    }
