"""Accepting a quarantined delivery: each kind of load waits for a second person."""

import dagster as dg
import pytest

from orchestration_project.definitions import defs
from orchestration_project.domains.web.tables import web_proposals
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.services.access.approvals import Approval, Approvals
from orchestration_project.settings import load_settings
from tests.gateway.test_metrics import filled

ACCEPTED = {"accept_sha256": "0" * 64, "accept_reason": "compared with the source"}
BOB = Principal("bob", Role.OPERATOR, "key")
BY_ADA = {"user": "ada", "launched_by": "ui"}
"""Tags of a run that ada launched at the gateway; one on a host has `launched_by: cli`."""
LOADS = [
    ("finra_otc_weekly", "finra_otc_weekly_load", "T1|2025-11-24", "finra/otc_weekly"),
    ("prices_daily", "prices_daily_load", "2025-11-01", "prices/daily"),
    ("fx_rates_daily", "fx_rates_daily_load", "2026-01-05", "fx/rates_daily"),
]


@pytest.fixture(autouse=True)
def four_eyes(demo_settings, monkeypatch, set_clock):
    set_clock("2026-03-02T15:00:00+00:00")
    monkeypatch.setenv("FOUR_EYES", "accept")


def load(
    instance: dg.DagsterInstance, job: str, op: str, partition: str, **tags: str
) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        partition_key=partition,
        run_config={"ops": {op: {"config": ACCEPTED}}},
        tags=tags,
        raise_on_error=False,
    )


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    return "\n".join(
        str(event.step_failure_data.error) for event in result.all_events if event.is_step_failure
    )


def requests() -> list[Approval]:
    with open_warehouse(load_settings()) as warehouse:
        return list(Approvals(warehouse, Clock()).listed())


@pytest.mark.slow
@pytest.mark.parametrize(("job", "op", "partition", "asset"), LOADS)
def test_a_load_that_accepts_a_delivery_waits_for_a_second_person(
    kept_instance, job, op, partition, asset
):
    started = load(kept_instance, job, op, partition)  # as `dagster job execute` on a host
    assert not started.success
    assert "accept needs a second person" in failure_of(started)
    [unclaimed] = requests()
    assert (unclaimed.state, unclaimed.parameters) == (
        "unclaimed",
        {"asset": asset, "sha256": ACCEPTED["accept_sha256"]},
    )
    assert "needs a second person" in failure_of(
        load(kept_instance, job, op, partition, user="root")
    )
    assert [request.state for request in requests()] == ["unclaimed"]
    assert not load(kept_instance, job, op, partition, **BY_ADA).success
    [waiting] = requests()
    assert (waiting.state, waiting.requested_by) == ("requested", "ada")
    with open_warehouse(load_settings()) as warehouse:
        Approvals(warehouse, Clock()).confirm(waiting.approval_id, waiting.sha256, BOB)
    confirmed = load(kept_instance, job, op, partition, **BY_ADA)
    assert "second person" not in failure_of(confirmed)
    [used] = requests()
    assert (used.state, used.used_by) == ("used", confirmed.run_id)


@pytest.mark.slow
def test_runs_of_one_backfill_share_a_confirmation_and_others_do_not(kept_instance):
    job, op, partition, _ = LOADS[0]
    backfill = {**BY_ADA, "dagster/backfill": "abc"}
    assert not load(kept_instance, job, op, partition, **backfill).success
    [waiting] = requests()
    with open_warehouse(load_settings()) as warehouse:
        Approvals(warehouse, Clock()).confirm(waiting.approval_id, waiting.sha256, BOB)
    for key in (partition, "T2|2025-11-24"):
        assert "second person" not in failure_of(load(kept_instance, job, op, key, **backfill))
    assert "second person" in failure_of(load(kept_instance, job, op, partition, **BY_ADA))


def decide_and_expect_failure(instance: dg.DagsterInstance, decision: str) -> str:
    """Decide on a proposal of selectors; return why it failed."""
    config = {"proposal_id": "p", "decision": decision, "reason": "compared ten products"}
    result = defs.resolve_job_def("web_accept_proposal").execute_in_process(
        instance=instance,
        run_config={"ops": {"decide_web_proposal": {"config": config}}},
        tags=BY_ADA,
        raise_on_error=False,
    )
    assert not result.success  # the proposal is of no crawl
    return failure_of(result)


def test_accepting_a_proposal_waits_and_rejecting_it_does_not(kept_instance):
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        connection.execute(filled(web_proposals, proposal_id="p", site="shop"))
    assert "second person" not in decide_and_expect_failure(kept_instance, "reject")
    assert requests() == []
    assert "accept needs a second person" in decide_and_expect_failure(kept_instance, "accept")
    [waiting] = requests()
    assert (waiting.requested_by, waiting.parameters) == (
        "ada",
        {"proposal_id": "p", "site": "shop"},
    )
    with open_warehouse(load_settings()) as warehouse:
        Approvals(warehouse, Clock()).confirm(waiting.approval_id, waiting.sha256, BOB)
    assert "second person" not in decide_and_expect_failure(kept_instance, "accept")


@pytest.mark.slow
def test_without_the_setting_nothing_waits(kept_instance, monkeypatch):
    monkeypatch.setenv("FOUR_EYES", "erase, grant")
    assert "second person" not in failure_of(load(kept_instance, *LOADS[0][:3]))
    assert requests() == []
