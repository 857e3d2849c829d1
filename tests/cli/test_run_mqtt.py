"""`load mqtt`: all that the demo publishes is mirrored, and folded into the state it expects."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from orchestration_project.__main__ import main
from orchestration_project.domains.mqtt.entities import ENTITIES, Entity
from orchestration_project.domains.mqtt.tables import mqtt_mirror
from orchestration_project.engine.connections.simulator import stop_demos
from orchestration_project.settings import load_settings
from tests import databases
from tests.prepared import write_default
from tests.resources.balances import assert_balanced


@pytest.fixture
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "state"
    monkeypatch.setenv("STATE_DIR", str(folder))
    monkeypatch.setenv("DEMO_MQTT_EVENTS", "300")
    write_default(load_settings())
    yield folder
    stop_demos(load_settings())


def plain(value: Any) -> Any:
    """Return a value of a row as the manifest has it."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value


def state_of(url: str, entity: Entity) -> Any:
    """Return the state of the entities of a type in the form of the manifest."""
    table = entity.table
    keys = [column.name for column in table.primary_key.columns]
    names = [name for name in (*entity.keys, *entity.fields) if name not in keys]
    rows = databases.rows(url, select(*(table.c[name] for name in (*keys, *names))))
    if entity.type == "component_dependency":
        return [list(row[:2]) for row in sorted(rows)]
    found = {row[0]: dict(zip(names, map(plain, row[1:]), strict=True)) for row in rows}
    for value in found.values():
        if value.get("metadata") is not None:
            value["metadata"] = json.loads(value["metadata"])
    return found


def without_nulls(state: Any) -> Any:
    """Return entities without fields that are null, which the manifest may leave out."""
    if isinstance(state, list):
        return sorted(state)
    return {
        key: {name: value for name, value in each.items() if value is not None}
        for key, each in state.items()
    }


@pytest.mark.slow
def test_the_mirror_has_each_event_once_and_the_state_that_the_demo_expects(state_dir, capsys):
    assert main(["load", "mqtt", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    manifest = json.loads((state_dir / "demo_mqtt" / "manifest.json").read_text())
    counts = shown["counts"]
    assert shown["is_complete"]
    assert counts["mirrored events"] == manifest["event_count"] == 300
    assert counts["duplicates"] >= manifest["duplicate_count"]
    letters = {
        name.removeprefix("dead letters: "): count
        for name, count in counts.items()
        if name.startswith("dead letters")
    }
    reused = letters.pop("key_reused")
    assert reused == manifest["reused_key_count"]
    assert letters == manifest["poison_counts"]
    url = databases.sqlite_url(state_dir)
    assert_balanced(url, "mqtt_mirror")
    keys = databases.rows(url, select(mqtt_mirror.c.idempotency_key))
    assert len(keys) == len(set(keys)) == 300
    for entity in ENTITIES.values():
        expected = without_nulls(manifest["state"][entity.topics])
        assert without_nulls(state_of(url, entity)) == expected, entity.type

    assert counts["projects"] == len(manifest["state"]["projects"])
    for at, count in (("2100-01-01T00:00:00Z", counts["projects"]), ("2000-01-01T00:00:00Z", 0)):
        assert main(["mqtt", "as-of", "projects", "--at", at]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert sum('"project_id"' in line for line in lines) == count


@pytest.mark.parametrize(
    "wrong", [["invoices", "--at", "2026-03-02T00:00:00Z"], ["tasks", "--at", "now"]]
)
def test_an_invalid_as_of_is_refused(state_dir, capsys, wrong):
    with pytest.raises(SystemExit, match="2"):
        main(["mqtt", "as-of", *wrong])
    assert "expected" in capsys.readouterr().err


def test_a_partition_is_refused_as_a_run_loads_all_that_waits(state_dir, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["load", "mqtt", "2026-03-02-12:00"])
    assert "a run loads all messages that wait" in capsys.readouterr().err
