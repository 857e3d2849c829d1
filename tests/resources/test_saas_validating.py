"""Rules against what the target says: a proof disables one, and an edit lets it begin again."""

import threading

import pytest
from sqlalchemy import Engine, event

from orchestration_project.domains.saas.rules import SyncRule
from orchestration_project.domains.saas.tables import saas_routing_rules
from orchestration_project.resources.saas.rules import revalidate
from orchestration_project.resources.saas.systems import RefusedError
from orchestration_project.resources.saas.validating import examine
from tests.resources.saas_syncs import ALL, SaasSync
from tests.resources.saas_systems import FIELDS


def test_a_refusal_that_is_about_who_asks_proves_nothing_of_a_rule(saas_sync):
    def refuse(*_):
        raise RefusedError("unknown user", http_status=401)

    saas_sync.issues.create_fields = refuse
    found = examine(saas_sync.systems.target, [SyncRule.model_validate(ALL)])
    assert (found.proven, found.unknown) == ({}, {"all": "unknown user"})


def test_issues_that_take_no_label_prove_a_rule_wrong(saas_sync):
    saas_sync.issues.fields = [field for field in FIELDS if field.field_id != "labels"]
    found = examine(saas_sync.systems.target, [SyncRule.model_validate(ALL)])
    assert found.proven == {"all": ["labels is not a field of these issues"]}


def test_a_disabled_rule_that_is_put_into_effect_again_is_a_new_version(saas_sync):
    saas_sync.issues.allowed = frozenset({"BROWSE_PROJECTS", "EDIT_ISSUES", "TRANSITION_ISSUES"})
    revalidate(saas_sync.warehouse, saas_sync.systems.target, at=saas_sync.clock.now(), run_id="x")
    saas_sync.rule(ALL)
    names = ("version_number", "is_active", "disabled_reason")
    assert saas_sync.rows(saas_routing_rules, *names) == [
        (1, False, "we have no permission CREATE_ISSUES in IT"),
        (2, True, None),
    ]


@pytest.mark.parametrize("warehouse", ["postgresql"], indirect=True)
def test_of_two_edits_at_once_the_rules_of_one_are_in_effect(warehouse, clock):
    saas_sync = SaasSync(warehouse, clock)
    other = threading.Thread(target=saas_sync.rule, args=({**ALL, "rule_id": "other"},))

    def meanwhile(_connection, _cursor, statement, *_) -> None:
        if statement.startswith("INSERT INTO saas_routing_rules") and not other.ident:
            other.start()
            other.join(timeout=1)  # it has to wait for the first

    event.listen(Engine, "before_cursor_execute", meanwhile)
    try:
        saas_sync.rule({**ALL, "rule_id": "one"})
    finally:
        event.remove(Engine, "before_cursor_execute", meanwhile)
    other.join()
    assert saas_sync.rows(saas_routing_rules, "rule_id", is_active=True) == [("other",)]
