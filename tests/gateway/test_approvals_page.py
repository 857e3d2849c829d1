"""The page on which a second person confirms or refuses an action."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.approvals import PATH, routes
from orchestration_project.services.access.approvals import Approval, ApprovalDemand, Approvals
from tests.gateway.door import Door, open_door
from tests.prepared import Prepared

DEMAND = ApprovalDemand("accept", {"asset": "<a>", "sha256": "0" * 64}, "<checked>", "the operator")


@pytest.fixture
def door(tmp_path: Path, prepared: Prepared) -> Iterator[Door]:
    url = prepared.sqlite(tmp_path / "access.sqlite")
    with (
        Warehouse(url, clock=Clock()) as warehouse,
        open_door(tmp_path, private=lambda doors: routes(warehouse, doors)) as door,
    ):
        yield door


def requested(door: Door, demand: ApprovalDemand = DEMAND) -> Approval:
    with pytest.raises(ConfigurationError, match="second person"):
        Approvals(door.warehouse, Clock()).use(demand)
    return newest(door)


def newest(door: Door) -> Approval:
    return Approvals(door.warehouse, Clock()).listed()[0]


def form(approval: Approval, decision: str, reason: str = "") -> dict[str, str]:
    return {
        "approval_id": approval.approval_id,
        "sha256": approval.sha256,
        "decision": decision,
        "reason": reason,
    }


def test_another_person_confirms_on_the_page_and_the_audit_has_it(door: Door):
    waiting = requested(door)
    admin = door.log_in(door.keys[Role.ADMIN])
    page = door.ask("GET", PATH, cookie=admin).text
    assert "asset: &quot;&lt;a&gt;&quot;" in page
    assert "<td>&lt;checked&gt;</td><td>the operator</td>" in page
    assert 'value="confirm">Confirm</button>' in page
    answer = door.post(PATH, form(waiting, "confirm"), cookie=admin)
    assert (answer.status, newest(door).state, newest(door).decided_by) == (
        *(303, "confirmed"),
        "the admin",
    )
    entries = door.audit(answer.headers["x-request-id"])
    assert [(each["outcome"], each["user_name"]) for each in entries] == [
        ("asked", "the admin"),
        ("done", "the admin"),
    ]


def test_the_requester_withdraws_and_cannot_confirm(door: Door):
    waiting = requested(door)
    operator = door.log_in(door.keys[Role.OPERATOR])
    page = door.ask("GET", PATH, cookie=operator).text
    assert ('value="confirm"' in page, "Withdraw</button>" in page) == (False, True)
    refused = door.post(PATH, form(waiting, "confirm"), cookie=operator)
    assert (refused.status, newest(door).state) == (422, "requested")
    assert 'role="alert"' in refused.text
    assert door.post(PATH, form(waiting, "refuse"), cookie=operator).status == 422
    assert door.post(PATH, form(waiting, "refuse", "a mistake"), cookie=operator).status == 303
    assert newest(door).state == "refused"


@pytest.mark.parametrize(
    ("role", "action", "status"),
    [
        (Role.VIEWER, "accept", 403),
        (Role.OPERATOR, "grant", 422),
        (Role.OPERATOR, "erase", 422),
        (Role.ADMIN, "erase", 303),
        (Role.OPERATOR, "accept", 303),
    ],
)
def test_each_role_confirms_what_it_may_do(door: Door, role: Role, action: str, status: int):
    waiting = requested(door, replace(DEMAND, action=action, person="eve"))
    cookie = door.log_in(door.keys[role])
    page = door.ask("GET", PATH, cookie=cookie)
    assert (page.status == 200) == (role is not Role.VIEWER)
    assert ('value="confirm"' in page.text) == (status == 303)
    assert door.post(PATH, form(waiting, "confirm"), cookie=cookie).status == status
    assert newest(door).state == ("confirmed" if status == 303 else "requested")


def test_what_nobody_requested_is_requested_on_the_page(door: Door):
    waiting = requested(door, replace(DEMAND, person=None))
    operator = door.log_in(door.keys[Role.OPERATOR])
    assert 'value="request">Request</button>' in door.ask("GET", PATH, cookie=operator).text
    assert door.post(PATH, form(waiting, "request"), cookie=operator).status == 303
    assert newest(door).requested_by == "the operator"


@pytest.mark.parametrize(
    "change", [{"sha256": "0" * 64}, {"decision": "apply"}, {"approval_id": "none"}]
)
def test_a_form_about_something_else_is_refused(door: Door, change: dict[str, str]):
    waiting = requested(door)
    admin = door.log_in(door.keys[Role.ADMIN])
    answer = door.post(PATH, form(waiting, "confirm") | change, cookie=admin)
    assert (answer.status, newest(door).state) == (422, "requested")


def test_a_request_holds_after_a_restart(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/own.sqlite"
    with Warehouse(url, clock=Clock()) as warehouse:
        warehouse.prepare(holds="demo")
        with pytest.raises(ConfigurationError):
            Approvals(warehouse, Clock()).use(DEMAND)
    with Warehouse(url, clock=Clock()) as warehouse:
        [kept] = Approvals(warehouse, Clock()).listed()
    assert (kept.state, kept.expires_at - kept.requested_at) == ("requested", timedelta(hours=24))
