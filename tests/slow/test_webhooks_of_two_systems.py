"""From one system to the other: signed webhooks at the gateway, the daemon's sensor, its runs."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests import programs
from tests.faults.stack import Stack

pytestmark = pytest.mark.slow

SOURCES = """
sources:
  peopleforce: {scheme: peopleforce, job: saas_reconcile, in_order: false}
  jira: {scheme: jira, job: saas_reconcile, in_order: false}
"""
SECRETS = {"peopleforce": "a secret of PeopleForce's", "jira": "a secret of Jira's"}
DONE = "31"
LONG = 900


class Systems:
    """The demo of both systems that a `ui` uses, and the people in them."""

    def __init__(self, stack):
        self._demo = stack.state_dir / "demo_saas" / "server.json"
        first_look = ("orchestration_project", "run-saas")
        programs.run_without_failure(stack.state_dir, *first_look, **stack.environment)
        stack.start()
        stack.switch_on_without_failure("events_on_webhook")
        for name, secret in SECRETS.items():
            url = f"http://127.0.0.1:{stack.port}/hooks/{name}"
            self.do("hooks", system=name, url=url, secret=secret)

    def do(self, path: str, **body: Any) -> Any:
        return self._asked(path, json.dumps(body).encode())

    def deliver_and_expect_acceptance(self) -> None:
        """Deliver what waits; the gateway takes all of it."""
        statuses = self.do("deliveries")["statuses"]
        assert statuses
        assert set(statuses) == {202}

    def task(self, number: int) -> Any:
        return next(task for task in self._asked("state")["tasks"] if task["id"] == number)

    def issue(self, title: str) -> Any:
        """Return the issue of this title; None: there is none."""
        issues = self._asked("state")["issues"]
        return next((issue for issue in issues if issue["fields"]["summary"] == title), None)

    def _asked(self, path: str, body: bytes | None = None) -> Any:
        url = f"{json.loads(self._demo.read_text())['url']}/demo/{path}"
        with urllib.request.urlopen(url, body, timeout=60) as answer:  # noqa: S310 - ours
            return json.load(answer)


@pytest.fixture
def systems(tmp_path) -> Iterator[Systems]:
    sources = tmp_path / "webhooks.yaml"
    sources.write_text(SOURCES)
    stack = Stack(
        tmp_path,
        DEMO_CLOCK_NOW="",  # each process would begin at that time again, and so see older tasks
        WEBHOOKS_FILE=str(sources),
        DEMO_SAAS_TASKS="3",
        DEMO_IDLE_SECONDS=str(LONG),
        **{f"WEBHOOK_SECRET_{name.upper()}": secret for name, secret in SECRETS.items()},
    )
    try:
        yield Systems(stack)
    finally:
        stack.kill_all()


def test_what_people_do_in_one_system_is_in_the_other_by_webhooks_alone(systems):
    number = systems.do("tasks", title="Onboarding: badge")["id"]
    systems.deliver_and_expect_acceptance()
    made = programs.wait_for(lambda: systems.issue("Onboarding: badge"), seconds=LONG)

    systems.do("tasks", id=number, title="Onboarding: badge and desk")
    systems.deliver_and_expect_acceptance()
    changed = programs.wait_for(lambda: systems.issue("Onboarding: badge and desk"), seconds=LONG)
    assert changed["key"] == made["key"]
    assert not systems.task(number)["completed"]

    systems.do(f"issues/{made['key']}", transition=DONE)
    systems.deliver_and_expect_acceptance()
    programs.wait_for(lambda: systems.task(number)["completed"], seconds=LONG)
