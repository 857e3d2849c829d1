"""The sensors that derive after loads, ticked by the test over the real demo source."""

import dagster as dg
import pytest

from orchestration_project.definitions import defs
from orchestration_project.sensors.finra import finra_on_landing
from tests.resources.definitions import RESOURCES


@pytest.fixture(autouse=True)
def small_demo(demo_settings):
    return demo_settings


def tick(sensor, instance) -> str | dg.SensorResult:
    """Return what a tick says, or requests."""
    with dg.build_resources(
        {name: RESOURCES[name] for name in ("clock", "warehouse")}, instance
    ) as resources:
        context = dg.build_sensor_context(instance=instance, resources=resources._asdict())
        result = sensor(context)
    return str(result.skip_message) if isinstance(result, dg.SkipReason) else result


def requested(result) -> list[tuple[str, str]]:
    tags = [request.tags for request in result.run_requests]
    return [
        (tag["dagster/asset_partition_range_start"], tag["dagster/asset_partition_range_end"])
        for tag in tags
    ]


NO_TIERS = "Nothing to do: all tiers of 0 weeks are loaded, and these are current."


def run(instance, job: str, first: str, last: str) -> None:
    tags = {
        "dagster/asset_partition_range_start": first,
        "dagster/asset_partition_range_end": last,
    }
    defs.resolve_job_def(job).execute_in_process(instance=instance, tags=tags)


def test_without_loads_there_is_nothing_to_derive(instance):
    assert tick(finra_on_landing, instance) == (
        f"Nothing to do: what 0 loaded weeks derive is current. {NO_TIERS}"
    )


@pytest.mark.slow
def test_loaded_weeks_are_derived_once_until_they_change(instance, set_clock):
    run(instance, "finra_otc_weekly", "T1|2026-01-12", "T1|2026-01-26")
    due = tick(finra_on_landing, instance)
    assert requested(due) == [("T1|2026-01-12", "T1|2026-01-26")]
    run(instance, "finra_gold", "T1|2026-01-12", "T1|2026-01-26")
    assert tick(finra_on_landing, instance) == (
        f"Nothing to do: what 3 loaded weeks derive is current. {NO_TIERS}"
    )
    set_clock("2026-03-12T15:00:00+00:00")
    run(instance, "finra_otc_weekly", "T1|2026-01-12", "T1|2026-01-12")
    again = tick(finra_on_landing, instance)
    assert requested(again) == requested(due)
    assert isinstance(again, dg.SensorResult)
    assert isinstance(due, dg.SensorResult)
    assert again.run_requests
    assert due.run_requests
    assert again.run_requests[0].run_key != due.run_requests[0].run_key


@pytest.mark.slow
def test_the_last_tier_of_a_week_starts_what_looks_across_tiers(instance):
    for tier in ("T1", "T2"):
        run(instance, "finra_otc_weekly", f"{tier}|2026-01-19", f"{tier}|2026-01-26")
    due = [("T1|2026-01-19", "T1|2026-01-26"), ("T2|2026-01-19", "T2|2026-01-26")]
    assert requested(tick(finra_on_landing, instance)) == due
    run(instance, "finra_otc_weekly", "OTCE|2026-01-26", "OTCE|2026-01-26")
    due = [("OTCE|2026-01-26", "OTCE|2026-01-26"), *due, ("2026-01-26", "2026-01-26")]
    found = tick(finra_on_landing, instance)
    assert requested(found) == due
    assert isinstance(found, dg.SensorResult)
    jobs = [request.job_name for request in found.run_requests or []]
    assert jobs == ["finra_gold", "finra_gold", "finra_gold", "finra_tier_week"]
    run(instance, "finra_tier_week", "2026-01-26", "2026-01-26")
    assert requested(tick(finra_on_landing, instance)) == due[:-1]


@pytest.mark.slow
def test_while_a_run_is_under_way_no_other_is_asked_for(instance):
    run(instance, "finra_otc_weekly", "T1|2026-01-26", "T1|2026-01-26")
    job = defs.resolve_job_def("finra_gold")
    waiting = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert tick(finra_on_landing, instance) == (
        f"The run {waiting.run_id} of finra_gold is under way. {NO_TIERS}"
    )


def test_what_a_failed_run_left_is_asked_for_again_the_day_after(instance, monkeypatch):
    run(instance, "finra_otc_weekly", "T1|2026-01-26", "T1|2026-01-26")
    due = tick(finra_on_landing, instance)
    assert isinstance(due, dg.SensorResult)
    request = (due.run_requests or [])[0]
    job = defs.resolve_job_def("finra_gold")
    failed = dg.DagsterRunStatus.FAILURE
    instance.create_run_for_job(job, status=failed, tags={"dagster/run_key": str(request.run_key)})
    assert tick(finra_on_landing, instance) == (
        "Not derived, and requested today: T1|2026-01-26 to T1|2026-01-26; a run that brings "
        f"nothing is requested again the day after. {NO_TIERS}"
    )
    monkeypatch.setenv("DEMO_CLOCK_NOW", "2026-03-03T15:00:00+00:00")
    assert requested(tick(finra_on_landing, instance)) == [("T1|2026-01-26", "T1|2026-01-26")]
