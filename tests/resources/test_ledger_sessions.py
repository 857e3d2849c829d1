"""Sessions, added up from the ledger on both databases."""

from datetime import timedelta

import pytest

from orchestration_project.errors import ConfigurationError
from orchestration_project.services.ledger.rules.entries import RunFacts
from orchestration_project.services.ledger.sessions import (
    SessionFilter,
    build_summary,
    read_sessions,
)
from tests.resources.weeks import NOON, row


def facts(run_id, status="SUCCESS", session="s", minute=0, **changes) -> RunFacts:
    at = NOON + timedelta(minutes=minute)
    begun = None if status == "QUEUED" else at
    is_over = status in ("SUCCESS", "FAILURE", "CANCELED")
    ended = at + timedelta(seconds=4) if is_over else None
    tags = {"session": session, "domain": "finra"}
    usual = {"started_at": begun, "ended_at": ended, "tags": tags}
    return RunFacts(run_id, "finra_otc_weekly", status, at, ended or at, **usual | changes)


def states(warehouse, **wanted) -> dict[str, str]:
    found = read_sessions(warehouse, SessionFilter(**wanted))
    return dict(zip(found["session"], found["state"], strict=True))


@pytest.mark.slow_after_first
def test_a_session_has_the_sums_of_its_runs(ledger, warehouse, partition_loader):
    partition_loader.write_batch(row("AAA"), row("BBB"), target=partition_loader.target(run_id="a"))
    retry = {"parent_run_id": "b", "root_run_id": "b"}
    ledger.record(
        [
            facts("a"),
            facts("b", "FAILURE", minute=1),
            facts("c", minute=2, **retry),
            facts("d", "STARTED", minute=3),
            facts("e", "QUEUED", minute=4),
        ]
    )
    found = build_summary(read_sessions(warehouse, SessionFilter()), NOON + timedelta(minutes=34))
    assert found.drop("byte_count").rows(named=True) == [
        {
            "session": "s",
            "state": "RUNNING",
            "domain": "finra",
            "job": "finra_otc_weekly",
            "run_count": 5,
            "success_count": 2,
            "failure_count": 0,  # it was retried
            "retry_count": 1,
            "progress_share": 0.6,
            "rows_landed": 2,
            "rows_rejected": 0,
            "rows_per_second": 2 / 12,
            "hours_without_change": 0.5,
            "trigger_kind": "person",
            "trigger_name": None,
            "user_name": None,
            "created_at": NOON,
            "ended_at": NOON + timedelta(minutes=2, seconds=4),
        }
    ]


def test_the_state_of_a_session_follows_from_those_of_its_runs(ledger, warehouse):
    expected = {
        ("QUEUED", "QUEUED"): "PENDING",
        ("SUCCESS", "QUEUED"): "RUNNING",
        ("FAILURE", "STARTED"): "RUNNING",
        ("FAILURE", "SUCCESS", "CANCELED"): "FAILED",
        ("CANCELED", "SUCCESS"): "CANCELLED",
        ("SUCCESS", "SUCCESS"): "COMPLETED",
    }
    ledger.record(
        [
            facts(f"{statuses}{place}", status, session=str(statuses))
            for statuses in expected
            for place, status in enumerate(statuses)
        ]
    )
    assert states(warehouse) == {str(statuses): state for statuses, state in expected.items()}


def test_sessions_are_found_by_time_domain_and_state_the_latest_first(ledger, warehouse):
    other = {"session": "web", "domain": "web"}
    ledger.record(
        [
            facts("a", session="old"),
            facts("b", session="long"),
            facts("c", session="long", minute=90),
            facts("d", "FAILURE", minute=95, tags=other),
        ]
    )
    assert list(states(warehouse)) == ["web", "long", "old"]
    assert states(warehouse, limit=1) == {"web": "FAILED"}
    assert states(warehouse, domain="finra", state="COMPLETED", limit=1) == {"long": "COMPLETED"}
    since = NOON + timedelta(minutes=60)
    assert states(warehouse, since=since, domain="finra") == {"long": "COMPLETED"}
    found = read_sessions(warehouse, SessionFilter(since=since, domain="finra"))
    assert found["run_count"].to_list() == [2]  # all its runs, not only the late one


@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_a_state_that_no_session_has_is_refused(warehouse):
    with pytest.raises(ConfigurationError, match="no session has such a status"):
        read_sessions(warehouse, SessionFilter(state="DONE"))
