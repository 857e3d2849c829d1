"""The page that lists, makes and ends pauses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.gateway.pauses import PATH, routes
from orchestration_project.services.pauses import Pauses
from tests.gateway.login_client import LoginClient, open_login_client

FORM = {"action": "pause", "subject": "source:finra", "reason": "<maintenance>", "until": ""}


@pytest.fixture(scope="module")
def login_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginClient]:
    folder: Path = tmp_path_factory.mktemp("pauses")
    database = f"sqlite:///{folder}/access.sqlite"
    with (
        Warehouse(database, clock=Clock()) as warehouse,
        open_login_client(
            folder, private=lambda auth_services: routes(warehouse, auth_services, lambda: REGISTRY)
        ) as login_client,
    ):
        yield login_client


def subjects(login_client: LoginClient) -> list[str]:
    return [pause.subject for pause in Pauses(login_client.warehouse).list_in_effect()]


def test_an_operator_pauses_and_resumes_on_the_page_and_the_audit_has_both(
    login_client: LoginClient,
):
    operator = login_client.log_in_without_failure(login_client.keys[Role.OPERATOR])
    paused = login_client.post(PATH, FORM, cookie=operator)
    assert (paused.status, paused.headers["location"]) == (303, PATH)
    page = login_client.ask("GET", PATH, cookie=operator).text
    assert "<td>source:finra</td><td>it is resumed</td><td>&lt;maintenance&gt;</td>" in page
    assert "Resume source:finra</button>" in page
    assert subjects(login_client) == ["source:finra"]
    resumed = login_client.post(
        PATH, {"action": "resume", "subject": "source:finra"}, cookie=operator
    )
    assert (resumed.status, subjects(login_client)) == (303, [])
    for answer, action in ((paused, "pause"), (resumed, "resume")):
        entries = login_client.audit(answer.headers["x-request-id"])
        assert [(entry["outcome"], entry["user_name"]) for entry in entries] == [
            ("asked", "the operator"),
            ("done", "the operator"),
        ]
        assert f'"action": "{action}"' in entries[0]["target"]


@pytest.mark.parametrize(
    ("field", "text", "problem"),
    [
        ("subject", "finrq", "invalid subject of a pause"),
        ("reason", " ", "invalid reason"),
        ("until", "tomorrow", "invalid end of a pause"),
        ("action", "resume", "not paused"),
    ],
)
def test_an_invalid_field_is_named_above_the_form_which_keeps_the_others(
    login_client: LoginClient, field: str, text: str, problem: str
):
    operator = login_client.log_in_without_failure(login_client.keys[Role.OPERATOR])
    answer = login_client.post(PATH, {**FORM, field: text}, cookie=operator)
    assert answer.status == 422
    assert f'<p role="alert">{problem}' in answer.text
    assert subjects(login_client) == []


def test_a_viewer_reads_the_page_and_changes_nothing(login_client: LoginClient):
    viewer = login_client.log_in_without_failure(login_client.keys[Role.VIEWER])
    page = login_client.ask("GET", PATH, cookie=viewer)
    assert (page.status, '<form method="post" action="/pauses">' in page.text) == (200, False)
    assert login_client.post(PATH, FORM, cookie=viewer).status == 403
    assert subjects(login_client) == []


def test_another_site_cannot_pause(login_client: LoginClient):
    operator = login_client.log_in_without_failure(login_client.keys[Role.OPERATOR])
    answer = login_client.post(PATH, FORM, cookie=operator, Origin="https://evil.example")
    assert (answer.status, subjects(login_client)) == (403, [])
