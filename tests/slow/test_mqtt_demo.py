"""The demo of MQTT is killed while it publishes: the bridge has every message in the end."""

import base64
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from orchestration_demo.clock import time_in
from orchestration_demo.mqtt.events import Story
from orchestration_demo.mqtt.faults import with_faults
from sqlalchemy import func, select

from orchestration_project.domains.mqtt.tables import mqtt_inbox
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.mqtt.opening import mqtt_demo, open_bridge
from orchestration_project.settings import load_settings
from tests.mqtt_broker import running
from tests.prepared import Prepared
from tests.programs import wait_for

pytestmark = pytest.mark.slow

EVENTS = 3_000


def test_a_demo_that_is_killed_publishes_all_its_events(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DEMO_MQTT_EVENTS", str(EVENTS))
    settings = load_settings()
    demo = mqtt_demo(settings)
    folder = tmp_path / "demo_mqtt"
    url = prepared.sqlite(tmp_path / "db.sqlite")
    with Warehouse(url, clock=Clock()) as warehouse:

        def count() -> int:
            with warehouse.reading() as connection:
                return connection.execute(select(func.count()).select_from(mqtt_inbox)).scalar_one()

        for least in (200, 1_000):
            with running(open_bridge(settings, warehouse, Clock()).run):
                wait_for(lambda least=least: count() > least)
                os.kill(json.loads((folder / "server.json").read_text())["pid"], signal.SIGKILL)
        with running(open_bridge(settings, warehouse, Clock()).run):
            progress = wait_for(lambda: finished(folder))
            published = with_faults(
                Story(settings.demo_seed, EVENTS, time_in(progress["begun_at"]))
            ).events
            expected = {event.body for event in published}
            wait_for(lambda: expected <= stored(warehouse))
        assert stored(warehouse) == expected
    demo.stop()


def finished(folder: Path) -> dict[str, Any] | None:
    """Return what the demo noted of its progress once it has published all."""
    found = json.loads((folder / "published.json").read_text())
    return found if found["is_done"] else None


def stored(warehouse: Warehouse) -> set[bytes]:
    with warehouse.reading() as connection:
        return {
            base64.b64decode(value) for value in connection.scalars(select(mqtt_inbox.c.payload))
        }
