"""The schedule that backfills, ticked by the test over the real demo source."""

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from orchestration_project.definitions import defs
from orchestration_project.sensors.finra import finra_otc_weekly_mondays
from tests.resources.definitions import RESOURCES


@pytest.fixture(autouse=True)
def short_horizon(demo_settings, monkeypatch):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "2")


@pytest.fixture
def instance(kept_instance):
    return kept_instance


ASIDE = " Left out, as tiers that are not documented: NMS."


def tick_and_expect_skip(instance: dg.DagsterInstance) -> str:
    """Evaluate the schedule and return what its tick says."""
    with dg.build_resources(RESOURCES, instance) as resources:
        context = dg.build_schedule_context(
            instance=instance,
            repository_def=defs.get_repository_def(),
            resources=resources._asdict(),
        )
        result = finra_otc_weekly_mondays(context)
    assert isinstance(result, dg.SkipReason)
    return str(result.skip_message)


def only_backfill(instance):
    (backfill,) = instance.get_backfills()
    return backfill


def load(instance, first: str, last: str) -> None:
    defs.resolve_job_def("finra_otc_weekly").execute_in_process(
        instance=instance,
        tags={
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        },
    )


@pytest.mark.slow
def test_a_tick_launches_a_backfill_of_exactly_the_missing_weeks_as_ranges(instance):
    load(instance, "T1|2026-02-02", "T1|2026-02-09")
    said = tick_and_expect_skip(instance)
    backfill = only_backfill(instance)
    assert said == (
        f"Launched the backfill {backfill.backfill_id}: OTCE 2026-01-19 to 2026-01-26 (2 weeks), "
        f"T2 2026-01-19 to 2026-01-26 (2 weeks).{ASIDE}"
    )
    assert backfill.status == BulkActionStatus.REQUESTED
    assert backfill.tags["requested_by"] == "finra_otc_weekly_mondays"
    assert backfill.title == "FINRA OTC weekly: 4 partitions missing or restated"


def test_a_tick_while_the_backfill_runs_launches_no_second_one(instance):
    tick_and_expect_skip(instance)
    backfill = only_backfill(instance)
    assert tick_and_expect_skip(instance) == (
        f"The backfill {backfill.backfill_id} of an earlier tick is still running."
    )
    assert len(instance.get_backfills()) == 1


@pytest.mark.slow
def test_a_tick_with_nothing_missing_launches_nothing_and_says_so(instance):
    for tier, week in (("T1", "2026-02"), ("T2", "2026-01"), ("OTCE", "2026-01")):
        first, last = ("02", "09") if tier == "T1" else ("19", "26")
        load(instance, f"{tier}|{week}-{first}", f"{tier}|{week}-{last}")
    assert tick_and_expect_skip(instance) == (
        "Nothing to do: all 6 partitions published in the last 2 weeks were taken, and none has "
        f"changed since.{ASIDE}"
    )
    assert instance.get_backfills() == []


@pytest.mark.slow
def test_a_restated_week_is_asked_for_again(instance, monkeypatch, set_clock):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "7")
    load(instance, "T1|2026-01-05", "T1|2026-01-19")
    set_clock("2026-03-10T15:00:00+00:00")
    said = tick_and_expect_skip(instance)
    assert "T1 2026-01-12 (1 week)" in said
    assert "2026-01-05" not in said
    assert "T1 2026-01-19" not in said


@pytest.mark.slow
def test_a_quarantined_week_waits_until_the_source_changes_it(instance, monkeypatch):
    monkeypatch.setenv("FINRA_LOOKBACK_WEEKS", "9")
    quarantined = "T2|2025-12-01"
    result = defs.resolve_job_def("finra_otc_weekly").execute_in_process(
        instance=instance, tags={"dagster/partition": quarantined}, raise_on_error=False
    )
    assert not result.success
    said = tick_and_expect_skip(instance)
    assert "T2 2025-12-08 to 2026-01-26" in said
    assert "T2 2025-12-01" not in said


def choose(instance, preset: str, **more) -> dict:
    """Preview a preset, or apply it; return the run's metadata."""
    result = defs.resolve_job_def("operations_definitions_edit").execute_in_process(
        instance=instance,
        run_config={
            "ops": {"edit_definitions": {"config": {"apply_preset": {"preset": preset, **more}}}}
        },
    )
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


def run_of(instance, backfill, first: str, last: str) -> tuple[bool, str, set[str]]:
    """Run a range of a backfill as the daemon does.

    Return whether it succeeded, the preset that it went by, and what it loaded.
    """
    result = defs.resolve_job_def("finra_otc_weekly").execute_in_process(
        instance=instance,
        raise_on_error=False,
        run_config=backfill.run_config,
        tags={
            **backfill.tags,
            "dagster/backfill": backfill.backfill_id,
            "dagster/asset_partition_range_start": first,
            "dagster/asset_partition_range_end": last,
        },
    )
    loaded = {str(event.partition) for event in result.get_asset_materialization_events()}
    return result.success, instance.get_run_by_id(result.run_id).tags["preset"], loaded


@pytest.mark.slow
def test_a_preset_is_previewed_and_applied_and_scheduled_runs_go_by_it_until_it_is_undone(instance):
    strict, week, next_week = "strict_quality", "T1|2026-02-02", "T1|2026-02-09"
    ada = {"who": "ada", "why": "audit season", "dry_run": False}
    assert choose(instance, strict)["outcome"] == "dry run: nothing was applied"
    assert choose(instance, strict, **ada)["outcome"].startswith(f"applied as {strict}#1 by ada")
    assert "T1 2026-02-02 to 2026-02-09 (2 weeks)" in tick_and_expect_skip(instance)
    backfill = only_backfill(instance)
    assert run_of(instance, backfill, week, next_week) == (False, f"{strict}#1", {next_week})
    instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_FAILED))

    undone = choose(instance, "standard", **ada)
    assert undone["in_force_before"] == f"{strict}#1 by ada: audit season"
    said = tick_and_expect_skip(instance)
    assert "T2 2026-01-19 to 2026-01-26 (2 weeks)" in said
    assert "T1" not in said  # what is quarantined waits for FINRA, or for a replay
    backfill, _ = instance.get_backfills()  # the newest first
    weeks = {"T2|2026-01-19", "T2|2026-01-26"}
    assert run_of(instance, backfill, *sorted(weeks)) == (True, "standard#2", weeks)
    replayed = defs.resolve_job_def("finra_otc_weekly").execute_in_process(
        instance=instance,
        tags={"dagster/partition": week},
        run_config={"ops": {"finra_otc_weekly_load": {"config": {"replay": True}}}},
    )
    assert replayed.success
    assert instance.get_run_by_id(replayed.run_id).tags["preset"] == "standard#2"
