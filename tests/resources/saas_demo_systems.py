"""The embedded demo of PeopleForce and Jira, asked over HTTP, as the systems in memory are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestration_project.domains.saas.jira import issue_of
from orchestration_project.domains.saas.peopleforce import task_of
from orchestration_project.domains.saas.records import Issue, Task
from tests.expecting import expect_status
from tests.resources.saas_systems import IDS, ISSUE_TYPE, PROJECT, SaasSystems
from tests.saas_demo import SaasDemo, http_client, jira, peopleforce

WIRE = {"title": "title", "description_html": "description", "is_completed": "completed"}


class DemoTasks:
    """The demo's tasks for people; our client for programs."""

    def __init__(self, demo: SaasDemo, client: Any, name: str) -> None:
        self.system = name
        self._demo = demo
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    @property
    def rows(self) -> dict[str, Task]:
        found = map(task_of, self._demo.state()["tasks"])
        return {entity.entity_id: entity for entity in found}

    def add(self, title: str | None, **changes: Any) -> str:
        given = {"title": title, "description_html": "<p>one</p>", **changes}
        return str(self._demo.do("tasks", **_wire(given))["id"])

    def change(self, entity_id: str, **changes: Any) -> None:
        if entity_id in self.rows:
            self._demo.do("tasks", id=int(entity_id), **_wire(changes))

    def remove(self, entity_id: str) -> None:
        if entity_id in self.rows:
            self._demo.delete(f"tasks/{entity_id}")


def _wire(changes: dict[str, Any]) -> dict[str, Any]:
    found = {WIRE[name]: value for name, value in changes.items() if name in WIRE}
    if "assignee_email" in changes:
        email = changes["assignee_email"]
        found["assigned_to"] = {"email": email, "full_name": "Somebody"} if email else None
    return found


class DemoIssues:
    """The demo's issues for people; our client for programs."""

    def __init__(self, demo: SaasDemo, client: Any) -> None:
        self._demo = demo
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    @property
    def rows(self) -> dict[str, Issue]:
        found = map(issue_of, self._demo.issues())
        return {entity.key: entity for entity in found}

    def edit(self, key: str, **fields: Any) -> None:
        if key in self.rows:
            self._demo.do(f"issues/{key}", fields=fields)

    def move(self, key: str, *names: str) -> None:
        for name in names:
            offered = self._client.transitions(key) if key in self.rows else ()
            if IDS[name] in [transition.transition_id for transition in offered]:
                self._demo.do(f"issues/{key}", transition=IDS[name])

    def remove(self, key: str) -> None:
        if key in self.rows:
            self._demo.delete(f"issues/{key}")

    def make(self, summary: str) -> None:
        about = {"project": {"key": PROJECT}, "issuetype": {"name": ISSUE_TYPE}}
        answer = self._demo.ask("POST", "/issue", json={"fields": {**about, "summary": summary}})
        expect_status(answer, 201)

    def slow_down(self, seconds: int) -> None:
        self._demo.do("surroundings", jira_index_lag_seconds=seconds)

    def index(self) -> None:
        self._demo.do("surroundings", is_indexed=True)

    def of(self, source_id: str) -> list[Issue]:
        return [row for row in self.rows.values() if row.source_id == source_id]


@contextmanager
def systems_over_http(demo: SaasDemo, folder: Path) -> Iterator[SaasSystems]:
    """Give the demo, emptied."""
    demo.start_over()
    with http_client(folder, "peopleforce") as first, http_client(folder, "jira") as second:
        tasks = DemoTasks(demo, peopleforce(demo.url, first, folder), "peopleforce")
        yield SaasSystems(tasks, DemoIssues(demo, jira(demo.url, second)))
