"""Rules and audit log of reconciliation through the API."""

import pytest
from sqlalchemy import insert

from orchestration_project.client import ApiError, Client
from orchestration_project.domains.saas.records import Task
from orchestration_project.domains.saas.rules import SyncRule
from orchestration_project.domains.saas.stored_tasks import recorded
from orchestration_project.domains.saas.tables import saas_source_states
from orchestration_project.engine.contracts.edits import EditConflictError
from orchestration_project.resources.saas.audit import Entity, SyncLogEntry, record
from orchestration_project.resources.saas.rules import note_proof, put_in_effect, rules_in_effect
from tests.gateway.api.conftest import HOME

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
    rules = [SyncRule.model_validate(rule) for rule in (OTHERS, FIRST)]
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


def test_the_rules_in_effect_are_listed_in_their_order(api, reconciled):
    rules = api.get("/saas/rules")["rules"]
    shown = [(rule["rule_id"], rule["version"], rule["disabled_reason"]) for rule in rules]
    assert shown == [("first", 1, None), ("others", 1, "no such project")]
    assert SyncRule.model_validate(rules[1]["rule"]) == SyncRule.model_validate(OTHERS)


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
    page = api.get(f"/saas/audit?{query}")
    names = ("entity_id", "operation", "issue_key")
    assert [tuple(entry[name] for name in names) for entry in page["entries"]] == found


def test_pages_of_the_audit_log_go_back_in_time(api, reconciled):
    whole = api.get("/saas/audit")["entries"]
    assert [entry["entry_id"] for entry in whole] == sorted(
        (entry["entry_id"] for entry in whole), reverse=True
    )
    paged, cursor = [], ""
    while cursor is not None:
        page = api.get(f"/saas/audit?limit=3{cursor and '&cursor='}{cursor}")
        paged, cursor = paged + page["entries"], page["next_cursor"]
    assert paged == whole
    [cut] = [entry for entry in whole if "cut" in entry["detail"]]
    assert len(cut["detail"]["cut"]) == 20_000


@pytest.fixture
def sync_rules(api, reconciled):
    """Valid rules, and the version of those in effect."""
    return [OTHERS], api.get("/saas/rules")["version"]


def test_rules_are_tried_on_recorded_tasks_before_they_are_in_effect(api, sync_rules):
    rules, version = sync_rules
    now = api.services.clock.now()
    texts = ("title", "description_html", "assignee_email", "assignee_name", "associated_name")
    others = {**dict.fromkeys(texts, "x"), "created_at": None, "fields": {}, "is_completed": False}
    task = Task("peopleforce", "task", "42", **others)
    row = {
        **dict.fromkeys(("state_hash", "rule_version"), "0"),
        "system": task.system,
        "entity_type": task.entity_type,
        "entity_id": task.entity_id,
        "action": "drop",
        "is_completed": False,
        "record": recorded(task),
        "version_number": 0,
        "last_seen_at": now,
    }
    with api.services.warehouse.writing() as connection:
        connection.execute(insert(saas_source_states).values(row))
    with Client(HOME, str(api.keys["operator"]), transport=api) as operator:
        tried = operator.try_saas_rules([{**OTHERS, "rule_id": "all"}])
        assert (tried.version, tried.task_count, tried.changed_count) == (version, 1, 1)
        assert tried.by_rule == {"all": 1}
        changes = {
            difference.field: (difference.before, difference.after)
            for difference in tried.differences
        }
        assert changes["rule"] == ("first", "all")
        assert changes["action"] == ("drop", "sync")
        assert changes["project"] == ("", "HR")
        assert operator.try_saas_rules(rules).version == version
        with pytest.raises(ApiError, match="403"):
            operator.edit_saas_rules(rules, based_on=version)
    assert api.get("/saas/rules")["version"] == version


def test_an_edit_of_other_rules_than_those_in_effect_is_refused(api, sync_rules):
    rules, version = sync_rules
    late = {"rules": rules, "based_on": "0" * 16}
    problem = api.expect_problem("POST", "/saas/rules", "admin", json=late)
    assert problem["status"] == 409
    assert problem["expected"] == f"an edit of version {version}"
    invalid = {"rules": [{**FIRST, "colour": "red"}], "based_on": version}
    for path, body in (("", invalid), ("/dry-run", {"rules": invalid["rules"]})):
        problem = api.expect_problem("POST", f"/saas/rules{path}", "admin", json=body)
        assert problem["status"] == 422
        assert "colour" in problem["found"]
    now, warehouse = api.services.clock.now(), api.services.warehouse
    with pytest.raises(EditConflictError, match="changed"), warehouse.writing() as connection:
        put_in_effect(connection, [], by="eve", at=now, run_id="r", based_on="other")
    assert api.get("/saas/rules")["version"] == version
