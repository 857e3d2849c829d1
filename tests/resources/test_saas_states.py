"""States of cancelled issues and completed tasks, both ways, as a rule chooses."""

import pytest

from tests.resources.saas_office import ALL


@pytest.mark.parametrize(
    ("states", "is_completed"),
    [({}, True), ({"cancelled_issue": "completed"}, True), ({"cancelled_issue": "open"}, False)],
)
def test_a_cancelled_issue_completes_its_task_unless_the_rule_keeps_it_open(
    office, states, is_completed
):
    office.rule({**ALL, "states": states})
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.issues.move("IT-1", "Cancel")
    reconciler = office.reconciler()
    reconciler.sweep()
    reconciler.apply()
    assert office.tasks.task(entity).is_completed is is_completed
    assert office.issue.status_name == "Cancelled"
    assert office.reconciler().sweep() == []


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ({}, "Done"),
        ({"completed_task": "done"}, "Done"),
        ({"completed_task": "cancelled"}, "Cancelled"),
    ],
)
def test_a_completed_task_ends_its_issue_as_the_rule_says(office, states, status):
    office.rule({**ALL, "states": states})
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.tasks.complete(entity)
    office.round()
    assert office.issue.status_name == status


def test_a_task_that_is_completed_leaves_its_cancelled_issue_as_it_is(office):
    office.rule({**ALL, "states": {"cancelled_issue": "open"}})
    entity = office.tasks.add("Order a laptop")
    office.round()
    office.issues.move("IT-1", "Cancel")
    office.tasks.complete(entity)
    office.round()
    assert office.issue.status_name == "Cancelled"
    assert "refused" not in office.operations()
