"""Presets as Dagster's jobs list, preview and apply them, and as loads go by them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import insert, select

from orchestration_project.definitions import defs
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.settings import load_settings
from orchestration_project.tables.operations_edits import operations_presets
from orchestration_project.tables.spine import audits
from tests import databases
from tests.programs import from_then_on
from tests.runs import expect_failure

WEEK = "T1|2026-02-02"
"""Four of its lines are rejected."""

LOAD = "finra_otc_weekly_load"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
ADA = {"who": "ada", "why": "audit season", "dry_run": False}


@pytest.fixture
def url(demo_settings, set_clock) -> str:
    set_clock(from_then_on("2026-03-02T15:00"))
    return databases.sqlite_url(demo_settings.state_path)


def execute(instance, job: str, op: str, tags=None, **config) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config={"ops": {op: {"config": config}}},
        tags=tags,
    )


def choose(instance, tags=None, **config) -> dg.ExecuteInProcessResult:
    job, op = "operations_definitions_edit", "edit_definitions"
    return execute(instance, job, op, tags, apply_preset=config)


def shown_by(result: dg.ExecuteInProcessResult) -> Mapping[str, Any]:
    """Return the metadata of a run of the job, whether it changed anything or not."""
    seen = [
        event.asset_observation_data.asset_observation
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.ASSET_OBSERVATION
    ]
    made = [
        event.step_materialization_data.materialization
        for event in result.get_asset_materialization_events()
    ]
    [only] = [*seen, *made]
    return {name: value.value for name, value in only.metadata.items()}


def load(instance, job: str = "finra_otc_weekly", **config) -> tuple[bool, str | None]:
    """Load the week; return whether it loaded, and the preset that the run was tagged with."""
    result = execute(instance, job, LOAD, {"dagster/partition": WEEK}, **config)
    run = instance.get_run_by_id(result.run_id)
    return result.success, run.tags.get("preset")


def kept(url) -> list[tuple[Any, ...]]:
    row = operations_presets.c
    wanted = (row.job, row.applied_number, row.preset, row.content, row.user_name, row.reason)
    return databases.rows(url, select(*wanted).order_by(row.job, row.applied_number))


@pytest.mark.slow
def test_a_preset_is_previewed_then_applied_then_taken_by_loads_and_undone(url, instance):
    preview = shown_by(choose(instance, preset="strict_quality"))
    assert preview["outcome"] == "dry run: nothing was applied"
    assert kept(url) == []
    [full, ratio] = [record.data for record in preview["difference"].records]
    assert (full["field"], full["changes"]) == ("full", False)
    assert ratio == {
        "field": "max_reject_ratio",
        "now": "0.005",
        "now_from": "settings",
        "then": "0.0",
        "then_from": "preset strict_quality",
        "changes": True,
    }

    applied = choose(instance, preset="strict_quality", **ADA)
    assert applied.get_asset_materialization_events()
    assert shown_by(applied)["outcome"] == "applied as strict_quality#1 by ada: audit season"
    assert load(instance) == (False, "strict_quality#1")
    assert load(instance, replay=True) == (False, "strict_quality#1")
    limit = select(audits.c.expected).where(audits.c.name == "has_few_rejects")
    assert databases.rows(url, limit) == 2 * [("at most 0.0000% of lines rejected",)]

    again = choose(instance, preset="strict_quality", **ADA)
    assert shown_by(again)["outcome"] == "nothing to do: it is already applied"
    assert load(instance, max_reject_ratio=0.01) == (True, "strict_quality#1")

    tags = {"user": "grace"}  # who was logged in goes before who somebody says to be
    undone = shown_by(choose(instance, tags, preset="standard", **ADA))
    assert undone["in_force_before"] == "strict_quality#1 by ada: audit season"
    assert kept(url) == [
        ("finra_otc_weekly", 1, "strict_quality", '{"max_reject_ratio": 0.0}', "ada", ADA["why"]),
        ("finra_otc_weekly", 2, "standard", "{}", "grace", ADA["why"]),
    ]


def test_the_presets_are_listed_with_their_jobs_and_which_is_in_force(url, instance):
    choose(instance, preset="latest", **ADA)
    rows = {
        record.data["preset"]: record.data
        for record in shown_by(choose(instance))["presets"].records
    }
    assert {"latest", "backfill_quarter", "restatement_sweep", "strict_quality"} <= set(rows)
    assert rows["latest"]["job"] == "finra_backfill"
    assert rows["latest"]["in_force"] == "since 2026-03-02 15:00 UTC"
    assert rows["latest"]["description"].startswith("Backfills the latest published week")
    assert {row["problem"] for row in rows.values()} == {""}
    assert [name for name, row in rows.items() if row["in_force"]] == ["latest"]


def test_a_preset_needs_a_person_and_a_reason(url, instance):
    refused = choose(instance, preset="strict_quality", dry_run=False)
    [failure] = [event for event in refused.all_events if event.is_step_failure]
    assert "the run's config lacks who and why" in str(failure.step_failure_data.error)
    assert kept(url) == []


@pytest.mark.parametrize("name", ["unheard_of", "../x", "presets/full", "full.yaml"])
def test_a_name_that_is_none_of_a_preset_is_refused_before_the_run_begins(instance, name):
    with pytest.raises(dg.DagsterInvalidConfigError, match="not in enum type PresetName"):
        choose(instance, preset=name)
    assert instance.get_runs() == []


def test_a_preset_that_the_code_does_not_understand_any_more_fails_loads_by_name(url, instance):
    row = {"job": "finra_otc_weekly", "applied_number": 1, "preset": "strict_quality"}
    row |= {"content": '{"max_rejects": 3}', "user_name": "ada", "reason": "", "run_id": "1"}
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        connection.execute(insert(operations_presets).values(row | {"applied_at": LONG_AGO}))
    result = execute(instance, "finra_otc_weekly", LOAD, {"dagster/partition": WEEK})
    assert "the preset strict_quality sets max_rejects" in expect_failure(result, LOAD)
    assert "apply another preset" in expect_failure(result, LOAD)
    assert choose(instance, preset="standard", **ADA).success
