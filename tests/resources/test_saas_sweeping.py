"""A sweep finds what no webhook reported of the issues that rules name, whatever else fails."""

import pytest

from orchestration_project.resources.saas.rules import revalidate
from orchestration_project.resources.saas.systems import RefusedError
from tests.resources.saas_demo_systems import systems_over_http
from tests.resources.saas_syncs import ALL


def test_an_issue_of_a_project_that_no_rule_names_any_more_is_not_missing(saas_sync):
    saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.rule({**ALL, "target_project": "HR"})
    assert saas_sync.reconciler().sweep() == []
    saas_sync.issues.gone_projects.add("IT")
    assert [difference.what for difference in saas_sync.reconciler().sweep()] == ["missing"]


def test_a_project_that_a_rule_names_and_that_cannot_be_searched_ends_the_sweep(saas_sync):
    saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.issues.gone_projects.add("IT")
    with pytest.raises(RefusedError):
        saas_sync.reconciler().sweep()


def test_a_rule_that_is_disabled_as_its_project_is_gone_keeps_no_sweep_from_the_others(saas_sync):
    gone = {**ALL, "rule_id": "gone", "priority": 1, "target_project": "GONE"}
    saas_sync.rule({**gone, "conditions": [{"field": "title", "value": "other"}]}, ALL)
    saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.issues.gone_projects.add("GONE")
    revalidate(saas_sync.warehouse, saas_sync.systems.target, at=saas_sync.clock.now(), run_id="x")
    saas_sync.issues.move("IT-1", "Start", "Done")
    assert [difference.what for difference in saas_sync.reconciler().sweep()] == ["to_source"]


def test_the_issue_of_a_task_that_a_rule_drops_by_now_is_nothing_to_a_sweep(saas_sync):
    saas_sync.tasks.add("Order a laptop")
    saas_sync.round()
    saas_sync.rule({"rule_id": "none", "priority": 1, "action": "drop"})
    saas_sync.round()
    saas_sync.issues.remove("IT-1")
    assert saas_sync.reconciler().sweep() == []


def test_unreadable_issues_are_reported_and_stop_no_sweep(saas_sync, saas_demo, tmp_path):
    with systems_over_http(saas_demo, tmp_path) as saas_sync.systems:
        for title in ("Order a laptop", "Order a cup"):
            saas_sync.systems.tasks.add(title)
        saas_sync.round()
        saas_sync.systems.issues.make("of no task")
        saas_sync.systems.issues.move("IT-2", "Start", "Done")
        for key in ("IT-1", "IT-3"):
            saas_demo.do(f"issues/{key}", fields={"summary": "a\0b"})
        reconciler = saas_sync.reconciler()
        drifts = [(difference.target_key, difference.what) for difference in reconciler.sweep()]
        assert drifts == [("IT-1", "unreadable"), ("IT-2", "to_source")]
        assert sorted(reconciler.unreadable_issues) == ["IT-1", "IT-3"]
        assert "text without NUL" in reconciler.unreadable_issues["IT-3"]
        assert reconciler.apply().outcomes == {"done": 1}
        saas_demo.do("issues/IT-1", fields={"summary": "Order a laptop"})
        reconciler = saas_sync.reconciler()
        assert (reconciler.sweep(), list(reconciler.unreadable_issues)) == ([], ["IT-3"])
