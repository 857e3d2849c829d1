"""Definitions of plugins: from the database alone, and other domains run where it is in the way."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import build
from orchestration_project.domains.plugins.tables import plugins_rows
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.resources.plugins.changes import PluginChange
from orchestration_project.resources.plugins.edits import PluginEdits
from orchestration_project.resources.plugins.state import StoredPlugin, read_plugin
from orchestration_project.settings import Settings
from tests.plugin_files import plugin_files

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ADA = PluginChange("ada", NOW)
REGISTRY_OF_PLUGINS = REGISTRY.select("plugins")
DAILY: dict[str, Any] = {
    "schedule": {"cron": "0 6 * * *", "timezone": "Europe/Berlin"},
    "partitions": {"start": "2026-02-01"},
}
RAISING = b"raise SystemExit('imported by the host')"


def enable(
    settings: Settings, *, share: float | None = None, main: bytes = RAISING, **changes: Any
) -> None:
    with open_warehouse(settings) as warehouse:
        edits = PluginEdits(settings, warehouse, open_store(settings))
        files = plugin_files(**changes) | {"main.py": main}
        stored, _ = edits.add(files, ADA, allow_unsigned=True)
        edits.grant(stored.id, ADA, given={}, folders={})
        edits.enable(stored.id, ADA, share=share)


def stored(settings: Settings) -> StoredPlugin:
    with open_warehouse(settings) as warehouse, warehouse.reading() as connection:
        return read_plugin(connection, "rss")


def jobs() -> set[str]:
    repository = build(REGISTRY_OF_PLUGINS).get_repository_def()
    return {job.name for job in repository.get_all_jobs() if job.name.startswith("plugins_")}


def test_each_enabled_plugin_has_an_asset_a_job_and_a_schedule(demo_settings: Settings):
    assert jobs() == {"plugins_edit"}
    enable(demo_settings, **DAILY)
    enable(demo_settings, id="other")
    defs = build(REGISTRY_OF_PLUGINS)
    asset = defs.resolve_assets_def(dg.AssetKey(["plugins", "rss"]))
    assert asset.partitions_def is not None
    assert "2026-02-02" in asset.partitions_def.get_partition_keys()
    assert jobs() == {"plugins_edit", "plugins_rss", "plugins_other"}
    schedule = defs.resolve_schedule_def("plugins_rss")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 6 * * *", "Europe/Berlin")
    with open_warehouse(demo_settings) as warehouse:
        edits = PluginEdits(demo_settings, warehouse, open_store(demo_settings))
        edits.disable("rss", ADA, "it is too slow")
    assert jobs() == {"plugins_edit", "plugins_other"}


def test_a_schedule_requests_the_day_before_unless_it_is_outside_of_the_share(
    demo_settings: Settings,
):
    def requested(hour: int) -> str | None:
        schedule = build(REGISTRY_OF_PLUGINS).resolve_schedule_def("plugins_rss")
        at = datetime(2026, 11, 26, hour, tzinfo=UTC)
        with dg.build_schedule_context(scheduled_execution_time=at) as context:
            found: Any = schedule(context)
        return found.skip_message if isinstance(found, dg.SkipReason) else found.partition_key

    enable(demo_settings, **DAILY)
    assert requested(5) == "2026-11-25"
    enable(demo_settings, share=0.0, **DAILY)
    assert requested(5) == "2026-11-25 is outside of its share."


@pytest.mark.parametrize("damage", ["garbage", "gone", "no tables"])
def test_a_database_that_does_not_answer_harms_no_other_definition(
    demo_settings: Settings, damage: str, caplog: pytest.LogCaptureFixture
):
    enable(demo_settings)
    file = demo_settings.state_path / "demo.sqlite"
    for path in file.parent.glob("demo.sqlite*"):
        path.unlink()
    if damage == "garbage":
        file.write_bytes(b"not a database" * 100)
    elif damage == "no tables":
        file.touch()
    assert jobs() == {"plugins_edit"}
    assert ("No plugin is defined" in caplog.text) == (damage != "gone")


def test_a_partition_outside_of_the_share_is_observed_and_not_run(
    demo_settings: Settings, instance: dg.DagsterInstance
):
    enable(demo_settings, share=0.0, **DAILY)
    job = build(REGISTRY_OF_PLUGINS).resolve_job_def("plugins_rss")
    ended = job.execute_in_process(instance=instance, partition_key="2026-02-02")
    assert ended.success
    (found,) = ended.get_asset_observation_events()
    assert str(found.asset_observation_data.asset_observation.metadata["outcome"].value) == (
        "not run: outside of the share 0.0"
    )


PARTITION_ROW = b"""from plugin import start

