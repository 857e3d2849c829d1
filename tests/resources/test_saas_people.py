"""What people write in the target stays, or stands in the audit log, whatever happens meanwhile."""

import json
from contextlib import suppress

import pytest

from orchestration_project.domains.saas.adf import adf_of
from orchestration_project.resources.saas.standing import standing
from orchestration_project.tables.saas import saas_audit_log
from tests.resources.saas_world import Killed


@pytest.mark.parametrize("fault", ["unanswered", "killed after"])
def test_what_people_wrote_is_kept_though_nobody_heard_that_it_was_overwritten(office, fault):
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
