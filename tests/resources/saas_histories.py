"""Random histories of two systems, and what must hold once they are left alone."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import delete, select

from orchestration_project.domains.saas.intents import agrees
from orchestration_project.domains.saas.records import Issue
from orchestration_project.domains.saas.rules import SyncRule
from orchestration_project.domains.saas.tables import (
    saas_audit_log,
    saas_source_states,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import TransientError
from orchestration_project.resources.saas.reconciling import Reconciler
from orchestration_project.resources.saas.rules import put_in_effect
from orchestration_project.tables.schema import METADATA
from orchestration_project.tables.spine import leases, outbox
from tests.resources.saas_systems import IDS, ISSUE_TYPE, PROJECT, Killed, SaasSystems
from tests.resources.weeks import NOON, StoppedClock

NUMBER = st.integers(0, 3)
EMAILS = [None, "anna@example.org", "olena@example.org", "twin@example.org", "ghost@example.org"]
TEXTS = [None, "<p>a</p>", "<ul><li>b<li>c", "plain 🙂 שלום"]
STEPS_OF_PEOPLE = [name for name in IDS if name != "Cancel"]
PRIORITIES = ["High", "Medium", "Low"]

CALLS = st.sampled_from(
    ["", "", "", "throttled", "down", "unanswered", "killed", "killed after", "moved", "meanwhile"]
)
CREATES = st.sampled_from(["unanswered", "killed after", "down", ""])
PEOPLE = st.sampled_from(
    [
        *("add", "retitle", "describe", "assign", "complete", "reopen", "delete"),
        *("edit issue", "rank issue", "move issue", "finish issue", "delete issue", "edit rules"),
        *("slow index", "make issue"),
    ]
)
PROGRAMS = st.sampled_from(["look", "look", "task webhooks", "issue webhooks", "sweep", "apply"])
STEPS = st.one_of(
    st.tuples(st.just("people"), PEOPLE, NUMBER, NUMBER),
    st.tuples(
        st.just("program"),
        PROGRAMS,
        st.lists(NUMBER, max_size=4),
        st.tuples(st.lists(CALLS), st.lists(CREATES, min_size=1, max_size=3)),
    ),
)
INDEX_LAGS_SECONDS = [0, 45, 600, 7_200]
HISTORIES = st.tuples(st.sampled_from(INDEX_LAGS_SECONDS), st.lists(STEPS, min_size=4, max_size=12))
"""How late searches are, what people do, and what runs do meanwhile, each with what becomes of its
calls; a webhook names tasks or issues, in any order and more than once, or never comes."""

OWN_TABLES = [
    *(table for table in METADATA.sorted_tables if table.name.startswith("saas_")),
    *(leases, outbox),
]

ROUNDS = 4
"""Maximum of polls, of which one must find nothing to write, once nothing happens any more."""


def rule(number: int) -> list[SyncRule]:
    """Return one of four sets of rules."""
    whole: dict[str, Any] = {
        "rule_id": "all",
        "priority": 5,
        "action": "sync",
        "target_project": PROJECT,
        "issue_type": ISSUE_TYPE,
    }
    label = {"target_field": "labels", "source_type": "static", "value": f"label{number}"}
    titled = {"target_field": "summary", "source_type": "template", "value": "HR: {title}"}
    kinds = [whole, {**whole, "mappings": [label]}, {**whole, "mappings": [label, titled]}, whole]
    few = {"rule_id": "few", "priority": 1, "action": "drop"}
    unwanted = {"field": "title", "operator": "is", "value": "title 3"}
    first = [{**few, "conditions": [unwanted]}] if number == 3 else []
    return [SyncRule.model_validate(each) for each in [*first, kinds[number]]]


class History:
    """Systems in which things happen, and the runs that follow them."""

    def __init__(self, warehouse: Warehouse, clock: StoppedClock, systems: SaasSystems) -> None:
        self.warehouse, self.clock, self.systems = warehouse, clock, systems
        self.runs = self.edits = 0
        self.latest: dict[str, str] = {}
        # One database has them all, and its deliveries are named by their time.
        clock.at = max(NOON, clock.at + timedelta(days=1))
        systems.issues.now = clock.now
        with warehouse.writing() as connection:
            for table in OWN_TABLES:
                connection.execute(delete(table))
        self.rules(0)
        systems.tasks.add("title 0")
        systems.tasks.add("title 1", assignee_email="anna@example.org")

    def rules(self, number: int) -> None:
        with self.warehouse.writing() as connection:
            put_in_effect(connection, rule(number), by="x", at=self.clock.at, run_id="x")

    def run_steps(self, index_lag_seconds: int, steps: Sequence[Any]) -> None:
        """Have all of it happen."""
        self.systems.issues.slow_down(index_lag_seconds)
        for kind, what, first, second in steps:
            self.clock.at += timedelta(seconds=20)
            if kind == "people":
                self.people(what, first, second)
                continue
            calls, creates = second
            self.systems.faults.random = list(calls)
            self.systems.faults.random_of_creates = list(creates)
            self.systems.faults.on_call = self.retitle
            try:
                self.program(what, first)
            except Killed:
                self.clock.at += timedelta(minutes=2)
        self.systems.faults.random = []
        self.systems.faults.random_of_creates = []

    def retitle(self) -> None:
        """Have somebody change a task while a call is under way."""
        self.runs += 1
        self.people("retitle", self.runs, self.runs % 3)

    def people(self, what: str, first: int, second: int) -> None:
        tasks, issues = self.systems.tasks, self.systems.issues
        ids, keys = [*tasks.rows, "none"], [*issues.rows, "none"]
        entity, key = ids[first % len(ids)], keys[first % len(keys)]
        step = STEPS_OF_PEOPLE[second % len(STEPS_OF_PEOPLE)]
        priority = {"name": PRIORITIES[second % len(PRIORITIES)]}
        {
            "add": lambda: tasks.add(f"title {second}", assignee_email=EMAILS[first]),
            "retitle": lambda: tasks.change(entity, title=f"title {second}"),
            "describe": lambda: tasks.change(entity, description_html=TEXTS[second]),
            "assign": lambda: tasks.change(entity, assignee_email=EMAILS[second]),
            "complete": lambda: tasks.change(entity, is_completed=True),
            "reopen": lambda: tasks.change(entity, is_completed=False),
            "delete": lambda: tasks.remove(entity),
            "edit issue": lambda: self.edit(key),
            "rank issue": lambda: issues.edit(key, priority=priority),
            "move issue": lambda: issues.move(key, step),
            "finish issue": lambda: issues.move(key, "Start", "Done"),
            "delete issue": lambda: issues.remove(key),
            "edit rules": lambda: self.rules(second),
            "slow index": lambda: issues.slow_down(INDEX_LAGS_SECONDS[second]),
            "make issue": lambda: issues.make(f"manual {second}"),
        }[what]()

    def edit(self, key: str) -> None:
        """Have a person give an issue a unique summary."""
        if key in self.systems.issues.rows:
            self.edits += 1
            self.latest[key] = f"manual {self.edits}"
            self.systems.issues.edit(key, summary=self.latest[key])

    def reconciler(self) -> Reconciler:
        self.runs += 1
        systems = self.systems
        return Reconciler(
            self.warehouse, self.clock, systems.source, systems.target, run_id=f"run {self.runs}"
        )

    def program(self, what: str, numbers: Sequence[int]) -> None:
        reconciler, systems = self.reconciler(), self.systems
        if what == "look":
            reconciler.poll()
        elif what == "task webhooks":
            reconciler.poll_tasks(str(1000 + number) for number in numbers)
        elif what == "issue webhooks":
            keys = list(systems.issues.rows)
            reconciler.compare(keys[number % len(keys)] for number in numbers if keys)
        elif what == "sweep":
            with suppress(TransientError):  # its run fails
                reconciler.sweep()
        reconciler.apply()

    def settle_and_check(self) -> None:
        """Leave both systems alone until a round writes nothing; then all must agree."""
        self.systems.issues.index()
        assert any(self.is_quiet() for _ in range(ROUNDS)), "the last round still wrote"
        for entity_id in self.states():
            self._check_entity(entity_id)
        self._check_no_lost_update()

    def is_quiet(self) -> bool:
        """Have a round; return whether nothing was left to do in it."""
        writes = self.systems.writes
        outcomes = self.run_round_without_failure()
        return self.systems.writes == writes and set(outcomes) <= {"done"}  # the unknown are sought

    def run_round_without_failure(self) -> Mapping[str, int]:
        """Have a whole look and a sweep, hours after the one before; return what was done."""
        self.clock.at += timedelta(hours=2)
        reconciler = self.reconciler()
        poll_result = reconciler.poll()
        assert poll_result.problem is None
        reconciler.sweep()
        applied = reconciler.apply()
        assert applied.problem is None
        return applied.outcomes

    def states(self) -> dict[str, Any]:
        wanted = select(saas_source_states).where(
            saas_source_states.c.system == self.systems.source.system
        )
        with self.warehouse.reading() as connection:
            return {row.entity_id: row for row in connection.execute(wanted)}

    def _check_entity(self, entity_id: str) -> None:
        task, state = self.systems.tasks.rows.get(entity_id), self.states()[entity_id]
        issues = self.systems.issues.of(f"{state.system}:task:{entity_id}")
        assert len(issues) <= 1, "two issues of one task"
        if task is None:
            assert state.gone_at is not None
            return
        if state.action != "sync":
            return
        if not issues:
            assert task.is_completed
            return
        [issue] = issues
        assert state.target_key == issue.key
        assert issue.status_name != "Cancelled"
        applied = json.loads(state.applied)
        self._check_fields(task, issue, applied["fields"])
        if task.is_completed != (issue.status_category == "done"):
            assert (task.is_completed, applied["is_completed"]) == (True, True)
            assert issue.key in self.reopened()

    def reopened(self) -> set[str]:
        """Return the issues that people may have opened again: any that is open."""
        return {
            row.key for row in self.systems.issues.rows.values() if row.status_category != "done"
        }

    def _check_fields(self, task: Any, issue: Issue, applied: Any) -> None:
        accounts = {
            "anna@example.org": "712020:anna",
            "olena@example.org": "712020:olena",
            None: None,
        }
        if task.assignee_email in accounts:
            assert issue.assignee_account_id == accounts[task.assignee_email]
        assert agrees(applied["description"], issue.description)
        assert applied["summary"].removeprefix("HR: ") == task.title
        if issue.summary != applied["summary"]:
            assert issue.summary == self.latest.get(issue.key)

    def _check_no_lost_update(self) -> None:
        """The latest text of each issue by a person is there, or in the audit log."""
        audit = saas_audit_log.c
        wanted = select(audit.target_key, audit.detail).where(
            audit.system == self.systems.source.system, audit.operation == "overwritten"
        )
        with self.warehouse.reading() as connection:
            kept = {
                (key, json.loads(detail)["fields"].get("summary"))
                for key, detail in connection.execute(wanted)
            }
        for key, text in self.latest.items():
            issue = self.systems.issues.rows.get(key)
            assert issue is None or issue.summary == text or (key, text) in kept, "a lost update"
