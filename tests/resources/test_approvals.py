"""Four eyes: an action waits for another person, on both databases."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.access.approvals import (
    ApprovalDemand,
    Approvals,
    read_person,
    require_approval,
)
from orchestration_project.tables.access import access_approvals, access_audit

ADA, BOB = Principal("ada", Role.ADMIN, "key", "a"), Principal("bob", Role.ADMIN, "session")
EVE = Principal("eve", Role.OPERATOR, "key", "e")
VIEWER = Principal("vic", Role.VIEWER, "key", "v")
ANONYMOUS = Principal("anonymous", Role.ADMIN, "open")
GRANT = ApprovalDemand("grant", {"plugin": "rss", "permissions": ["b", "a"]}, "needed", "ada")
ACCEPT = ApprovalDemand("accept", {"asset": "a/b", "sha256": "0" * 64}, "checked", "eve", "run-1")
BY_ANONYMOUS = replace(GRANT, person=None)


@pytest.fixture
def approvals(warehouse, clock) -> Approvals:
    return Approvals(warehouse, clock)


def expect_refusal(approvals: Approvals, demand: ApprovalDemand) -> str:
    """Try an action that is not confirmed; return the ID of its request."""
    with pytest.raises(ConfigurationError, match="needs a second person") as raised:
        approvals.use(demand)
    assert raised.value.parts["what to do"]
    return raised.value.parts["expected"].split()[1].rstrip(",")


def state(approvals: Approvals, approval_id: str) -> str:
    return next(
        approval.state for approval in approvals.listed() if approval.approval_id == approval_id
    )


def test_an_action_takes_effect_once_after_another_person_confirmed_it(approvals, clock):
    waiting = expect_refusal(approvals, GRANT)
    assert expect_refusal(approvals, GRANT) == waiting
    [request] = approvals.listed()
    assert (request.requested_by, request.reason, request.sha256) == ("ada", "needed", GRANT.sha256)
    assert request.expires_at == clock.now() + timedelta(hours=24)
    assert request.parameters == GRANT.parameters
    approvals.confirm(waiting, GRANT.sha256, BOB)
    assert state(approvals, waiting) == "confirmed"
    approvals.use(GRANT)
    assert state(approvals, waiting) == "used"
    assert expect_refusal(approvals, GRANT) != waiting


@pytest.mark.parametrize(
    ("demand", "by", "found"),
    [
        (GRANT, ADA, "ada"),
        (replace(GRANT, person=" ADA "), ADA, "ada"),
        (GRANT, EVE, "eve with the role operator"),
        (GRANT, VIEWER, "vic with the role viewer"),
        (GRANT, ANONYMOUS, "no login"),
        (ACCEPT, EVE, "eve"),
        (ACCEPT, VIEWER, "vic with the role viewer"),
        (BY_ANONYMOUS, BOB, "unclaimed"),
    ],
)
def test_who_may_not_confirm_is_refused_and_the_action_still_waits(approvals, demand, by, found):
    waiting = expect_refusal(approvals, demand)
    with pytest.raises(ConfigurationError) as raised:
        approvals.confirm(waiting, demand.sha256, by)
    assert found in raised.value.parts["found"]
    assert expect_refusal(approvals, demand) == waiting


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"plugin": "rss", "permissions": ["a", "b"]}},
        {"reason": "another one"},
        {"action": "erase"},
    ],
)
def test_a_changed_action_needs_another_confirmation(approvals, change):
    approvals.confirm(expect_refusal(approvals, GRANT), GRANT.sha256, BOB)
    changed = replace(GRANT, **change)
    waiting = expect_refusal(approvals, changed)
    with pytest.raises(ConfigurationError, match="cannot be decided"):
        approvals.confirm(waiting, GRANT.sha256, BOB)
    approvals.use(GRANT)


@pytest.mark.parametrize("is_confirmed", [True, False])
def test_an_expired_request_is_refused_and_requested_again(approvals, clock, is_confirmed):
    waiting = expect_refusal(approvals, GRANT)
    if is_confirmed:
        approvals.confirm(waiting, GRANT.sha256, BOB)
    clock.at += timedelta(hours=24)
    assert state(approvals, waiting) == "expired"
    with pytest.raises(ConfigurationError) as raised:
        approvals.confirm(waiting, GRANT.sha256, BOB)
    assert raised.value.parts["found"] == "expired"
    assert expect_refusal(approvals, GRANT) != waiting


def test_an_unstarted_approval_is_claimed_and_confirmed_by_two(approvals):
    waiting = expect_refusal(approvals, BY_ANONYMOUS)
    with pytest.raises(ConfigurationError):
        approvals.claim(waiting, EVE)
    approvals.claim(waiting, ADA)
    with pytest.raises(ConfigurationError):
        approvals.claim(waiting, BOB)
    with pytest.raises(ConfigurationError):
        approvals.confirm(waiting, GRANT.sha256, ADA)
    approvals.confirm(waiting, GRANT.sha256, BOB)
    approvals.use(BY_ANONYMOUS)


def test_a_person_who_starts_an_unclaimed_approval_is_its_requester(approvals):
    waiting = expect_refusal(approvals, BY_ANONYMOUS)
    assert expect_refusal(approvals, GRANT) == waiting
    with pytest.raises(ConfigurationError):
        approvals.confirm(waiting, GRANT.sha256, ADA)


def test_a_refusal_needs_a_reason_and_ends_a_confirmed_request_too(approvals):
    waiting = expect_refusal(approvals, GRANT)
    with pytest.raises(ConfigurationError, match="invalid reason"):
        approvals.refuse(waiting, " ", BOB)
    approvals.confirm(waiting, GRANT.sha256, BOB)
    approvals.refuse(waiting, "not now", ADA)
    assert expect_refusal(approvals, GRANT) != waiting


def test_a_run_goes_on_with_what_was_confirmed_for_it_and_another_does_not(approvals):
    approvals.confirm(expect_refusal(approvals, ACCEPT), ACCEPT.sha256, ADA)
    approvals.use(ACCEPT)
    approvals.use(ACCEPT)  # its re-execution after a crash
    expect_refusal(approvals, replace(ACCEPT, use="run-2"))


def test_each_step_is_in_the_audit(approvals, warehouse):
    waiting = expect_refusal(approvals, GRANT)
    approvals.confirm(waiting, GRANT.sha256, BOB)
    approvals.use(GRANT)
    approvals.refuse(expect_refusal(approvals, GRANT), "enough", BOB)
    row = access_audit.c
    with warehouse.reading() as connection:
        found = connection.execute(select(row.operation, row.target, row.user_name, row.role)).all()
    steps = sorted((event.operation, json.loads(event.target)["by"]) for event in found)
    assert steps == [
        ("approval confirmed", "bob"),
        ("approval refused", "bob"),
        ("approval requested", "ada"),
        ("approval requested", "ada"),
        ("approval used", "ada"),
    ]
    assert {event.user_name for event in found} == {"bob", None}
    assert all(json.loads(event.target)["sha256"] == GRANT.sha256 for event in found)


def test_parameters_that_were_changed_in_the_database_are_not_confirmed(approvals, warehouse):
    waiting = expect_refusal(approvals, GRANT)
    with warehouse.writing() as connection:
        connection.execute(update(access_approvals).values(parameters='{"plugin": "other"}'))
    with pytest.raises(ConfigurationError, match="cannot be decided"):
        approvals.confirm(waiting, GRANT.sha256, BOB)


def test_a_request_that_was_changed_in_the_database_is_not_found(approvals, warehouse):
    waiting = expect_refusal(approvals, GRANT)
    approvals.confirm(waiting, GRANT.sha256, BOB)
    with warehouse.writing() as connection:
        connection.execute(update(access_approvals).values(sha256=ACCEPT.sha256))
    expect_refusal(approvals, GRANT)
    expect_refusal(approvals, ACCEPT)


@pytest.mark.parametrize(
    ("setting", "is_needed"), [("", False), ("erase, accept", False), ("grant", True)]
)
def test_only_what_the_setting_names_needs_a_second_person(
    warehouse, clock, demo_settings, monkeypatch, setting, is_needed
):
    monkeypatch.setenv("FOUR_EYES", setting)
    if is_needed:
        with pytest.raises(ConfigurationError, match="needs a second person"):
            require_approval(warehouse, GRANT)
    else:
        assert not require_approval(warehouse, GRANT)
        assert Approvals(warehouse, clock).listed() == []


@pytest.mark.parametrize(
    ("tags", "person"),
    [
        ({"user": "ada"}, "ada"),
        ({"user": "ada", "launched_by": "api"}, "ada"),
        ({"user": "root", "launched_by": "cli"}, None),
        ({}, None),
    ],
)
def test_the_account_of_a_command_is_no_person(tags, person):
    assert read_person(tags) == person
