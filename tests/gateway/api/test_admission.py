"""A launch is refused for now where runs queue up, a disk is full, or a key launches too much."""

from datetime import timedelta

import dagster as dg
import pytest

from orchestration_project.engine.contracts.job_kinds import LIST_SESSIONS
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.gateway.limits import HourlyQuota
from tests.resources.weeks import NOON

RUN = {"job": "operations_runs", "config": LIST_SESSIONS.run_config({})}
BACKFILL = {"job": "finra_otc_weekly", "from": "2026-01-05", "to": "2026-02-02"}


@pytest.fixture
def limit(api, monkeypatch):
    """Return how to change a setting of the gateway."""
    return lambda name, value: monkeypatch.setitem(vars(api.services.settings), name, value)


def problem(api, path, body):
    answer = api.ask("POST", path, json=body)
    said = answer.json()
    return answer.status_code, said["detail"], answer.headers["retry-after"], said


def runs(api):
    return api.services.instance.get_runs_count()


@pytest.mark.slow
@pytest.mark.parametrize(("path", "body"), [("/runs", RUN), ("/backfills", BACKFILL)])
def test_nothing_is_launched_while_too_many_runs_wait(api, limit, path, body):
    instance = api.services.instance
    origin = instance.get_run_by_id(api.post("/runs", RUN)["run_id"]).remote_job_origin
    status = dg.DagsterRunStatus.QUEUED
    queued = instance.add_run(dg.DagsterRun("busy", status=status, remote_job_origin=origin))
    limit("queue_max_runs", 1)
    before = runs(api)
    status, detail, wait, said = problem(api, path, body)
    assert (status, detail, wait) == (503, "too many runs are waiting", "60")
    assert (said["expected"], said["found"]) == (
        "fewer than 1 queued runs (QUEUE_MAX_RUNS)",
        "1 queued runs",
    )
    assert runs(api) == before
    instance.delete_run(queued.run_id)
    assert api.ask("POST", path, json=body).is_success


@pytest.mark.slow
def test_nothing_is_launched_on_a_full_disk(api, limit):
    limit("disk_headroom_mib", 10**9)
    status, detail, wait, said = problem(api, "/runs", RUN)
    assert (status, detail, wait) == (503, "a disk is nearly full", "300")
    assert "DISK_HEADROOM_MIB" in said["expected"]


def test_a_dry_run_of_a_backfill_is_no_launch(api, limit):
    limit("disk_headroom_mib", 10**9)
    assert api.post("/backfills", {**BACKFILL, "dry_run": True})["partitions"]


def test_a_key_launches_so_much_an_hour_and_a_repeated_request_is_not_counted(api, limit):
    limit("queue_max_launches_per_key", 1)
    unused = api.ring.create(owner="a dispatcher", role=Role.OPERATOR, lasts=timedelta(hours=1))
    key = {"X-Api-Key": str(unused), "Idempotency-Key": "quota"}
    first = api.post("/runs", RUN, "", **key)
    assert api.post("/runs", RUN, "", **key)["run_id"] == first["run_id"]
    answer = api.ask("POST", "/runs", "", json=RUN, headers={"X-Api-Key": str(unused)})
    assert answer.status_code == 429
    assert 3500 < int(answer.headers["retry-after"]) <= 3601


def test_an_hour_later_the_quota_is_free_again():
    quota, hour = HourlyQuota(), timedelta(hours=1)
    assert [quota.take("ada", 2, NOON + minute * hour / 60) for minute in (0, 10)] == [0, 0]
    assert quota.take("ada", 2, NOON + hour / 2) == 1801
    assert quota.take("bob", 2, NOON + hour / 2) == 0
    assert quota.take("ada", 2, NOON + hour) == 0
    assert quota.take("ada", 2, NOON + hour) == 601
