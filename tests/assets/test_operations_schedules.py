"""Schedules as a job edits them, with a version for each edit, and as their asset shows them."""

import json
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import defs
from orchestration_project.errors import ConfigurationError
from orchestration_project.redaction import hide
from orchestration_project.services.presets import list_preset_names, read_raw_preset
from orchestration_project.services.schedules.jobs import ScheduledJobs
from orchestration_project.services.schedules.rules.schedules import SCHEDULE_KIND
from orchestration_project.tables.operations_edits import (
    operations_schedule_versions,
    operations_schedules,
)
from tests import databases
from tests.programs import from_then_on
from tests.runs import executed

FX = {"job": "fx_rates_daily", "cron": "0 6 * * 1-5", "timezone": "Europe/Berlin"}
FX = FX | {"partitions": "latest"}
JOBS = ScheduledJobs(defs.get_repository_def())
NOON = "2026-03-02T12:00"


@pytest.fixture
def url(demo_settings, set_clock) -> str:
    set_clock(from_then_on(NOON))
    return databases.sqlite_url(demo_settings.state_path)


@pytest.fixture
def instance(kept_instance):
    return kept_instance


def edit(instance: Any, action: str, name: str = "fx", **config: Any) -> dg.JobExecutionResult:
    """Run the job; it makes the edit unless the config says otherwise."""
    options = {"action": action, "name": name, "dry_run": False, "who": "ada", **config}
    ops = {"edit_definitions": {"config": {"edit_schedule": options}}}
    return executed(instance, "operations_definitions_edit", ops=ops)


def expect_refusal(result: dg.JobExecutionResult) -> str:
    """Return why an edit was refused."""
    failure = result.failure_data_for_node("edit_definitions")
    assert failure
    assert failure.error
    assert failure.error.cause
    return failure.error.cause.message


def stored(url: str) -> list[tuple[Any, ...]]:
    columns = operations_schedules.c
    wanted = select(columns.name, columns.cron, columns.is_enabled, columns.version_number)
    return databases.rows(url, wanted)


@pytest.mark.slow
def test_a_schedule_is_created_changed_paused_resumed_and_deleted(instance, url: str):
    assert edit(instance, "create", fields=FX).success
    assert edit(instance, "change", fields={"cron": "30 6 * * *"}, expected_version=1).success
    assert edit(instance, "pause", expected_version=2).success
    assert stored(url) == [("fx", "30 6 * * *", False, 3)]
    assert edit(instance, "resume", expected_version=3).success
    assert edit(instance, "delete", expected_version=4).success
    assert stored(url) == []
    assert edit(instance, "create", fields=FX).success
    assert stored(url) == [("fx", "0 6 * * 1-5", True, 6)]
    columns = operations_schedule_versions.c
    wanted = select(columns.action, columns.edited_by, columns.definition)
    found = databases.rows(url, wanted.order_by(columns.version_number))
    assert [action for action, _, _ in found] == [
        "create",
        "change",
        "pause",
        "resume",
        "delete",
        "create",
    ]
    assert {by for _, by, _ in found} == {"ada"}
    assert json.loads(found[1][2])["cron"] == "30 6 * * *"


@pytest.mark.slow
def test_the_second_of_two_edits_of_a_version_is_refused(instance, url: str):
    assert edit(instance, "create", fields=FX).success
    assert edit(instance, "change", fields={"owner": "ada"}, expected_version=1).success
    second = edit(instance, "change", fields={"owner": "eve"}, expected_version=1)
    assert "the schedule fx was edited meanwhile" in expect_refusal(second)
    assert "expected_version 2" in expect_refusal(second)
    assert "names no expected_version" in expect_refusal(edit(instance, "delete"))
    assert "the schedule fx exists" in expect_refusal(edit(instance, "create", fields=FX))
    assert "schedule not found: 'none'" in expect_refusal(edit(instance, "pause", "none"))


@pytest.mark.slow
def test_a_dry_run_shows_changes_and_next_runs_and_writes_nothing(instance, url: str):
    result = edit(instance, "create", fields=FX, dry_run=True)
    assert result.success
    [seen] = [
        event.asset_observation_data.asset_observation.metadata
        for event in result.all_events
        if event.event_type_value == "ASSET_OBSERVATION"
    ]
    assert seen["next_runs_after_edit"].value == (
        "2026-03-03 06:00 +0100, 2026-03-04 06:00 +0100, 2026-03-05 06:00 +0100"
    )
    assert stored(url) == []


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"cron": "0 0 30 2 *"}, "invalid cron: expected days that a month has"),
        ({"timezone": "Mars/Olympus"}, "invalid timezone: expected a name"),
        ({"timezone": "../../etc"}, "invalid timezone: expected a name"),
        ({"timezone": "America"}, "invalid timezone: expected a name"),
        ({"job": "nope"}, "job not found: nope"),
        ({"job": "__ASSET_JOB"}, "job not found"),
        ({"partitions": "none"}, "needs a partition"),
        ({"partition_values": {"tier": "T1"}}, "unknown partition_values: tier"),
        ({"job": "finra_otc_weekly"}, "partition_values.tier: expected one of T1, T2, OTCE"),
        ({"job": "operations_checks"}, "has no partitions"),
        ({"run_config": {"ops": {"nope": {}}}}, "refuses the run config"),
        ({"preset": "nope"}, "preset not found"),
        ({"preset": "full"}, "is not for the job"),
        ({"preset": "full", "run_config": {}}, "run_config or preset"),
        ({"catch_up": "some"}, "catch_up: expected 'none', 'latest' or 'all'"),
        ({"max_catch_up": 0}, "max_catch_up"),
        ({"colour": "red"}, "colour: unknown name"),
        ({"is_enabled": "yes"}, "is_enabled"),
        ({"name": "Other"}, "name: expected text to match"),
        ({"name": "x" * 61}, "name: expected text to match"),
    ],
)
def test_an_invalid_schedule_is_refused_by_name(fields: dict[str, Any], found: str):
    with pytest.raises(ConfigurationError) as refused:
        JOBS.require_valid(SCHEDULE_KIND.read({"name": "fx", **FX, **fields}))
    assert found in str(refused.value)


