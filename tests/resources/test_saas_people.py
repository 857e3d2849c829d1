"""Edits of people in the target stay, or are in the audit log, whatever happens meanwhile."""

import json
from contextlib import suppress

import pytest

from orchestration_project.domains.saas.adf import adf_of
from orchestration_project.domains.saas.tables import saas_audit_log, saas_source_states
from orchestration_project.resources.saas.standing import standing
from tests.resources.saas_world import USERS, Killed


@pytest.mark.parametrize("fault", ["unanswered", "killed after"])
def test_a_text_overwritten_without_an_answer_is_kept(office, fault):
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.issues.edit("IT-1", summary="Order a laptop, 14 inch")
    office.tasks.change(entity, title="Order a cup")
    office.faults.coming = [*[""] * 4, fault]  # page, its end, form, issue; its change
    with suppress(Killed):
        office.round()
    office.round()
    assert office.issue.summary == "Order a cup"
    [(detail,)] = office.rows(saas_audit_log, "detail", operation="overwritten")
    assert "Order a laptop, 14 inch" in detail


def test_what_people_wrote_is_kept_however_long_it_is(office):
    entity = office.tasks.add("Order a laptop")
    office.round()
    written = adf_of("щ" * 10_000)
    office.issues.edit("IT-1", description=written)
    office.tasks.change(entity, description_html="<p>two</p>")
    office.round()
    [(detail,)] = office.rows(saas_audit_log, "detail", operation="overwritten")
    assert json.loads(detail) == {"fields": {"description": written}}
    shown = standing(office.warehouse, "peopleforce", office.reconciler().pair).audit["detail"]
    assert max(map(len, shown)) == 500


def test_whom_people_chose_stays_though_the_assignee_is_not_known_for_a_time(office):
    entity = office.tasks.add("Order a laptop", assignee_email="anna@example.org")
    office.round()
    office.issues.edit("IT-1", assignee={"accountId": "712020:olena"})
    office.issues.users = [user for user in USERS if user.email != "anna@example.org"]
    office.tasks.change(entity, title="Order a cup")
    office.round()
    office.issues.users = USERS
    reconciler = office.reconciler()
    reconciler.sweep()
    assert reconciler.apply().outcomes == {"done": 1}
    assert office.issue.assignee_account_id == "712020:olena"
    assert office.rows(saas_source_states, "unresolved_email") == [(None,)]
