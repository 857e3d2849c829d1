"""Changes of loads are announced at least once: FINRA's weeks and a declared dataset, alike."""

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.definitions import defs
from orchestration_project.domains.finra.tables.weekly import finra_venue_week
from orchestration_project.tables.spine import pending_announcements
from tests import databases
from tests.assets.conftest import BOTH
from tests.runs import lost_reports, metadata_by_partition

WEEKS = ("2023-01-30", "2023-02-06")
LOADED = {"otc_weekly": ("T1|2026-01-26", "T1|2026-02-02"), "treasury_weekly": WEEKS}
EACH = pytest.mark.parametrize("noun", LOADED)


def load(instance: dg.DagsterInstance, noun: str, first: str, last: str):
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    return defs.resolve_job_def(f"finra_{noun}").execute_in_process(
        instance=instance, raise_on_error=False, tags=tags
    )


def pending(url: str) -> list[str]:
    """Return the partitions of the rows that there are."""
    found = databases.rows(url, select(pending_announcements.c.partition_key))
    return sorted(key for (key,) in found)


@pytest.mark.slow
@BOTH
@EACH
def test_a_run_announces_its_loads_once_and_leaves_none_pending(url, instance, noun):
    first = load(instance, noun, *LOADED[noun])
    metadata = metadata_by_partition(first)[noun]
    assert first.success
    assert all("Reported late" not in metadata[key]["change"] for key in LOADED[noun])
    assert pending(url) == []
    again = metadata_by_partition(load(instance, noun, *LOADED[noun]))[noun]
    assert {value["outcome"] for value in again.values()} == {"unchanged"}
    assert pending(url) == []


@pytest.mark.slow
@BOTH
@EACH
def test_what_a_killed_run_loaded_is_announced_by_the_next_and_then_deleted(url, instance, noun):
    with lost_reports():
        crashed = load(instance, noun, *LOADED[noun])
    assert (crashed.success, metadata_by_partition(crashed)) == (False, {})
    assert pending(url) == sorted(LOADED[noun])
    first, last = LOADED[noun]
    metadata = metadata_by_partition(load(instance, noun, last, last))[noun][last]
    late = f" (Reported late: run {crashed.run_id[:8]}, which loaded it, had not reported it.)"
    assert metadata["change"].endswith(late)
    assert metadata["outcome"] == "reported late"
    assert pending(url) == [first]
    unchanged = metadata_by_partition(load(instance, noun, last, last))[noun][last]
    assert (unchanged["outcome"], unchanged["change"]) == ("unchanged", metadata["change"])


@pytest.mark.slow
@BOTH
def test_the_sentence_of_a_declared_dataset_counts_its_rows(url, instance):
    metadata = metadata_by_partition(load(instance, "treasury_weekly", *WEEKS))["treasury_weekly"]
    assert metadata[WEEKS[0]]["change"] == (
        f"finra_treasury_weekly, {WEEKS[0]}: 14 rows added, 0 changed, 0 removed, 0 unchanged."
    )


@pytest.mark.slow
@EACH
def test_a_run_that_announces_and_is_killed_leaves_it_to_the_next(url, instance, noun):
    for _ in range(2):
        with lost_reports():
            load(instance, noun, *LOADED[noun])
        assert pending(url) == sorted(LOADED[noun])
    metadata = metadata_by_partition(load(instance, noun, *LOADED[noun]))[noun]
    assert {value["outcome"] for value in metadata.values()} == {"reported late"}
    assert pending(url) == []


@pytest.mark.slow
@EACH
def test_what_a_running_run_loaded_is_left_to_it(url, instance, noun):
    with lost_reports():
        crashed = load(instance, noun, *LOADED[noun])
    going_on = dg.DagsterEvent("PIPELINE_START", f"finra_{noun}")
    instance.report_dagster_event(going_on, crashed.run_id)
    metadata = metadata_by_partition(load(instance, noun, *LOADED[noun]))[noun]
    for value in metadata.values():
        assert value["outcome"] == "unchanged"
        assert value.keys().isdisjoint({"change", "known_from"})
    assert pending(url) == sorted(LOADED[noun])


def test_what_a_run_loaded_before_it_failed_is_not_left_pending(url, instance):
    databases.forbid_two_weeks(url, finra_venue_week.name, "tier", "market", "venue_id")
    first, last = LOADED["otc_weekly"]
    assert not load(instance, "otc_weekly", first, last).success
    assert instance.get_materialized_partitions(dg.AssetKey(["finra", "otc_weekly"])) == {first}
    assert pending(url) == []
