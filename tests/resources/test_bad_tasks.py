"""Tasks, issues, rules and webhooks that are not as they should be: what is said, what is kept."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from orchestration_demo.saas.tasks import PAGE_TASKS
from sqlalchemy import func, select

from orchestration_project.domains.saas.rules import read_rules
from orchestration_project.domains.saas.tables import (
    saas_audit_log,
    saas_dead_letters,
    saas_source_states,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.saas.reconciling import Reconciler
from orchestration_project.resources.saas.rules import edit, rules_in_effect, tried
from orchestration_project.resources.saas.runs import follow_delivery, poll_all
from orchestration_project.resources.saas.standing import standing
from orchestration_project.services.inbox.rows import Inbox, NewDelivery
from orchestration_project.services.inbox.work import InboxQueue
from orchestration_project.tables.spine import inbox, rejects
from tests.bad_input import AS_IT_WAS, DELIVERY, ISSUE, LETTER, REJECTED, promise
from tests.resources.weeks import StoppedClock
from tests.saas_demo import SaasDemo, jira, peopleforce

RULE: dict[str, Any] = {
    "rule_id": "all",
    "priority": 9,
    "action": "sync",
    "target_project": "HR",
    "issue_type": "Task",
}
OF_BAD = {
    **RULE,
    "rule_id": "bad",
    "priority": 1,
    "conditions": [{"field": "title", "operator": "is", "value": "bad"}],
}
SUMMARY = {"target_field": "summary", "source_type": "template", "value": "x"}


@dataclass
class Bureau:
    """Both systems over HTTP with a good task, our database, and all messages that a user reads."""

    demo: SaasDemo
    warehouse: Warehouse
    clock: StoppedClock
    http: Any
    folder: Any
    messages: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.source = peopleforce(self.demo.url, self.http, self.folder)
        self.target: Any = jira(self.demo.url, self.http)
        self.demo.do("tasks", title="good")
        self.rules(RULE)
        self.run()
        self.messages.clear()

    @property
    def reconciler(self) -> Reconciler:
        return Reconciler(self.warehouse, self.clock, self.source, self.target, run_id="run")

    def task(self, **changes: Any) -> int:
        return self.demo.do("tasks", **{"title": "bad", **changes})["id"]

    def rules(self, *given: Any) -> None:
        """Edit the rules as the job does."""
        rules = read_rules(given)
        trial = tried(self.warehouse, self.target, rules)
        edit(self.warehouse, rules, trial, by="x", at=self.clock.now(), run_id="run")

    def run(self) -> None:
        """Poll both systems as the job does."""
        self.clock.at += timedelta(hours=1)
        done = poll_all(self.reconciler, self.warehouse, self.clock)
        self.messages += [json.dumps(done.counts), str(done.problem)]

    def seen(self) -> str:
        """Return all that can be read of it, the issue of the good task aside."""
        found = standing(self.warehouse, "peopleforce", self.reconciler.pair)
        columns = [rejects.c.reason, saas_dead_letters.c.reason, saas_audit_log.c.detail]
        with self.warehouse.reading() as connection:
            rows = [
                text for column in columns for text in connection.execute(select(column)).scalars()
            ]
        issues = [json.dumps(issue, ensure_ascii=False) for issue in self.demo.issues()[1:]]
        return "\n".join([*self.messages, *rows, *found.unresolved, *issues])

    def check_good_task_and_describe(self) -> str:
        """Return what became of it; the good task keeps its issue, and no task has two."""
        issues = [issue["properties"]["orchestration-source"]["id"] for issue in self.demo.issues()]
        assert issues[0] == "peopleforce:task:1000"
        assert len(issues) == len(set(issues))
        with self.warehouse.reading() as connection:
            delivered, bad, refused, gone = (
                connection.execute(select(func.count(column))).scalar_one()
                for column in (
                    inbox.c.body,
                    rejects.c.record,
                    saas_dead_letters.c.reason,
                    saas_source_states.c.gone_at,
                )
            )
            assert [rule.rule.rule_id for rule in rules_in_effect(connection).rules][-1] == "all"
        assert gone == 0
        if delivered or bad or refused:
            return DELIVERY if delivered else REJECTED if bad else LETTER
        return ISSUE if len(issues) > 1 else AS_IT_WAS


Case = Callable[[Bureau], None]


def task(**changes: Any) -> Case:
    """A task that comes, and is looked at twice."""

    def check_case(bureau: Bureau) -> None:
        bureau.task(**changes)
        bureau.run()
        before = bureau.demo.state()
        bureau.run()
        assert bureau.demo.state() == before, "the second look wrote again"

    return check_case


def mapped(target_field: str, source_type: str, value: str) -> Case:
    """A task that comes by a rule of its own."""
    mapping = {"target_field": target_field, "source_type": source_type, "value": value}

    def case(bureau: Bureau) -> None:
        bureau.rules({**OF_BAD, "mappings": [mapping]}, RULE)
        task()(bureau)

    return case


def edited(*rules: Any) -> Case:
    """An edit that is refused."""

    def case(bureau: Bureau) -> None:
        with pytest.raises(ConfigurationError) as refusal:
            bureau.rules(*rules)
        bureau.messages.append(str(refusal.value))
        bureau.run()

    return case


def webhook(body: bytes) -> Case:
    """A delivery that comes, and that a run rejects."""

    def check_case(bureau: Bureau) -> None:
        Inbox(bureau.warehouse, bureau.clock).take([received(body)])
        content = InboxQueue(bureau.warehouse, bureau.clock).content("peopleforce", "1")
        assert content.body == body
        done = follow_delivery(bureau.reconciler, content)
        assert done.rejection
        bureau.messages.append(json.dumps(done.counts))

    return check_case


def received(body: bytes) -> NewDelivery:
    return NewDelivery("peopleforce", "1", None, body, {}, 2)


def pages(kind: str) -> Case:
    """Pages of tasks with a fault, after they were seen without."""

    def case(bureau: Bureau) -> None:
        for number in range(PAGE_TASKS):
            bureau.task(title=f"done {number}", completed=True)
        bureau.run()
        bureau.demo.fault(kind, path="/tasks", times=2)
        bureau.run()

    return case


def check_clock_goes_back(bureau: Bureau) -> None:
    number = bureau.task()
    bureau.run()
    bureau.clock.at -= timedelta(minutes=100)
    bureau.task(id=number, title="changed")
    bureau.run()
    assert "changed" in str(bureau.demo.issues())


def jira_clock(ahead_seconds: int) -> Case:
    def check_case(bureau: Bureau) -> None:
        bureau.demo.do("surroundings", jira_clock_ahead_seconds=ahead_seconds)
        number = bureau.task()
        bureau.run()
        bureau.task(id=number, title="changed")
        bureau.run()
        assert "changed" in str(bureau.demo.issues())

    return check_case


def assigned(email: str | None) -> Case:
    return task(assigned_to={"email": email, "full_name": "Somebody"})


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else "x"


CASES: dict[str, Case] = {
    "null_title": task(title=None),
    "title_of_65536_characters": task(title="x" * 65_536),
    "title_with_line_ends_and_control_characters": task(title="a\nb\x07c"),
    "emoji_and_right_to_left_text": task(title="🙂👩‍💻 שלום \u202e!"),
    "null_assignee": task(assigned_to=None),
    "assignee_without_an_address": assigned(None),
    "unknown_assignee": assigned("ghost@example.org"),
    "address_of_two_people": assigned("twin@example.org"),
    "address_of_somebody_who_left": assigned("gone@example.org"),
    "part_of_an_address": assigned("olena"),
    "broken_html": task(description="<p>a<b>b<i>c</p>d</b></div><li"),
    "html_of_65536_characters": task(description=f"<p>{'x' * 65_536}"),
    "tags_within_each_other": task(description="<div><ul><li>" * 2_000 + "deep"),
    "html_with_a_script": task(description="<script>evil()</script><a href='javascript:x'>a</a>"),
    "title_of_another_type": task(title=["no", "text"]),
    "state_of_another_type": task(completed="no"),
    "nul_in_a_text": task(title="nul\x00"),
    "id_of_another_kind": task(id=2**63),
    "task_nested_too_deep": task(more=nested(70)),
    "missing_path": mapped("labels", "template", "{fields.team.name}"),
    "no_day": mapped("duedate", "path", "title"),
    "no_option": mapped("priority", "path", "title"),
    "rule_that_fills_what_it_asks_for": mapped("summary", "template", "bad {title}"),
    "rule_that_hides_another": edited(RULE, {**RULE, "rule_id": "later", "priority": 10}),
    "two_rules_of_one_name": edited(RULE, RULE),
    "template_with_half_a_brace": edited({**RULE, "mappings": [{**SUMMARY, "value": "{title"}]}),
    "condition_on_nothing": edited(
        {**RULE, "conditions": [{"field": "titel", "operator": "is", "value": "x"}]}
    ),
    "required_field_that_nothing_fills": edited(
        {**RULE, "target_project": "OPS", "issue_type": "Request"}
    ),
    "field_that_there_is_not": edited({**RULE, "mappings": [{**SUMMARY, "target_field": "none"}]}),
    "issue_type_that_there_is_not": edited({**RULE, "issue_type": "Epic"}),
    "project_that_is_closed_to_us": edited({**RULE, "target_project": "SECRET"}),
    "webhook_that_is_no_json": webhook(b"{action"),
    "webhook_with_nan": webhook(b'{"action": "task_create", "data": {"id": NaN}}'),
    "webhook_that_is_a_list": webhook(b"[]"),
    "webhook_that_is_null": webhook(b"null"),
    "webhook_of_other_types": webhook(b'{"action": 5}'),
    "webhook_nested_without_end": webhook(b"[" * 100_000),
    "webhook_nested_too_deep": webhook(b'{"a":' * 70 + b"1" + b"}" * 70),
    "webhook_with_a_big_integer": webhook(
        b'{"action": "task_create", "data": {"id": 92233720368547758080}}'
    ),
    "webhook_that_is_no_utf_8": webhook(b'{"action": "\xff"}'),
    "pages_that_repeat": pages("repeat_page"),
    "pages_that_skip": pages("skip_page"),
    "page_of_a_proxy": pages("html"),
    "jira_clock_a_day_ahead": jira_clock(86_400),
    "jira_clock_a_day_behind": jira_clock(-86_400),
    "task_made_in_the_future": task(created_at="2199-01-01T00:00:00Z"),
    "our_clock_goes_back": check_clock_goes_back,
}


@pytest.fixture
def bureau(saas_demo, saas_http, tmp_path, prepared, clock):
    saas_demo.start_over()
    url = prepared.sqlite(tmp_path / "warehouse.sqlite")
    with Warehouse(url, clock=clock) as warehouse:
        warehouse.prepare(holds="real")
        yield Bureau(saas_demo, warehouse, clock, saas_http, tmp_path)


@pytest.mark.slow_after_first
@pytest.mark.parametrize("case", CASES)
def test_what_comes_of_it_is_what_the_document_says(bureau, case):
    CASES[case](bureau)
    said, kept = bureau.seen(), bureau.check_good_task_and_describe()
    expected = promise(case)
    assert expected.is_seen_in(said), said
    assert kept == expected.kept
