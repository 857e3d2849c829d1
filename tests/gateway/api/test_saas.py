"""Rules and audit log of reconciliation through the API."""

import pytest

from orchestration_project.domains.saas.rules import SyncRule
from orchestration_project.resources.saas.audit import Entity, SyncLogEntry, record
from orchestration_project.resources.saas.rules import note_proof, put_in_effect, rules_in_effect

FIRST = {"rule_id": "first", "priority": 1, "action": "drop"}
OTHERS = {
    "rule_id": "others",
    "priority": 5,
    "conditions": [{"field": "title", "operator": "contains", "value": "x"}],
    "action": "sync",
    "target_project": "HR",
    "issue_type": "Task",
    "mappings": [{"target_field": "labels", "source_type": "static", "value": "a"}],
}


@pytest.fixture(scope="module")
def reconciled(api):
    now = api.services.clock.now()
    rules = [SyncRule.model_validate(each) for each in (OTHERS, FIRST)]
    task = Entity("peopleforce", "task", "42")
    entries = [
        SyncLogEntry(task, "created", "HR-1", {"fields": {"summary": "Grüße 👋🏽 100%"}}),
        SyncLogEntry(task, "updated", "HR-1", {"fields": {"summary": "Other"}}),
        SyncLogEntry(Entity("peopleforce", "task", "43"), "created", "HR-2", {"text": "1000"}),
        SyncLogEntry(task, "updated", "HR-1", {"long": "x" * 30_000}),
    ]
    with api.services.warehouse.writing() as connection:
        put_in_effect(connection, rules, by="ada", at=now, run_id="r1")
        record(connection, entries, at=now, run_id="r2")
        [_, others] = rules_in_effect(connection).rules
        note_proof(connection, others, "no such project", at=now, run_id="r3")


def test_the_rules_in_effect_are_told_in_their_order(api, reconciled):
    told = api.get("/saas/rules")["rules"]
    shown = [(each["rule_id"], each["version"], each["disabled_reason"]) for each in told]
    assert shown == [("first", 1, None), ("others", 1, "no such project")]
    assert SyncRule.model_validate(told[1]["rule"]) == SyncRule.model_validate(OTHERS)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("entity=42&operation=created", [("42", "created", "HR-1")]),
        ("issue=HR-2", [("43", "created", "HR-2")]),
        ("operation=rule_disabled", [("others", "rule_disabled", None)]),
        ("text=gr%C3%BC%C3%9Fe", [("42", "created", "HR-1")]),
        ("text=100%25", [("42", "created", "HR-1")]),  # not the 1000 of another one
        ("text=nowhere", []),
    ],
)
def test_the_audit_log_is_searched(api, reconciled, query, found):
    told = api.get(f"/saas/audit?{query}")
    names = ("entity_id", "operation", "issue_key")
    assert [tuple(each[name] for name in names) for each in told["entries"]] == found


def test_pages_of_the_audit_log_go_back_in_time(api, reconciled):
    whole = api.get("/saas/audit")["entries"]
    assert [each["entry_id"] for each in whole] == sorted(
        (each["entry_id"] for each in whole), reverse=True
    )
    paged, cursor = [], ""
    while cursor is not None:
        page = api.get(f"/saas/audit?limit=3{cursor and '&cursor='}{cursor}")
        paged, cursor = paged + page["entries"], page["next_cursor"]
    assert paged == whole
    [cut] = [each for each in whole if "cut" in each["detail"]]
    assert len(cut["detail"]["cut"]) == 20_000
