"""A plugin that the project disabled raises an alert, and shows in the control tower."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, update

from orchestration_project.assets.operations.plugins import describe_plugins
from orchestration_project.catalog import REGISTRY
from orchestration_project.domains.plugins.tables import plugins, plugins_violations
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.plugins.conditions import disabled_plugins
from orchestration_project.resources.plugins.state import BY_VIOLATIONS
from orchestration_project.services.objectives.conditions import RowConditions, build_conditions
from orchestration_project.settings import load_settings
from tests.resources.weeks import StoppedClock

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
def warehouse(tmp_path):
    with Warehouse(f"sqlite:///{tmp_path}/w.sqlite", clock=StoppedClock(NOON)) as opened:
        opened.prepare(holds="demo")
        yield opened


def added(warehouse, name, **fields):
    row = {
        **dict.fromkeys(("version", "sha256", "publisher", "kind"), "1.0.0"),
        "id": name,
        "listed_keys": "[]",
        "manifest": "{}",
        "share": 1.0,
        "is_signed": False,
        "state": "enabled",
        "reason": None,
        "version_number": 1,
        "changed_by": "ada",
        "changed_at": NOON,
        **fields,
    }
    with warehouse.writing() as connection:
        connection.execute(insert(plugins), [row])


def violated(warehouse, name, number, at=NOON):
    row = {
        "run_id": "run-1",
        "number": number,
        "plugin": name,
        "permission": "hosts",
        "what": f"https://elsewhere-{number}.example/",
        "at": at,
    }
    with warehouse.writing() as connection:
        connection.execute(insert(plugins_violations), [row])


def conditions(warehouse):
    return {
        lasting_condition.subject: lasting_condition.probe
        for lasting_condition in build_conditions(
            lambda: warehouse, StoppedClock(NOON), REGISTRY.registered(RowConditions)
        )
        if lasting_condition.kind == "plugin_disabled"
    }


@pytest.mark.slow
def test_a_plugin_that_the_project_disabled_is_a_condition_with_its_latest_violations(warehouse):
    added(warehouse, "good")
    added(warehouse, "stopped", state="disabled", reason="disabled by ada")
    added(warehouse, "bad", state="disabled", reason="3 violations", changed_by=BY_VIOLATIONS)
    for number in range(1, 5):
        violated(warehouse, "bad", number, NOON + number * timedelta(minutes=1))
    found = conditions(warehouse)
    assert list(found) == ["bad"]
    with pytest.raises(OrchestrationError) as failed:
        found["bad"].run()
    assert "3 violations" in failed.value.found
    assert "elsewhere-4" in failed.value.found
    assert "elsewhere-1." not in failed.value.found
    assert "orchestrate plugins enable bad" in failed.value.remedy


def test_an_enabled_plugin_is_no_condition_any_more(warehouse):
    added(warehouse, "bad", state="disabled", reason="3 violations", changed_by=BY_VIOLATIONS)
    assert list(conditions(warehouse)) == ["bad"]
    [late] = disabled_plugins(warehouse)
    assert (late.asset, late.reason) == ("plugins/bad", "the plugin bad is disabled: 3 violations")
    with warehouse.writing() as connection:
        connection.execute(update(plugins).values(state="enabled", changed_by="ada"))
    assert conditions(warehouse) == {}
    assert disabled_plugins(warehouse) == []


def test_the_control_tower_lists_plugins_and_what_their_isolation_enforces(warehouse, monkeypatch):
    monkeypatch.setenv("PLUGINS_ISOLATION", "process")
    assert describe_plugins(load_settings(), warehouse, NOON) == {}
    added(warehouse, "rss")
    violated(warehouse, "rss", 1, NOON - timedelta(days=27))
    violated(warehouse, "rss", 2, NOON - timedelta(days=29))
    found = describe_plugins(load_settings(), warehouse, NOON)
    [record] = found["plugins"].value.records
    assert (record.data["plugin"], record.data["violations_28d"]) == ("rss", 1)
    assert "not enforced" in str(found["plugins_isolation"])
