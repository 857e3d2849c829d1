"""Metrics of plugins, as the gateway reads them from the database."""

from datetime import timedelta

import pytest

from orchestration_project.errors import ContractError
from orchestration_project.resources.plugins.metrics import PluginMetrics
from tests.resources.plugins.plugin_runner import PluginRunner, body

DAY = timedelta(hours=24)


def samples(plugins: PluginRunner, later: timedelta = timedelta()) -> dict[tuple[str, ...], float]:
    """Return each sample by its name and the values of its labels."""
    return {
        (sample.name.removeprefix("orchestration_"), *sample.labels.values()): sample.value
        for family in PluginMetrics(plugins.warehouse).families(plugins.clock.now() + later)
        for sample in family.samples
    }


def test_states_calls_and_violations_of_a_day_are_counted(plugins: PluginRunner):
    assert not samples(plugins)
    code = """run.page("markdown", "x")
run.emit("items", [("1", {"title": "x"})])
run.publish("plugins/rss/new", "1", {})"""
    plugins.add(body(code), permissions={"tables": ["items"], "pages": ["markdown"]})
    with pytest.raises(ContractError):
        plugins.run()
    assert samples(plugins) == {
        ("plugins", "enabled"): 1,
        ("plugin_calls", "rss", "allowed"): 2,
        ("plugin_calls", "rss", "refused"): 1,
        ("plugin_violations", "rss", "topics"): 1,
    }
    assert samples(plugins, DAY + timedelta(seconds=1)) == {("plugins", "enabled"): 1}


@pytest.mark.parametrize("table", ["plugins_calls", "plugins_violations"])
def test_an_index_finds_what_is_counted(plugins: PluginRunner, table: str):
    query = f"SELECT count(*) FROM {table} WHERE plugin IN ('a', 'b') AND at >= '2026-01-01'"  # noqa: S608 - of our tables
    with plugins.warehouse.reading() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all()
    assert f"{table}_by_plugin" in str(plan)