def test_a_secret_is_refused():
    hide("a secret of this process")
    with pytest.raises(ConfigurationError, match="invalid schedule") as refused:
        SCHEDULE_KIND.read({"name": "fx", **FX, "owner": "a secret of this process"})
    assert "expected no secret" in refused.value.found


def test_every_preset_fits_a_schedule_of_its_job():
    names = list_preset_names()
    assert len(names) > 3
    for name in names:
        preset, _ = read_raw_preset(name)
        schedule = SCHEDULE_KIND.read(
            {"name": "fx", "job": preset.job, "cron": "@daily", "preset": name}
        )
        problems = [
            problem for problem in JOBS.problems(schedule) if "needs a partition" not in problem
        ]
        assert problems == [], name


@pytest.mark.parametrize(
    ("fields", "due", "key"),
    [
        ({}, datetime(2026, 3, 2, 6, tzinfo=UTC), "2026-02-27"),
        ({"partitions": "previous"}, datetime(2026, 3, 2, 6, tzinfo=UTC), "2026-02-26"),
        (
            {"job": "finra_otc_weekly", "partition_values": {"tier": "T2"}},
            datetime(2026, 2, 23, 12, tzinfo=UTC),
            "T2|2026-02-09",
        ),
        ({"partitions": "days_before", "days_before": 300}, datetime(2020, 1, 1, tzinfo=UTC), None),
    ],
)
def test_a_due_time_has_the_partition_of_its_rule(fields, due: datetime, key: str | None):
    schedule = SCHEDULE_KIND.read({"name": "fx", **FX, "timezone": "UTC", **fields})
    assert JOBS.partition_key(schedule, due) == key


PUBLISHED_ON = {name: job.published_on for name, job in REGISTRY.jobs.items() if job.published_on}


@pytest.mark.parametrize(
    ("fields", "due", "key"),
    [
        ({}, datetime(2026, 3, 2, 6, tzinfo=UTC), "2026-02-27"),
        (
            {"job": "finra_otc_weekly", "partition_values": {"tier": "T1"}},
            datetime(2026, 2, 23, 12, tzinfo=UTC),
            "T1|2026-02-02",
        ),
        (
            {"job": "finra_otc_weekly", "partition_values": {"tier": "T2"}},
            datetime(2026, 2, 23, 12, tzinfo=UTC),
            "T2|2026-01-19",
        ),
        (
            {
                "job": "finra_otc_weekly",
                "partition_values": {"tier": "T2"},
                "partitions": "days_before",
                "days_before": 14,
            },
            datetime(2026, 2, 23, 12, tzinfo=UTC),
            None,
        ),
        (
            {"job": "finra_treasury_monthly"},
            datetime(2026, 3, 2, 12, tzinfo=UTC),
            "2026-01-01",
        ),
    ],
)
def test_a_rule_chooses_no_partition_before_its_publication(fields, due: datetime, key):
    schedule = SCHEDULE_KIND.read({"name": "fx", **FX, "timezone": "UTC", **fields})
    jobs = ScheduledJobs(defs.get_repository_def(), PUBLISHED_ON)
    assert jobs.partition_key(schedule, due) == key


@pytest.mark.slow
def test_an_edit_of_other_fields_leaves_a_due_time_in_place(instance, url: str, set_clock):
    assert edit(instance, "create", fields=FX).success
    due = datetime(2026, 3, 3, 5, tzinfo=UTC)
    wanted = select(operations_schedules.c.next_due_at)
    assert databases.rows(url, wanted) == [(due,)]
    set_clock(from_then_on("2026-03-03T05:01"))
    assert edit(instance, "change", fields={"owner": "eve"}, expected_version=1).success
    assert databases.rows(url, wanted) == [(due,)]
    assert edit(instance, "change", fields={"cron": "0 7 * * *"}, expected_version=2).success
    assert databases.rows(url, wanted) == [(datetime(2026, 3, 3, 6, tzinfo=UTC),)]
