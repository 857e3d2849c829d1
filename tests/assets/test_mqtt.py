"""Messages that wait become a mirror, project state, a graph and dead letters that are replayed."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import update

from orchestration_project.assets.mqtt import REPLAY_OP
from orchestration_project.definitions import defs
from orchestration_project.domains.mqtt.tables import (
    mqtt_bridges,
    mqtt_dead_letters,
    mqtt_mirror,
    mqtt_projects,
)
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.resources.mqtt.dead_letters import TOPIC as LETTERS
from orchestration_project.sensors.mqtt import mqtt_on_arrival
from orchestration_project.settings import Settings, load_settings
from orchestration_project.tables.spine import work_items
from tests.expecting import expect_type
from tests.resources.definitions import RESOURCES
from tests.resources.mqtt_syncs import KINDS, MqttSync, message

HOUR = "2026-03-02-15:00"


@pytest.fixture
def kinds(tmp_path) -> Path:
    folder = tmp_path / "kinds"
    folder.mkdir()
    for file in KINDS.glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.fixture
def settings(tmp_path, monkeypatch, kinds, prepared) -> Settings:
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("MQTT_KINDS_DIR", str(kinds))
    monkeypatch.setenv("DISK_HEADROOM_MIB", "0")
    settings = load_settings()
    prepared.sqlite(settings.state_path / "demo.sqlite")
    return settings


@pytest.fixture
def mqtt_sync(settings, tmp_path) -> Iterator[MqttSync]:
    with open_warehouse(settings) as warehouse:
        yield MqttSync(warehouse, open_clock(settings), tmp_path)


def run(
    instance: dg.DagsterInstance, job: str, config: dict | None = None, hour: str | None = None
) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job).execute_in_process(
        instance=instance,
        partition_key=hour,
        run_config={"ops": {"replay_mqtt_dead_letters": {"config": config}}} if config else {},
    )


def mirror(instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    return run(instance, "mqtt_mirror", hour=HOUR)


def metadata(result: dg.ExecuteInProcessResult, *key: str) -> dict:
    found = [
        asset_materialization
        for asset_materialization in result.asset_materializations_for_node(_node(key))
        if asset_materialization.asset_key == dg.AssetKey(["mqtt", *key])
    ]
    return {name: value.value for name, value in found[-1].metadata.items()}


def _node(key: tuple[str, ...]) -> str:
    return {"mirror": "mirror_mqtt", "project_graph": "draw_mqtt_graph"}.get(
        key[0], "replay_mqtt_dead_letters"
    )


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {
        evaluation.check_name: evaluation.passed
        for evaluation in result.get_asset_check_evaluations()
    }


def graph_of(*edges: tuple[str, str]) -> list[bytes]:
    components = sorted({node for edge in edges for node in edge})
    return [
        *(
            message(
                f"c-{component}",
                "component.created",
                {"component_id": component, "project_id": "p1", "name": component.upper()},
            )
            for component in components
        ),
        *(
            message(
                f"d-{first}-{second}",
                "component_dependency.added",
                {"component_id": first, "depends_on_id": second},
            )
            for first, second in edges
        ),
    ]


@pytest.mark.slow
def test_a_run_mirrors_what_waits_and_reports_it(mqtt_sync, instance):
    now = mqtt_sync.clock.now()
    mqtt_sync.receive(
        message("p", "project.created", {"project_id": "p1", "name": "Apollo"}, ts=now),
        message("p", "project.created", {"project_id": "p1", "name": "Apollo"}, ts=now),
        message("u", "invoice.sent", {}, ts=now),
        b"17",
        at=now,
    )
    mqtt_sync.receive(message("q", ts=now), at=now - timedelta(hours=1))
    result = mirror(instance)
    found = metadata(result, "mirror")
    assert {name: found[name] for name in found if name.endswith("_count")} == {
        "event_count": 3,
        "duplicate_count": 1,
        "cleared_count": 0,
        "dead_letter_count": 1,
        "skewed_count": 0 + 1,
        "unknown_kind_count": 1,
        "range_count": 1,
        "waiting_count": 0,
        "removed_message_count": 0,
        "removed_key_count": 0,
    }
    assert mqtt_sync.keys() == ["p", "q", "u"]
    assert checks(result) == {
        "kinds_are_known": False,
        "clocks_agree": False,
        "dependencies_have_no_cycle": True,
        "files_are_valid": True,
    }
    latest = instance.get_latest_materialization_event(dg.AssetKey(["mqtt", "projects"]))
    assert latest is not None
    assert mirror(instance).success
    assert mqtt_sync.count(mqtt_mirror) == 3


@pytest.mark.slow
def test_the_graph_is_drawn_and_cycles_are_named(mqtt_sync, instance):
    mqtt_sync.receive(*graph_of(("a", "b"), ("b", "a"), ("c", "a")), at=mqtt_sync.clock.now())
    result = mirror(instance)
    found = metadata(result, "project_graph")
    assert (found["component_count"], found["dependency_count"]) == (3, 3)
    assert "flowchart LR" in found["mermaid"]
    [check] = [
        evaluation
        for evaluation in result.get_asset_check_evaluations()
        if evaluation.check_name == "dependencies_have_no_cycle"
    ]
    assert not check.passed
    assert check.metadata["found"].value == "a, b"


@pytest.mark.slow
def test_a_broken_kind_file_is_named_and_its_events_are_replayed_once_it_is_mended(
    mqtt_sync, instance, kinds
):
    strict = kinds / "project.updated.v1.json"
    shipped = strict.read_text()
    strict.write_text(json.dumps({"type": "object", "required": ["never"]}))
    (kinds / "note.added.v1.json").write_text("{")
    now = mqtt_sync.clock.now()
    mqtt_sync.receive(message("a", payload={"project_id": "p1", "name": "Apollo"}, ts=now), at=now)
    result = mirror(instance)
    assert not checks(result)["files_are_valid"]
    assert mqtt_sync.rows(mqtt_dead_letters)[0]["reason_code"] == "schema"
    again = run(instance, "mqtt_replay_dead_letters", {"reason_code": "schema", "dry_run": False})
    assert metadata(again, "dead_letters")["refused_count"] == 1
    strict.write_text(shipped)
    dry = run(instance, "mqtt_replay_dead_letters", {"all_letters": True})
    assert metadata(dry, "dead_letters")["selected_count"] == 1
    assert mqtt_sync.keys() == []
    done = run(instance, "mqtt_replay_dead_letters", {"arrival_ids": [1], "dry_run": False})
    assert metadata(done, "dead_letters")["mirrored_count"] == 1
    assert mqtt_sync.rows(mqtt_projects)[0]["name"] == "Apollo"
    assert mqtt_sync.rows(mqtt_dead_letters)[0]["ended_at"] is not None
    [item] = [row for row in mqtt_sync.rows(work_items) if row["topic"] == LETTERS]
    assert item["state"] == "done"


def tick(instance: dg.DagsterInstance):
    with dg.build_resources(RESOURCES, instance) as made:
        wanted = {
            name: value
            for name, value in made._asdict().items()
            if name in mqtt_on_arrival.required_resource_keys
        }
        return mqtt_on_arrival(dg.build_sensor_context(instance=instance, resources=wanted))


def requests(instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    result = expect_type(tick(instance), dg.SensorResult)
    return list(result.run_requests or [])


@pytest.mark.slow
def test_the_sensor_asks_for_one_run_while_messages_wait(mqtt_sync, instance):
    assert isinstance(tick(instance), dg.SkipReason)
    mqtt_sync.receive(b"17", message("a"), at=mqtt_sync.clock.now())
    [request] = requests(instance)
    assert (request.job_name, request.partition_key) == ("mqtt_mirror", HOUR)
    mirror(instance)
    assert isinstance(tick(instance), dg.SkipReason)


@pytest.mark.slow
def test_the_sensor_replays_letters_whose_items_are_retried(mqtt_sync, instance):
    mqtt_sync.receive(b"17", at=mqtt_sync.clock.now())
    mirror(instance)
    WorkItems(mqtt_sync.warehouse, mqtt_sync.clock).retry(LETTERS)
    [request] = requests(instance)
    assert request.job_name == "mqtt_replay_dead_letters"
    run(instance, "mqtt_replay_dead_letters", request.run_config["ops"][REPLAY_OP]["config"])
    assert isinstance(tick(instance), dg.SkipReason)
    assert mqtt_sync.rows(mqtt_dead_letters)[0]["ended_at"] is None


@pytest.mark.slow
def test_entities_are_derived_from_the_mirror_again(mqtt_sync, instance):
    mqtt_sync.receive(
        message("a", payload={"project_id": "p1", "name": "Apollo"}), at=mqtt_sync.clock.now()
    )
    mirror(instance)
    before = mqtt_sync.rows(mqtt_projects)
    with mqtt_sync.warehouse.writing() as connection:
        connection.execute(update(mqtt_projects).values(name="changed manually"))
    run(instance, "mqtt_fold")
    assert mqtt_sync.rows(mqtt_projects) == before


def test_checks_of_the_flow_name_what_is_late_silent_or_lost(mqtt_sync, instance):
    assert all(checks(run(instance, "mqtt_flow")).values())
    now = mqtt_sync.clock.now()
    mqtt_sync.receive(*[b"17"] * 5, at=now - timedelta(minutes=20))
    mirror(instance)
    mqtt_sync.receive(b"17", at=now - timedelta(minutes=20))
    with mqtt_sync.warehouse.writing() as connection:
        connection.execute(
            mqtt_bridges.insert(),
            {
                "broker": "broker:1883",
                "holder": "host 1",
                "connected_since": now - timedelta(hours=3),
                "last_message_at": now - timedelta(hours=2),
                "receive_maximum": 20,
                "topics": "tracker/#",
                "backlog_count": 0,
                "message_count": 1,
                "session_lost_at": now - timedelta(hours=3),
                "problem": None,
                "changed_at": now,
            },
        )
    result = run(instance, "mqtt_flow")
    assert checks(result) == {
        "bridge_is_not_silent": False,
        "session_was_kept": False,
        "outbox_is_published": True,
        "messages_are_mirrored_in_time": False,
        "few_dead_letters": False,
    }
    found = {
        evaluation.check_name: str(evaluation.metadata["found"].value)
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed
    }
    assert "messages since 2026-03-02 12:" in found["session_was_kept"]
