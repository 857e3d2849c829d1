"""States of cancelled issues and completed tasks, both ways, as a rule chooses."""

import pytest

from tests.resources.saas_syncs import ALL


@pytest.mark.parametrize(
    ("states", "is_completed"),
    [({}, True), ({"cancelled_issue": "completed"}, True), ({"cancelled_issue": "open"}, False)],
)
def test_a_cancelled_issue_completes_its_task_unless_the_rule_keeps_it_open(
    saas_sync, states, is_completed
):
    saas_sync.rule({**ALL, "states": states})
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.issues.move("IT-1", "Cancel")
    reconciler = saas_sync.reconciler()
    reconciler.sweep()
    reconciler.apply()
    assert saas_sync.tasks.task(entity).is_completed is is_completed
    assert saas_sync.issue.status_name == "Cancelled"
    assert saas_sync.reconciler().sweep() == []


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ({}, "Done"),
        ({"completed_task": "done"}, "Done"),
        ({"completed_task": "cancelled"}, "Cancelled"),
    ],
)
def test_a_completed_task_ends_its_issue_as_the_rule_says(saas_sync, states, status):
    saas_sync.rule({**ALL, "states": states})
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.tasks.complete(entity)
    saas_sync.round()
    assert saas_sync.issue.status_name == status


def test_a_task_that_is_completed_leaves_its_cancelled_issue_as_it_is(saas_sync):
    saas_sync.rule({**ALL, "states": {"cancelled_issue": "open"}})
    entity = saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.issues.move("IT-1", "Cancel")
    saas_sync.tasks.complete(entity)
    saas_sync.round()
    assert saas_sync.issue.status_name == "Cancelled"
    assert "refused" not in saas_sync.operations()
