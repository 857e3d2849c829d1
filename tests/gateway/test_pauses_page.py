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
from tests.gateway.door import Door, open_door

FORM = {"action": "pause", "subject": "source:finra", "reason": "<maintenance>", "until": ""}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder: Path = tmp_path_factory.mktemp("pauses")
    database = f"sqlite:///{folder}/access.sqlite"
    with (
        Warehouse(database, clock=Clock()) as warehouse,
        open_door(folder, private=lambda doors: routes(warehouse, doors, lambda: REGISTRY)) as door,
    ):
        yield door


def subjects(door: Door) -> list[str]:
    return [pause.subject for pause in Pauses(door.warehouse).list_in_effect()]


def test_an_operator_pauses_and_resumes_on_the_page_and_the_audit_has_both(door: Door):
    operator = door.log_in(door.keys[Role.OPERATOR])
    paused = door.post(PATH, FORM, cookie=operator)
    assert (paused.status, paused.headers["location"]) == (303, PATH)
    page = door.ask("GET", PATH, cookie=operator).text
    assert "<td>source:finra</td><td>it is resumed</td><td>&lt;maintenance&gt;</td>" in page
    assert "Resume source:finra</button>" in page
    assert subjects(door) == ["source:finra"]
    resumed = door.post(PATH, {"action": "resume", "subject": "source:finra"}, cookie=operator)
    assert (resumed.status, subjects(door)) == (303, [])
    for answer, action in ((paused, "pause"), (resumed, "resume")):
        entries = door.audit(answer.headers["x-request-id"])
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
    door: Door, field: str, text: str, problem: str
):
    operator = door.log_in(door.keys[Role.OPERATOR])
    answer = door.post(PATH, {**FORM, field: text}, cookie=operator)
    assert answer.status == 422
    assert f'<p role="alert">{problem}' in answer.text
    assert subjects(door) == []


def test_a_viewer_reads_the_page_and_changes_nothing(door: Door):
    viewer = door.log_in(door.keys[Role.VIEWER])
    page = door.ask("GET", PATH, cookie=viewer)
    assert (page.status, '<form method="post" action="/pauses">' in page.text) == (200, False)
    assert door.post(PATH, FORM, cookie=viewer).status == 403
    assert subjects(door) == []


def test_another_site_cannot_pause(door: Door):
    operator = door.log_in(door.keys[Role.OPERATOR])
    answer = door.post(PATH, FORM, cookie=operator, Origin="https://evil.example")
    assert (answer.status, subjects(door)) == (403, [])
