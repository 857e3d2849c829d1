"""The demo of PeopleForce and Jira: what the wire says, and the faults that travel there."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from orchestration_demo.saas.people import MAX_FIELD_LENGTH

from orchestration_project.resources.saas.connection import saas_demo
from orchestration_project.settings import settings_class
from tests.faulty_server import FaultyServer, Reply
from tests.saas_demo import SaasDemo, document


@pytest.fixture(scope="module")
def server() -> Iterator[SaasDemo]:
    with SaasDemo() as demo:
        yield demo


@pytest.fixture
def demo(server: SaasDemo) -> SaasDemo:
    server.start_over()
    return server


def create(demo, **fields):
    usual = {"project": {"key": "HR"}, "issuetype": {"name": "Task"}, "summary": "Do it"}
    return demo.ask("POST", "/issue", json={"fields": usual | fields})


def test_the_program_serves_both_systems_until_it_is_ended(tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    settings = settings_class()(_env_file=None, state_dir=tmp_path, demo_saas_tasks=3)  # pyright: ignore[reportCallIssue] - pydantic's own argument
    program = saas_demo(settings)
    try:
        url = program.url()
        assert program.url() == url
        state = httpx.get(f"{url}/demo/state").json()
    finally:
        program.stop()
    assert [task["id"] for task in state["tasks"]] == [1000, 1001, 1002]
    assert {path.name for path in Path(tmp_path, "demo_saas").iterdir()} == {
        "server.lock",
        "server.log",
    }


def test_a_seed_decides_the_tasks_and_some_of_them_are_odd(demo):
    demo.start_over(task_count=60, seed=7)
    first = demo.state()["tasks"]
    demo.start_over(task_count=60, seed=7)
    assert demo.state()["tasks"] == first
    assert [first[-1][name] for name in ("title", "description", "assigned_to")] == [None] * 3
    assert len(first[-2]["description"]) == MAX_FIELD_LENGTH
    demo.start_over(task_count=60, seed=8)
    assert demo.state()["tasks"] != first


def test_the_old_search_is_gone_and_the_new_one_wants_a_bound(demo):
    assert demo.ask("GET", "/search?jql=project=HR").status_code == 410
    ordered = ("project = HR ORDER BY ,", "project = HR ORDER BY summary")
    others = ("", "ORDER BY created", 'issue.property["a"].b = "c"', "summary ~ x")
    for jql in (*others, *ordered):
        answer = demo.ask("POST", "/search/jql", json={"jql": jql})
        assert (answer.status_code, len(answer.json()["errorMessages"])) == (400, 1)


def test_a_search_compares_projects_labels_categories_and_times(demo):
    create(demo, labels=["a", "b"])
    create(demo)
    create(demo, project={"key": "IT"})
    demo.do("issues/HR-2", transition="31")

    def found(jql):
        answer = demo.ask("POST", "/search/jql", json={"jql": jql})
        return [issue["key"] for issue in answer.json()["issues"]]

    assert found("project = HR ORDER BY created ASC") == ["HR-1", "HR-2"]
    assert found('project in ("IT", HR) AND statusCategory != Done') == ["IT-1", "HR-1"]
    assert found("labels = b") == ["HR-1"]
    assert found('updated >= "2026-03-02 12:00" AND statusCategory = Done') == ["HR-2"]
    assert found('updated >= "2026-03-03"') == []


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"summary": None}, "summary", "You must specify a summary"),
        ({"summary": "x" * 256}, "summary", "less than 255"),
        ({"summary": "a\nb"}, "summary", "newline"),
        ({"project": {"key": "NO"}}, "project", "valid project is required"),
        ({"issuetype": {"name": "Epic"}}, "issuetype", "valid issue type"),
        ({"description": "text"}, "description", "Atlassian Document"),
        ({"description": document("")}, "description", "INVALID_INPUT"),
        ({"description": document("x" * 32_768)}, "description", "too long"),
        ({"labels": ["a b"]}, "labels", "contains spaces"),
        ({"duedate": "tomorrow"}, "duedate", "Error parsing date"),
        ({"assignee": {"accountId": "712020:gone"}}, "assignee", "cannot be assigned"),
        ({"customfield_1": "x"}, "customfield_1", "not on the appropriate screen"),
        (
            {"project": {"key": "OPS"}, "issuetype": {"name": "Request"}},
            "customfield_10050",
            "Department is required.",
        ),
        (
            {
                "project": {"key": "OPS"},
                "issuetype": {"name": "Request"},
                "customfield_10050": {"value": "Sales"},
            },
            "customfield_10050",
            "is not valid",
        ),
    ],
)
def test_what_jira_would_refuse_is_refused_by_field(demo, fields, field, problem):
    answer = create(demo, **fields)
    assert answer.status_code == 400
    assert problem in answer.json()["errors"][field]
    assert demo.issues() == []


def test_a_request_without_credentials_is_refused(demo):
    for system, path in (
        ("jira", "rest/api/3/issue/HR-1"),
        ("peopleforce", "api/public/v3/tasks"),
    ):
        assert httpx.get(f"{demo.url}/{system}/{path}").status_code == 401


def test_a_drawn_fault_depends_on_the_seed_alone(demo):
    def statuses():
        demo.start_over()
        demo.do("faults", seed=3, share=0.5, kinds=["unavailable", "too_many"])
        return [demo.ask("GET", "/issue/HR-1").status_code for _ in range(20)]

    first = statuses()
    assert set(first) == {404, 429, 503}
    assert statuses() == first


def test_deliveries_are_signed_over_their_bytes_and_may_come_twice_or_never(demo):
    with FaultyServer(lambda _: Reply(202)) as receiver:
        for system in ("jira", "peopleforce"):
            demo.do("hooks", system=system, url=receiver.url, secret="s3cret")
        demo.do("tasks", title="👋🏽")
        create(demo, description=document("x"))
        demo.do("issues/HR-1", transition="31")
        result = demo.do("deliveries", twice_share=1.0)
        assert result == {"statuses": [202] * 6}
        bodies = {}
        for request in receiver.requests:
            mac = hmac.new(b"s3cret", request.body, hashlib.sha256).hexdigest()
            signature = request.headers.get("x-hub-signature") or request.headers.get(
                "x-peopleforce-signature"
            )
            assert signature == f"sha256={mac}"
            body = json.loads(request.body)
            bodies[body.get("webhookEvent") or body["action"]] = body
        assert set(bodies) == {"task_create", "jira:issue_created", "jira:issue_updated"}
        updated = bodies["jira:issue_updated"]
        assert updated["issue"]["fields"]["status"]["statusCategory"]["key"] == "done"
        assert [item["toString"] for item in updated["changelog"]["items"]] == ["Done"]
        create(demo)
        assert demo.do("deliveries", lost_share=1.0) == {"statuses": []}
