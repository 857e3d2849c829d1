"""Both systems over HTTP, with faults and people at work: once left alone, they agree."""

import random
from datetime import timedelta

import pytest

from orchestration_project.domains.saas.rules import SyncRule
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.saas.reconciling import Reconciler
from orchestration_project.resources.saas.rules import put_in_effect
from tests.resources.weeks import StoppedClock
from tests.saas_demo import NOON, jira, peopleforce

TASKS = 6
FAULTS = ("too_many", "unavailable", "html", "lost", "cut", "repeat_page", "skip_page")
EVERYTHING = {
    "rule_id": "everything",
    "priority": 1,
    "action": "sync",
    "target_project": "HR",
    "issue_type": "Task",
    "mappings": [{"target_field": "labels", "source_type": "static", "value": "people"}],
}


class SaasSync:
    """People in both systems, and the runs that follow them."""

    def __init__(self, demo, http, folder, seed) -> None:
        self.demo, self.clock = demo, StoppedClock()
        self.clock.at = NOON
        self.chance = random.Random(seed)  # noqa: S311 - to be repeated
        self.warehouse = Warehouse(f"sqlite:///{folder}/warehouse.sqlite", clock=self.clock)
        self.warehouse.prepare(holds="real")
        self.source, self.target = peopleforce(demo.url, http, folder), jira(demo.url, http)
        self.runs = 0
        with self.warehouse.writing() as connection:
            rule = SyncRule.model_validate(EVERYTHING)
            put_in_effect(connection, [rule], by="test", at=NOON, run_id="test")

    def work(self) -> None:
        """Have a person do something in one of both systems."""
        issues = self.demo.issues()
        task = 1000 + self.chance.randrange(TASKS)
        what = self.chance.choice(["retitle", "complete", "add", "end", "edit", "delete"])
        if what in ("end", "edit", "delete") and issues:
            key = self.chance.choice(issues)["key"]
            if what == "delete":
                self.demo.delete(f"issues/{key}")
            elif what == "edit":
                self.demo.do(f"issues/{key}", fields={"summary": f"manual {self.runs}"})
            else:
                self.demo.try_to(f"issues/{key}", transition="31")
        elif what == "complete":
            self.demo.do("tasks", id=task, completed=True)
        elif what == "add":
            self.demo.do("tasks", title=f"new {self.runs} 👋🏽", description="<p>x")
        else:
            self.demo.do("tasks", id=task, title=f"title {self.runs}")

    def run(self) -> OrchestrationError | None:
        """Look, sweep and apply as runs do; return what stopped them, if anything did."""
        self.runs += 1
        self.clock.at += timedelta(hours=2)
        reconciler = Reconciler(
            self.warehouse, self.clock, self.source, self.target, run_id=f"run {self.runs}"
        )
        problem = reconciler.poll().problem
        try:
            reconciler.sweep()
        except OrchestrationError as error:
            problem = error
        return problem or reconciler.apply().problem


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.histories) for seed in range(2, 30))]
)
def test_both_systems_agree_once_faults_and_people_are_gone(saas_demo, saas_http, tmp_path, seed):
    saas_demo.start_over(task_count=TASKS, seed=seed)
    saas_demo.do("surroundings", jira_clock_ahead_seconds=-3600)
    saas_sync = SaasSync(saas_demo, saas_http, tmp_path, seed)
    saas_demo.do("faults", seed=seed, share=0.2, kinds=FAULTS)
    for _ in range(5):
        saas_sync.work()
        saas_sync.run()
    assert saas_demo.state()["faults_met"] > 3

    saas_demo.do("faults", seed=0, share=0.0, kinds=[])
    for _ in range(3):
        assert saas_sync.run() is None
    before = saas_demo.state()
    assert saas_sync.run() is None
    after = saas_demo.state()
    assert after == before, "the last round still wrote"

    issues = {issue["properties"]["orchestration-source"]["id"]: issue for issue in after["issues"]}
    assert len(issues) == len(after["issues"]), "two issues of one task"
    for task in after["tasks"]:
        issue = issues.get(f"peopleforce:task:{task['id']}")
        if issue is None:
            assert task["completed"]
            continue
        category = issue["fields"]["status"]["statusCategory"]["key"]
        assert (category == "done") == task["completed"]
        assert issue["fields"]["status"]["name"] != "Cancelled"
        assert "people" in issue["fields"]["labels"]
    saas_sync.warehouse.close()
