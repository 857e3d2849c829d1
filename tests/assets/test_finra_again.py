"""Weeks that are requested again: by a backfill from a job, and by a run that is re-executed."""

import dagster as dg
import pytest
from sqlalchemy import func, select

from orchestration_project.assets.finra import SPECS
from orchestration_project.tables.spine import captures
from tests import databases
from tests.expecting import expect_success
from tests.runs import executed, op_metadata

FIRST, HELD_BACK, LAST = "T2|2025-11-24", "T2|2025-12-01", "T2|2025-12-08"
RANGE = {
    "dagster/asset_partition_range_start": FIRST,
    "dagster/asset_partition_range_end": LAST,
}
LATEST = ["OTCE|2026-01-26", "T1|2026-02-09", "T2|2026-01-26"]


@pytest.fixture
def instance(kept_instance):
    return kept_instance


@pytest.fixture
def url(demo_settings) -> str:
    return databases.sqlite_url(demo_settings.state_path)


def fetched(url) -> dict[str, int]:
    """Return how many pages were fetched of each partition."""
    row = captures.c
    return dict(
        databases.rows(url, select(row.partition_key, func.count()).group_by(row.partition_key))
    )


@pytest.mark.slow
def test_a_re_execution_fetches_nothing_that_was_loaded(url, instance):
    full = {"finra_otc_weekly_load": {"config": {"full": True}}}
    failed = executed(instance, "finra_otc_weekly", tags=RANGE, ops=full)
    assert not failed.success
    before = fetched(url)
    again = executed(
        instance,
        "finra_otc_weekly",
        again=dg.ReexecutionOptions.from_failure(failed.run_id, instance),
        tags=RANGE,
        ops=full,
    )
    assert not again.success
    assert fetched(url) == before | {HELD_BACK: 2 * before[HELD_BACK]}
    for spec in SPECS:
        assert instance.get_materialized_partitions(spec.key) == {FIRST, LAST}


@pytest.mark.slow
def test_a_full_run_that_succeeded_reads_again_if_re_executed(url, instance):
    requested = {
        "tags": {"dagster/partition": FIRST},
        "ops": {"finra_otc_weekly_load": {"config": {"full": True}}},
    }
    done = executed(instance, "finra_otc_weekly", **requested)
    before = fetched(url)
    again = dg.ReexecutionOptions(done.run_id)
    assert executed(instance, "finra_otc_weekly", again=again, **requested).success
    assert fetched(url) == {FIRST: 2 * before[FIRST]}


def backfilled(instance, tags=None, **config):
    """Run the job that launches backfills, and return its metadata."""
    ops = {"launch_finra_backfill": {"config": {"dry_run": False, **config}}}
    result = executed(instance, "finra_backfill", tags=tags, ops=ops)
    return op_metadata(expect_success(result))


def test_more_weeks_than_are_known_are_refused_unless_that_is_meant(demo_settings, instance):
    ops = {"launch_finra_backfill": {"config": {"weeks": 500}}}
    refused = executed(instance, "finra_backfill", ops=ops)
    failure = refused.failure_data_for_node("launch_finra_backfill")
    assert failure
    assert failure.error
    text = failure.error.to_string()
    assert "invalid weeks 500: expected at most " in text
    assert "set FINRA_FIRST_WEEK to an earlier day, or clip: true" in text
    metadata = backfilled(instance, weeks=500, clip=True, dry_run=True)
    assert metadata["requested_count"] == 500
    assert metadata["published_count"] < 500


@pytest.mark.slow
def test_the_job_backfills_the_latest_weeks_that_are_missing_as_whoever_launched_it(
    demo_settings, instance
):
    metadata = backfilled(instance, weeks=1, dry_run=True)
    assert (metadata["backfill"], metadata["partition_count"]) == ("none: dry run", 3)
    assert backfilled(instance, weeks=13, only_taken=True)["backfill"] == (
        "none: none of the weeks is to be loaded"
    )

    metadata = backfilled(instance, {"user": "ada"}, weeks=1, full=True)
    [backfill] = instance.get_backfills()
    assert metadata["backfill"] == backfill.backfill_id
    assert metadata["partitions"] == (
        "OTCE 2026-01-26 (1 week), T1 2026-02-09 (1 week), T2 2026-01-26 (1 week)"
    )
    traces = ("trace_id", ".dagster/traceparent")
    assert {name: tag for name, tag in backfill.tags.items() if name not in traces} == {
        "launched_by_job": "finra_backfill",
        "user": "ada",
        "requested_range": "the latest 1 weeks that are missing or changed",
        "loaded_range": metadata["partitions"],
    }
    assert backfill.run_config == {"ops": {"finra_otc_weekly_load": {"config": {"full": True}}}}
    targets = backfill.asset_backfill_data.target_subset.partitions_subsets_by_asset_key
    assert {key: sorted(subset.get_partition_keys()) for key, subset in targets.items()} == {
        spec.key: LATEST for spec in SPECS
    }
    assert backfilled(instance, weeks=1)["backfill"] == (
        f"none: {backfill.backfill_id}, of an earlier run of this job, is not over"
    )
