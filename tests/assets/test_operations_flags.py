"""Flags as a job edits them, as schedules use them, and as their check names them."""

import json
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import delete, select

from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.services.flags import read_flags
from orchestration_project.settings import load_settings
from orchestration_project.tables.operations_edits import (
    operations_flag_versions,
    operations_flags,
    operations_schedules,
)
from tests import databases
from tests.programs import from_then_on
from tests.runs import executed

FX = {"job": "fx_rates_daily", "cron": "0 6 * * *", "partitions": "latest"}
NOON = "2026-03-02T12:00"


@pytest.fixture
def url(demo_settings, set_clock) -> str:
    set_clock(from_then_on(NOON))
    return databases.sqlite_url(demo_settings.state_path)


@pytest.fixture
def instance(kept_instance):
    return kept_instance


def edit(
    instance: Any, action: str, name: str = "share_of_fx", kind: str = "flag", **config: Any
) -> dg.JobExecutionResult:
    """Run the job; it makes the edit unless the config says otherwise."""
    options = {"action": action, "name": name, "dry_run": False, "who": "ada", **config}
    ops = {"edit_definitions": {"config": {f"edit_{kind}": options}}}
    return executed(instance, "operations_definitions_edit", ops=ops)


def expect_refusal(result: dg.JobExecutionResult) -> str:
    """Return why an edit was refused."""
    failure = result.failure_data_for_node("edit_definitions")
    assert failure
    assert failure.error
    assert failure.error.cause
    return failure.error.cause.message


def found_by_check(result: dg.JobExecutionResult) -> str:
    [evaluation] = [
        evaluation
        for evaluation in result.get_asset_check_evaluations()
        if evaluation.check_name == "flags_are_current_and_used"
    ]
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    found = evaluation.metadata.get("found")
    return "" if found is None else str(found.value)


@pytest.mark.slow
def test_a_flag_is_created_changed_and_deleted_with_a_version_each(instance, url: str):
    fields = {"share": 0.25, "listed_keys": ["2026-03-02"], "owner": "ada"}
    made = edit(instance, "create", fields=fields)
    assert made.success
    assert found_by_check(made) == "nothing uses share_of_fx of ada"
    expiry = {"expires_at": "2026-03-02T11:00:00Z"}
    changed = edit(instance, "change", fields=expiry, expected_version=1)
    assert "share_of_fx of ada expired at 2026-03-02 11:00 UTC" in found_by_check(changed)
    columns = operations_flags.c
    wanted = select(columns.share, columns.listed_keys, columns.expires_at, columns.version_number)
    expires_at = datetime(2026, 3, 2, 11, tzinfo=UTC)
    assert databases.rows(url, wanted) == [(0.25, '["2026-03-02"]', expires_at, 2)]
    late = edit(instance, "change", fields={"share": 1}, expected_version=1)
    assert "the flag share_of_fx was edited meanwhile" in expect_refusal(late)
    assert "names no expected_version" in expect_refusal(edit(instance, "delete"))
    assert edit(instance, "delete", expected_version=2).success
    assert databases.rows(url, wanted) == []
    versions = operations_flag_versions.c
    found = databases.rows(
        url,
        select(versions.action, versions.edited_by, versions.definition).order_by(
            versions.version_number
        ),
    )
    assert [action for action, _, _ in found] == ["create", "change", "delete"]
    assert {by for _, by, _ in found} == {"ada"}
    assert json.loads(found[1][2])["expires_at"] == "2026-03-02T11:00:00+00:00"


@pytest.mark.slow
def test_a_dry_run_shows_the_changes_and_writes_nothing(instance, url: str):
    result = edit(instance, "create", fields={"owner": "ada", "share": 0.5}, dry_run=True)
    assert result.success
    [seen] = [
        event.asset_observation_data.asset_observation.metadata
        for event in result.all_events
        if event.event_type_value == "ASSET_OBSERVATION"
    ]
    difference = seen["difference"]
    assert isinstance(difference, dg.TableMetadataValue)
    changes = {row.data["field"]: row.data["after"] for row in difference.records}
    assert changes["share"] == "0.5"
    assert databases.rows(url, select(operations_flags.c.name)) == []


@pytest.mark.slow
def test_a_schedule_needs_a_flag_that_exists_and_a_flag_in_use_stays(instance, url: str):
    fields = {**FX, "flag": "share_of_fx"}
    missing = edit(instance, "create", "fx", "schedule", fields=fields)
    assert "its flag does not exist" in expect_refusal(missing)
    assert edit(instance, "create", fields={"owner": "ada", "share": 0.5}).success
    assert edit(instance, "create", "fx", "schedule", fields=fields).success
    assert "the flag share_of_fx is in use" in expect_refusal(
        edit(instance, "delete", expected_version=1)
    )
    result = executed(instance, "operations_checks")
    assert result.success
    assert found_by_check(result) == ""
    databases.execute(url, delete(operations_flags))
    gone = executed(instance, "operations_checks")
    assert found_by_check(gone) == "share_of_fx does not exist, so it is off for schedule fx"
    wanted = select(operations_schedules.c.flag)
    assert databases.rows(url, wanted) == [("share_of_fx",)]


def test_one_service_answers_whether_a_flag_is_enabled(instance, url: str):
    assert edit(instance, "create", fields={"owner": "ada", "listed_keys": ["a"]}).success
    settings = load_settings()
    with open_warehouse(settings) as warehouse:
        flags = read_flags(warehouse, open_clock(settings).now())
        assert not flags.why_off("share_of_fx", "a")
        assert flags.why_off("share_of_fx", "b")
        assert flags.why_off("nope", "a")
