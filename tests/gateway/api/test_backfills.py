"""Backfills through the API: which runs they are done by, and how they are followed."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.backfill import execute_backfill_iteration
from sqlalchemy import func, select

from orchestration_project.client import ApiError, Client
from orchestration_project.definitions import defs
from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.tables.spine import captures
from tests.gateway.api.conftest import DEFINITIONS, HOME, WEEK

FIRST = WEEK.partition("|")[2]

PARTITIONS = {
    job.name: job.partitions_def
    for job in defs.get_repository_def().get_all_jobs()
    if job.partitions_def is not None and not job.name.startswith("__")
}
"""The partitions of each job that has any."""

BACKFILL = "dagster/backfill"


def keys_of(job: str) -> list[str]:
    """Return the keys that there are now: midnight adds one."""
    return list(PARTITIONS[job].get_partition_keys())


@pytest.fixture(scope="module")
def daemon(api) -> Iterator[Callable[[], None]]:
    """Run Dagster's daemon once for all backfills; their runs are over when it returns.

    It has an instance of its own, as in its own process: that of the gateway removes the tags by
    which the project reads where a run comes from.
    """
    target = LoadableTargetOrigin(
        executable_path=sys.executable,
        module_name=DEFINITIONS,
        working_directory=str(PROJECT_ROOT),
    )
    origin = InProcessCodeLocationOrigin(target, location_name=DEFINITIONS)
    location = InProcessWorkspaceLoadTarget(origin)
    with (
        dg.DagsterInstance.from_ref(api.services.instance.get_ref()) as instance,
        WorkspaceProcessContext(instance, location) as process,
    ):

        def iterate_without_failure() -> None:
            errors = list(execute_backfill_iteration(process, logging.getLogger("daemon")))
            assert [error for error in errors if error is not None] == []

        yield iterate_without_failure


def requested(api, job: str, first: str, last: str, **more: Any) -> Mapping[str, Any]:
    return api.post("/backfills", {"job": job, "from": first, "to": last, **more})


def refused(api, job: str, first: str, last: str, **more: Any) -> Mapping[str, Any]:
    body = {"job": job, "from": first, "to": last, **more}
    return api.expect_problem("POST", "/backfills", json=body)


def only_run_of(api, backfill_id: str) -> dg.DagsterRun:
    [run] = api.services.instance.get_runs(dg.RunsFilter(tags={BACKFILL: backfill_id}))
    return run


def made_by(api, run: dg.DagsterRun) -> set[tuple[str, str]]:
    """Return the assets and partitions that a run materialized."""
    events = api.get(f"/runs/{run.run_id}/events?limit=1000")["events"]
    made = [event for event in events if event["type"] == "ASSET_MATERIALIZATION"]
    return {(materialization["asset"], materialization["partition"]) for materialization in made}


def captures_of(api, run: dg.DagsterRun) -> int:
    """Return how many answers of a source a run has captured."""
    wanted = select(func.count()).where(captures.c.run_id == run.run_id)
    with api.services.warehouse.reading() as connection:
        return connection.execute(wanted).scalar_one()


@pytest.mark.slow_after_first
@pytest.mark.parametrize("job", sorted(PARTITIONS))
def test_a_backfill_is_of_the_job_that_was_asked_for(api, job):
    key = keys_of(job)[-1]
    day = next(part for part in key.split("|") if part[:2] == "20")[:10]
    found = requested(api, job, day, day)
    backfill = api.services.instance.get_backfill(found["backfill_id"])
    assert (backfill.job_name, backfill.is_asset_backfill) == (job, False)
    assert backfill.partition_names == found["partitions"]
    assert key in found["partitions"]
    api.post(f"/backfills/{found['backfill_id']}/cancel")


@pytest.mark.slow
def test_a_replay_job_requests_load_runs_of_the_recorded_delivery_and_ends(api, loaded, daemon):
    choice = {"table": "finra_otc_weekly", "partitions": [WEEK], "dry_run": False}
    config = {"ops": {"replay_finra": {"config": choice}}}
    launched = api.post("/runs", {"job": "finra_replay", "config": config})
    replay = api.services.instance.get_run_by_id(launched["run_id"])
    assert replay.status == dg.DagsterRunStatus.SUCCESS
    daemon()
    [run, *_] = api.services.instance.get_runs()  # the newest stands first
    assert (run.job_name, run.status) == ("__ASSET_JOB", dg.DagsterRunStatus.SUCCESS)
    assert ("finra/otc_weekly", WEEK) in made_by(api, run)
    assert captures_of(api, run) == 0


@pytest.mark.slow
def test_a_backfill_loads_all_its_partitions_in_one_run_and_is_followed_until_it_is_over(
    api, daemon
):
    weeks = ["2023-01-23", "2023-01-30", "2023-02-06"]
    found = requested(api, "finra_treasury_weekly", weeks[0], weeks[-1])
    daemon()
    run = only_run_of(api, found["backfill_id"])
    assert (run.job_name, run.tags["user"]) == ("finra_treasury_weekly", "the operator")
    assert made_by(api, run) == {("finra/treasury_weekly", week) for week in weeks}
    daemon()
    status = api.get(f"/backfills/{found['backfill_id']}")
    assert (status["status"], status["partitions"]) == ("COMPLETED_SUCCESS", weeks)
    assert status["outcome"] == "loaded"
    assert run.tags["requested_range"] == run.tags["loaded_range"] == f"{weeks[0]} to {weeks[-1]}"
    none_missing = requested(api, "finra_treasury_weekly", weeks[0], weeks[-1], only_missing=True)
    assert (none_missing["backfill_id"], none_missing["partitions"]) == (None, [])


@pytest.mark.slow
def test_a_backfill_that_is_canceled_before_it_began_launches_no_run(api, daemon):
    found = requested(api, "finra_treasury_weekly", "2023-02-06", "2023-02-06")
    api.post(f"/backfills/{found['backfill_id']}/cancel")
    daemon()
    assert api.get(f"/backfills/{found['backfill_id']}")["status"] == "CANCELED"
    assert not api.services.instance.get_runs(dg.RunsFilter(tags={BACKFILL: found["backfill_id"]}))


@pytest.mark.slow_after_first
@pytest.mark.parametrize("more", [{}, {"dry_run": True}, {"only_missing": True}])
@pytest.mark.parametrize(
    ("first", "last", "part", "range_"),
    [
        ("2031-01-01", "2031-12-31", None, "no partition from 2031-01-01 to 2031-12-31"),
        ("2026-02-03", "2026-02-08", None, "no partition from 2026-02-03 to 2026-02-08"),
        (FIRST, FIRST, "T9", "no partition of T9 from 2026-02-02 to 2026-02-02"),
    ],
)
def test_a_range_without_a_partition_is_refused(api, first, last, part, range_, more):
    problem = refused(api, "finra_otc_weekly", first, last, part=part, **more)
    assert (problem["status"], problem["category"]) == (422, "request")
    assert problem["detail"] == f"invalid range: finra_otc_weekly has {range_}"
    assert problem["expected"].startswith("dates between ")


def days_of(job: str) -> tuple[str, str]:
    days = sorted(key.rpartition("|")[2] for key in keys_of(job))
    return days[0], days[-1]


@pytest.mark.parametrize(
    ("job", "setting"),
    [("finra_otc_weekly", "FINRA_FIRST_WEEK"), ("fx_rates_daily", "FX_FIRST_DAY")],
)
def test_a_range_beyond_the_known_partitions_is_refused_unless_it_is_clipped(api, job, setting):
    first, last = days_of(job)
    problem = refused(api, job, "2020-01-06", last, dry_run=True)
    assert problem["status"] == 422
    assert problem["detail"] == f"invalid range: {job} has no partition before {first}"
    assert problem["expected"] == f"dates between {first} and {last}"
    assert problem["found"] == f"2020-01-06 to {last}"
    assert setting in problem["remedy"]
    later = refused(api, job, first, "2031-12-31", dry_run=True)
    assert later["detail"] == f"invalid range: {job} has no partition after {last}"
    assert "DEMO_CLOCK_NOW" in later["remedy"]
    clipped = requested(api, job, "2020-01-06", last, dry_run=True, clip=True)
    assert clipped["requested_range"] == f"2020-01-06 to {last}"
    assert clipped["loaded_range"] == f"{first} to {last}"
    assert clipped["notes"][0] == f"nothing is loaded before {first}, the first partition"
    assert clipped["partitions"] == keys_of(job)


@pytest.fixture
def client(api) -> Iterator[Client]:
    with Client(HOME, str(api.keys["operator"]), transport=api) as client:
        yield client


def test_the_client_clips_a_range_only_on_request(client):
    first = date.fromisoformat(days_of("fx_rates_daily")[0])
    with pytest.raises(ApiError, match="has no partition before"):
        client.backfill("fx_rates_daily", date(2020, 1, 1), first, dry_run=True)
    found = client.backfill("fx_rates_daily", date(2020, 1, 1), first, clip=True, dry_run=True)
    assert found.partitions == [first.isoformat()]
    assert found.loaded_range == f"{first} to {first}"


def test_a_month_in_which_a_range_begins_is_loaded_whole_and_named(api):
    months = keys_of("prices_daily")
    first, last = months[-3], months[-2]
    found = requested(api, "prices_daily", f"{first[:8]}15", f"{last[:8]}20")
    assert found["partitions"] == [first, last]
    assert found["notes"] == [
        f"{first} is loaded whole: the range begins within it, on {first[:8]}15",
        f"{last} is loaded whole: the range ends within it, on {last[:8]}20",
    ]
    backfill = api.services.instance.get_backfill(found["backfill_id"])
    assert backfill.tags["requested_range"] == f"{first[:8]}15 to {last[:8]}20"
    assert backfill.tags["loaded_range"] == f"{first} to {last}"
    api.post(f"/backfills/{found['backfill_id']}/cancel")


def test_no_caller_sets_the_tags_of_a_range(api):
    body = {"job": "fx_rates_daily", "partition": days_of("fx_rates_daily")[0]}
    problem = api.expect_problem("POST", "/runs", json=body | {"tags": {"loaded_range": "all"}})
    assert problem["status"] == 422


@pytest.mark.parametrize(
    ("job", "partition", "meant"),
    [
        ("finra_treasury_monthly", "2026-01-30", "2026-01-01"),
        ("finra_short_interest", "2026-01-30", "2026-01-16"),
        ("finra_bond_trade_activity", "T1|2026-01-08", "T1|2026-01-09"),
        ("finra_otc_weekly", "T1|2026-01-08", "T1|2026-01-05"),
        ("finra_otc_weekly", "T1|2030-01-07", "T1|2026-02-09"),
    ],
)
def test_the_period_of_a_date_is_proposed(api, job, partition, meant):
    problem = api.expect_problem("POST", "/runs", json={"job": job, "partition": partition})
    assert problem["remedy"] == f"did you mean {meant}?"


@pytest.mark.slow
def test_a_backfill_of_what_is_not_published_says_so(api, daemon):
    found = requested(api, "finra_otc_weekly", "2026-02-09", "2026-02-09", part="T2")
    daemon()
    daemon()
    status = api.get(f"/backfills/{found['backfill_id']}")
    assert (status["status"], status["outcome"]) == ("COMPLETED_SUCCESS", "not_published")
