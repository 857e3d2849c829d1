"""A sweep finds what no webhook reported of the issues that rules name, whatever else fails."""

import pytest

from orchestration_project.resources.saas.rules import revalidate
from orchestration_project.resources.saas.systems import RefusedError
from tests.resources.saas_demo_world import world_over_http
from tests.resources.saas_office import ALL


def test_an_issue_of_a_project_that_no_rule_names_any_more_is_not_missing(office):
    office.tasks.add("Order a laptop")
    office.round()
    office.rule({**ALL, "target_project": "HR"})
    assert office.reconciler().sweep() == []
    office.issues.gone_projects.add("IT")
    assert [each.what for each in office.reconciler().sweep()] == ["missing"]


def test_a_project_that_a_rule_names_and_that_cannot_be_searched_ends_the_sweep(office):
    office.tasks.add("Order a laptop")
    office.round()
    office.issues.gone_projects.add("IT")
    with pytest.raises(RefusedError):
        office.reconciler().sweep()


def test_a_rule_that_is_disabled_as_its_project_is_gone_keeps_no_sweep_from_the_others(office):
    gone = {**ALL, "rule_id": "gone", "priority": 1, "target_project": "GONE"}
    office.rule({**gone, "conditions": [{"field": "title", "value": "other"}]}, ALL)
    office.tasks.add("Order a laptop")
    office.round()
    office.issues.gone_projects.add("GONE")
    revalidate(office.warehouse, office.world.target, at=office.clock.now(), run_id="x")
    office.issues.move("IT-1", "Start", "Done")
    assert [each.what for each in office.reconciler().sweep()] == ["to_source"]


def test_the_issue_of_a_task_that_a_rule_drops_by_now_is_nothing_to_a_sweep(office):
    office.tasks.add("Order a laptop")
    office.round()
    office.rule({"rule_id": "none", "priority": 1, "action": "drop"})
    office.round()
    office.issues.remove("IT-1")
    assert office.reconciler().sweep() == []


def test_unreadable_issues_are_reported_and_stop_no_sweep(office, saas_demo, tmp_path):
    with world_over_http(saas_demo, tmp_path) as office.world:
        for title in ("Order a laptop", "Order a cup"):
            office.world.tasks.add(title)
        office.round()
        office.world.issues.make("of no task")
        office.world.issues.move("IT-2", "Start", "Done")
        for key in ("IT-1", "IT-3"):
            saas_demo.do(f"issues/{key}", fields={"summary": "a\0b"})
        reconciler = office.reconciler()
        drifts = [(each.target_key, each.what) for each in reconciler.sweep()]
        assert drifts == [("IT-1", "unreadable"), ("IT-2", "to_source")]
        assert sorted(reconciler.unreadable_issues) == ["IT-1", "IT-3"]
        assert "text without NUL" in reconciler.unreadable_issues["IT-3"]
        assert reconciler.apply().outcomes == {"done": 1}
        saas_demo.do("issues/IT-1", fields={"summary": "Order a laptop"})
        reconciler = office.reconciler()
        assert (reconciler.sweep(), list(reconciler.unreadable_issues)) == ([], ["IT-3"])
