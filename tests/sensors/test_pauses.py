"""Ticks of schedules and sensors while a pause holds their jobs, and what they catch up after."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import defs
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.edits import Action
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.sensors.schedules import SENSOR_NAME
from orchestration_project.services.edits import Edit
from orchestration_project.services.pauses import Pauses
from orchestration_project.services.schedules.jobs import ScheduledJobs
from orchestration_project.services.schedules.launching import launch_due
from orchestration_project.services.schedules.rules.launches import DUE_TAG
from orchestration_project.services.schedules.store import SCHEDULE_STORE
from tests.resources.definitions import RESOURCES
from tests.runs import part_of_daily

REPOSITORY = defs.get_repository_def()
RUNS_WHILE_PAUSED = {
    job.name for job in REPOSITORY.get_all_jobs() if "runs_while_paused" in job.tags
}
DAILY_JOBS = {"cboe_daily", "finra_daily"}
"""Jobs of which a pause leaves the freshness checks."""

SCHEDULES = {
    schedule.name: schedule
    for schedule in REPOSITORY.schedule_defs
    if schedule.job_name not in RUNS_WHILE_PAUSED | DAILY_JOBS
}
SENSORS = {
    sensor.name: sensor
    for sensor in REPOSITORY.sensor_defs
    if sensor.targets and sensor.name not in (SENSOR_NAME, "events_on_routing")
}
"""All that start jobs, except those that start jobs of any domain."""


@pytest.fixture
def warehouse(demo_settings) -> Iterator[Warehouse]:
    with open_warehouse(demo_settings) as opened:
        yield opened


@pytest.fixture
def instance(kept_instance: dg.DagsterInstance) -> dg.DagsterInstance:
    return kept_instance


def evaluate(instance: dg.DagsterInstance, definition: Any) -> Any:
    with dg.build_resources(RESOURCES, instance) as resources:
        build = (
            dg.build_schedule_context
            if isinstance(definition, dg.ScheduleDefinition)
            else dg.build_sensor_context
        )
        own = {name: getattr(resources, name) for name in definition.required_resource_keys}
        context = build(instance=instance, repository_def=REPOSITORY, resources=own)
        return definition(context)


@pytest.mark.slow
def test_each_tick_that_starts_a_paused_job_is_skipped_with_the_reason(warehouse, instance):
    for domain in REGISTRY.domains:
        Pauses(warehouse).pause(REGISTRY, domain.name, "the database moves", by="ada")
    found = {
        name: str(getattr(evaluate(instance, definition), "skip_message", ""))
        for name, definition in {**SCHEDULES, **SENSORS}.items()
    }
    assert len(found) >= 38
    assert {
        name for name, text in found.items() if "is paused by ada: the data" not in text
    } == set()


@pytest.mark.slow_after_first
@pytest.mark.parametrize("domain", ["cboe", "finra"])
def test_a_daily_job_checks_freshness_alone_while_its_domain_is_paused(
    warehouse, instance, domain: str
):
    schedule = REPOSITORY.get_schedule_def(f"{domain}_daily")
    Pauses(warehouse).pause(REGISTRY, "fx", "move", by="ada")
    assert evaluate(instance, schedule).asset_check_keys is None
    Pauses(warehouse).pause(REGISTRY, domain, "move", by="ada")
    request = evaluate(instance, schedule)
    assert request.tags == {"runs_while_paused": "true"}
    checks = {key.name for key in request.asset_check_keys}
    assert checks == {"is_as_new_as_the_calendar"}
    results = (
        part_of_daily(domain, *request.asset_check_keys)
        .execute_in_process(instance=instance, resources=RESOURCES)
        .get_asset_check_evaluations()
    )
    assert {f"not applicable: {domain} is paused by ada: move"} == {
        result.description for result in results
    }


@pytest.mark.slow
def test_after_the_pause_the_next_tick_requests_what_is_missing(warehouse, instance, monkeypatch):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "2")
    schedule = SCHEDULES["finra_otc_weekly_mondays"]
    Pauses(warehouse).pause(REGISTRY, "source:finra", "maintenance", by="ada")
    skipped = evaluate(instance, schedule)
    assert skipped.skip_message == "source:finra is paused by ada: maintenance"
    assert instance.get_backfills() == []
    Pauses(warehouse).resume("source:finra", by="ada")
    assert "OTCE 2026-01-19 to 2026-01-26 (2 weeks)" in evaluate(instance, schedule).skip_message
    assert len(instance.get_backfills()) == 1


@pytest.mark.parametrize(("catch_up", "hours"), [("none", []), ("latest", [12]), ("all", [9, 12])])
def test_a_schedule_that_is_data_catches_up_by_its_rule(warehouse, instance, catch_up, hours):
    nine = datetime(2026, 3, 2, 9, tzinfo=UTC)
    fields = {"job": "cboe_daily", "cron": "0 9,12 * * *", "catch_up": catch_up}
    edit = Edit(Action.CREATE, "charts", by="ada", at=nine - timedelta(hours=1), fields=fields)
    SCHEDULE_STORE.apply(warehouse, edit)
    Pauses(warehouse).pause(REGISTRY, "cboe", "move", by="ada")
    jobs = ScheduledJobs(REPOSITORY)
    later = nine + timedelta(hours=4)
    assert list(launch_due(warehouse, instance, jobs, (), later).requests) == []
    Pauses(warehouse).resume("cboe", by="ada")
    requests = launch_due(warehouse, instance, jobs, (), later).requests
    due = [datetime.fromisoformat(request.tags[DUE_TAG]).hour for request in requests]
    assert sorted(due) == hours


def evaluate_freshness(instance: dg.DagsterInstance, job: str) -> dict[str, str]:
    """Run the freshness checks of a domain; return the descriptions of those that passed."""
    ran = defs.resolve_job_def(job).execute_in_process(instance=instance, resources=RESOURCES)
    results = ran.get_asset_check_evaluations()
    return {
        result.asset_key.to_user_string(): str(result.description)
        for result in results
        if result.passed
    }


@pytest.mark.slow_after_first
@pytest.mark.parametrize("job", sorted(RUNS_WHILE_PAUSED))
def test_freshness_says_that_it_is_paused_and_until_when(warehouse, instance, job):
    until = Clock().now() + timedelta(days=1)
    Pauses(warehouse).pause(REGISTRY, "all", "the database moves", by="ada", until=until)
    said = evaluate_freshness(instance, job)
    expected = f"not applicable: all is paused until {until:%F %R} UTC by ada: the database moves"
    assert said
    assert set(said.values()) == {expected}


def test_freshness_of_a_source_in_maintenance_says_so_and_that_of_others_does_not(
    warehouse, instance
):
    Pauses(warehouse).pause(REGISTRY, "source:fx", "announced by the ECB", by="ada")
    assert "source:fx is paused" in evaluate_freshness(instance, "fx_daily")["fx/rates_daily"]
    assert "paused" not in str(evaluate_freshness(instance, "prices_freshness"))


@pytest.mark.slow
def test_readiness_does_not_request_a_source_in_maintenance(warehouse, instance):
    until = Clock().now() + timedelta(days=1)
    Pauses(warehouse).pause(REGISTRY, "source:fx", "announced by the ECB", by="ada", until=until)
    ran = defs.resolve_job_def("operations_checks").execute_in_process(
        instance=instance, resources=RESOURCES, raise_on_error=False
    )
    said = {one.check_name: str(one.description) for one in ran.get_asset_check_evaluations()}
    reason = f"source:fx is paused until {until:%F %R} UTC by ada: announced by the ECB"
    assert reason in said["finds_fx_ready"]
    assert [name for name, text in said.items() if "is paused" in text] == ["finds_fx_ready"]