with start() as run:
    run.emit("items", [(run.partition, {"day": run.partition})])
"""


def test_a_run_of_a_range_loads_each_partition(
    demo_settings: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PLUGINS_ISOLATION", "process")
    enable(demo_settings, main=PARTITION_ROW, **DAILY)
    job = build(REGISTRY_OF_PLUGINS).resolve_job_def("plugins_rss")
    days = ["2026-02-02", "2026-02-03", "2026-02-04"]
    tags = {
        "dagster/asset_partition_range_start": days[0],
        "dagster/asset_partition_range_end": days[-1],
    }
    ended = job.execute_in_process(instance=instance, tags=tags)
    assert ended.success
    assert [event.partition for event in ended.get_asset_materialization_events()] == days
    with open_warehouse(demo_settings) as warehouse, warehouse.reading() as connection:
        wanted = select(plugins_rows.c.partition_key, plugins_rows.c.row_key)
        rows = connection.execute(wanted.order_by(plugins_rows.c.row_key)).all()
    assert rows == [(day, day) for day in days]
    ended = job.execute_in_process(instance=instance, tags={"dagster/partition": days[1]})
    (found,) = ended.get_asset_materialization_events()
    assert found.partition == days[1]


@pytest.mark.slow
def test_an_admins_job_edits_a_plugin_and_a_dry_run_does_not(
    demo_settings: Settings, instance: dg.DagsterInstance
):
    def run(**config: Any) -> bool:
        job = build(REGISTRY_OF_PLUGINS).resolve_job_def("plugins_edit")
        return job.execute_in_process(
            instance=instance,
            run_config={"ops": {"edit_plugins": {"config": {"plugin": "rss", **config}}}},
            tags={"user": "grace"},
            raise_on_error=False,
        ).success

    enable(demo_settings)
    assert run(action="disable", reason="it is too slow")
    assert stored(demo_settings).state == "enabled"
    assert run(action="disable", reason="it is too slow", dry_run=False)
    assert (stored(demo_settings).state, stored(demo_settings).changed_by) == ("disabled", "grace")
    assert run(action="grant", permissions={"hosts": []}, dry_run=False)
    assert stored(demo_settings).permissions.hosts == []
    assert run(action="enable", share=0.5, dry_run=False)
    assert stored(demo_settings).share == 0.5
    assert not run(action="enable", expected_version=1, dry_run=False)
    assert run(action="remove", dry_run=False)
    assert not run(action="enable", dry_run=False)


def test_a_job_of_edits_is_for_admins(demo_settings: Settings, tmp_path: Path):
    spec = build(REGISTRY_OF_PLUGINS).resolve_asset_graph().get(dg.AssetKey(["plugins", "list"]))
    assert spec.tags["requires_admin"] == "true"


def test_the_rows_of_a_delivery_are_found_by_its_key_for_evidence():
    scope_of = REGISTRY.tables["plugins_rows"].scope_of
    assert [list(scope_of(key).values()) for key in ("rss|items|2026-02-02", "rss|items")] == [
        ["rss", "items", "2026-02-02"],
        ["rss", "items", ""],
    ]
