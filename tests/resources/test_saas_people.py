"""Edits of people in the target stay, or are in the audit log, whatever happens meanwhile."""

import json
from contextlib import suppress

import pytest

from orchestration_project.domains.saas.adf import adf_of
from orchestration_project.domains.saas.tables import saas_audit_log, saas_source_states
from orchestration_project.resources.saas.standing import standing
from tests.resources.saas_systems import USERS, Killed


@pytest.mark.parametrize("fault", ["unanswered", "killed after"])
def test_a_text_overwritten_without_an_answer_is_kept(saas_sync, fault):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.issues.edit("IT-1", summary="Order a laptop, 14 inch")
    saas_sync.tasks.change(entity, title="Order a cup")
    saas_sync.faults.on("update", fault)
    with suppress(Killed):
        saas_sync.round()
    saas_sync.round()
    assert saas_sync.issue.summary == "Order a cup"
    [(detail,)] = saas_sync.rows(saas_audit_log, "detail", operation="overwritten")
    assert "Order a laptop, 14 inch" in detail


def test_what_people_wrote_is_kept_however_long_it_is(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    written = adf_of("щ" * 10_000)
    saas_sync.issues.edit("IT-1", description=written)
    saas_sync.tasks.change(entity, description_html="<p>two</p>")
    saas_sync.round()
    [(detail,)] = saas_sync.rows(saas_audit_log, "detail", operation="overwritten")
    assert json.loads(detail) == {"fields": {"description": written}}
    shown = standing(saas_sync.warehouse, "peopleforce", saas_sync.reconciler().pair).audit[
        "detail"
    ]
    assert max(map(len, shown)) == 500


def test_whom_people_chose_stays_though_the_assignee_is_not_known_for_a_time(saas_sync):
    entity = saas_sync.tasks.add("Order a laptop", assignee_email="anna@example.org")
    saas_sync.round()
    saas_sync.issues.edit("IT-1", assignee={"accountId": "712020:olena"})
    saas_sync.issues.users = [user for user in USERS if user.email != "anna@example.org"]
    saas_sync.tasks.change(entity, title="Order a cup")
    saas_sync.round()
    saas_sync.issues.users = USERS
    reconciler = saas_sync.reconciler()
    reconciler.sweep()
    assert reconciler.apply().outcomes == {"done": 1}
    assert saas_sync.issue.assignee_account_id == "712020:olena"
    assert saas_sync.rows(saas_source_states, "unresolved_email") == [(None,)]
