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
from tests.gateway.login_client import LoginClient, open_login_client
from tests.prepared import Prepared

DEMAND = ApprovalDemand("accept", {"asset": "<a>", "sha256": "0" * 64}, "<checked>", "the operator")


@pytest.fixture
def login_client(tmp_path: Path, prepared: Prepared) -> Iterator[LoginClient]:
    url = prepared.sqlite(tmp_path / "access.sqlite")
    with (
        Warehouse(url, clock=Clock()) as warehouse,
        open_login_client(
            tmp_path, private=lambda auth_services: routes(warehouse, auth_services)
        ) as login_client,
    ):
        yield login_client


def requested(login_client: LoginClient, demand: ApprovalDemand = DEMAND) -> Approval:
    with pytest.raises(ConfigurationError, match="second person"):
        Approvals(login_client.warehouse, Clock()).use(demand)
    return newest(login_client)


def newest(login_client: LoginClient) -> Approval:
    return Approvals(login_client.warehouse, Clock()).listed()[0]


def form(approval: Approval, decision: str, reason: str = "") -> dict[str, str]:
    return {
        "approval_id": approval.approval_id,
        "sha256": approval.sha256,
        "decision": decision,
        "reason": reason,
    }


def test_another_person_confirms_on_the_page_and_the_audit_has_it(login_client: LoginClient):
    waiting = requested(login_client)
    admin = login_client.log_in_without_failure(login_client.keys[Role.ADMIN])
    page = login_client.ask("GET", PATH, cookie=admin).text
    assert "asset: &quot;&lt;a&gt;&quot;" in page
    assert "<td>&lt;checked&gt;</td><td>the operator</td>" in page
    assert 'value="confirm">Confirm</button>' in page
    answer = login_client.post(PATH, form(waiting, "confirm"), cookie=admin)
    assert (answer.status, newest(login_client).state, newest(login_client).decided_by) == (
        *(303, "confirmed"),
        "the admin",
    )
    entries = login_client.audit(answer.headers["x-request-id"])
    assert [(entry["outcome"], entry["user_name"]) for entry in entries] == [
        ("asked", "the admin"),
        ("done", "the admin"),
    ]


def test_the_requester_withdraws_and_cannot_confirm(login_client: LoginClient):
    waiting = requested(login_client)
    operator = login_client.log_in_without_failure(login_client.keys[Role.OPERATOR])
    page = login_client.ask("GET", PATH, cookie=operator).text
    assert ('value="confirm"' in page, "Withdraw</button>" in page) == (False, True)
    refused = login_client.post(PATH, form(waiting, "confirm"), cookie=operator)
    assert (refused.status, newest(login_client).state) == (422, "requested")
    assert 'role="alert"' in refused.text
    assert login_client.post(PATH, form(waiting, "refuse"), cookie=operator).status == 422
    assert (
        login_client.post(PATH, form(waiting, "refuse", "a mistake"), cookie=operator).status == 303
    )
    assert newest(login_client).state == "refused"


@pytest.mark.slow_after_first
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
def test_each_role_confirms_what_it_may_do(
    login_client: LoginClient, role: Role, action: str, status: int
):
    waiting = requested(login_client, replace(DEMAND, action=action, person="eve"))
    cookie = login_client.log_in_without_failure(login_client.keys[role])
    page = login_client.ask("GET", PATH, cookie=cookie)
    assert (page.status == 200) == (role is not Role.VIEWER)
    assert ('value="confirm"' in page.text) == (status == 303)
    assert login_client.post(PATH, form(waiting, "confirm"), cookie=cookie).status == status
    assert newest(login_client).state == ("confirmed" if status == 303 else "requested")


def test_an_approval_is_requested_on_the_page(login_client: LoginClient):
    waiting = requested(login_client, replace(DEMAND, person=None))
    operator = login_client.log_in_without_failure(login_client.keys[Role.OPERATOR])
    assert 'value="request">Request</button>' in login_client.ask("GET", PATH, cookie=operator).text
    assert login_client.post(PATH, form(waiting, "request"), cookie=operator).status == 303
    assert newest(login_client).requested_by == "the operator"


@pytest.mark.parametrize(
    "change", [{"sha256": "0" * 64}, {"decision": "apply"}, {"approval_id": "none"}]
)
def test_a_form_about_something_else_is_refused(login_client: LoginClient, change: dict[str, str]):
    waiting = requested(login_client)
    admin = login_client.log_in_without_failure(login_client.keys[Role.ADMIN])
    answer = login_client.post(PATH, form(waiting, "confirm") | change, cookie=admin)
    assert (answer.status, newest(login_client).state) == (422, "requested")


@pytest.mark.slow
def test_a_request_holds_after_a_restart(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/own.sqlite"
    with Warehouse(url, clock=Clock()) as warehouse:
        warehouse.prepare(holds="demo")
        with pytest.raises(ConfigurationError):
            Approvals(warehouse, Clock()).use(DEMAND)
    with Warehouse(url, clock=Clock()) as warehouse:
        [kept] = Approvals(warehouse, Clock()).listed()
    assert (kept.state, kept.expires_at - kept.requested_at) == ("requested", timedelta(hours=24))
