"""The replay job of a domain, as `dagster job execute` runs it: without a daemon."""

from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import RemoteJobOrigin
from sqlalchemy import select

from orchestration_project.definitions import defs
from orchestration_project.instance.stored import repository_origin
from orchestration_project.tables.spine import deliveries
from tests import databases
from tests.runs import executed

WEEK, OTHER_WEEK = "OTCE|2026-01-26", "OTCE|2026-01-19"
TABLE, JOB, MODULE = "finra_otc_weekly", "finra_replay", "orchestration_project.definitions"


def load(instance: dg.DagsterInstance, week: str) -> None:
    job = defs.resolve_job_def("finra_otc_weekly")
    job.execute_in_process(instance=instance, partition_key=week)


def replay(instance: dg.DagsterInstance, **config: Any) -> dg.JobExecutionResult:
    ops = {"replay_finra": {"config": {"table": TABLE, **config}}}
    return executed(instance, "finra_replay", ops=ops, tags={"user": "ada"})


def expect_refusal(result: dg.JobExecutionResult) -> str:
    failure = result.failure_data_for_node("replay_finra")
    assert failure
    assert failure.error
    return failure.error.to_string()


@pytest.mark.slow
def test_a_replay_loads_in_its_own_process_for_the_person_who_launched_it(url, instance):
    load(instance, WEEK)
    load(instance, OTHER_WEEK)
    before = databases.rows(url, select(deliveries.c.group_id))
    result = replay(instance, filters={"tier": "OTCE", "from": "2026-01-26"}, dry_run=False)
    assert result.success
    [run] = instance.get_runs(dg.RunsFilter(tags={"launched_by_job": "finra_replay"}))
    assert (run.job_name, run.is_success, run.tags["user"]) == (TABLE, True, "ada")
    ends = [run.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end")]
    assert ends == [WEEK, WEEK]
    assert run.run_config == {
        "ops": {"finra_otc_weekly_load": {"config": {"allow_older": False, "replay": True}}}
    }
    assert databases.rows(url, select(deliveries.c.group_id)) == before


def test_a_launched_replay_requests_a_backfill_for_the_person_and_ends(instance, demo_settings):
    load(instance, WEEK)
    job = ReconstructableRepository.for_module(MODULE, "defs").get_reconstructable_job(JOB)
    choice = {"table": TABLE, "partitions": [WEEK], "allow_older": True, "dry_run": False}
    run = instance.create_run_for_job(
        job.get_definition(),
        run_config={"ops": {"replay_finra": {"config": choice}}},
        tags={"user": "ada"},
        remote_job_origin=RemoteJobOrigin(repository_origin(), JOB),
        job_code_origin=job.get_python_origin(),
    )
    assert execute_run(job, run, instance).success
    [backfill] = instance.get_backfills()
    assert (backfill.tags["launched_by_job"], backfill.tags["user"]) == (JOB, "ada")
    config = {"allow_older": True, "replay": True}
    assert backfill.run_config == {"ops": {"finra_otc_weekly_load": {"config": config}}}
    partitions = backfill.asset_backfill_data.target_subset.partitions_subsets_by_asset_key
    assert {WEEK} == {*partitions[dg.AssetKey(["finra", "otc_weekly"])].get_partition_keys()}
    assert len(instance.get_runs()) == 2


@pytest.mark.slow
def test_a_dry_run_launches_no_run(instance, demo_settings):
    load(instance, WEEK)
    assert replay(instance, all_partitions=True).success
    assert instance.get_runs(dg.RunsFilter(tags={"launched_by_job": "finra_replay"})) == []


@pytest.mark.slow
def test_a_replay_fails_with_a_run_that_it_executed(instance, demo_settings):
    load(instance, WEEK)
    first = f"{TABLE}:{WEEK}#1"
    failed = replay(instance, group_id=first, accept_sha256="0f", dry_run=False)
    assert not failed.success
    assert "1 of 1 runs failed" in expect_refusal(failed)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "expected one of group_id, partitions, filters, all_partitions"),
        ({"partitions": [WEEK], "all_partitions": True}, "found: 2 of them"),
        ({"filters": {"symbol": "A"}}, "invalid filter of finra_otc_weekly: expected tier, from"),
        ({"filters": {"tier": "T9"}}, "invalid tier: expected one of T1, T2, OTCE"),
        ({"filters": {"from": "May"}}, "invalid from: expected a date"),
        ({"table": "prices_daily", "all_partitions": True}, "invalid table: expected one of"),
        ({"partitions": ["T1|1999-01-04"]}, "the partitions do not exist"),
    ],
)
def test_a_choice_that_cannot_be_replayed_is_refused(
    instance, demo_settings, config: dict[str, Any], message: str
):
    assert message in expect_refusal(replay(instance, **config))
