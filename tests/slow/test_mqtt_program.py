"""`mqtt bridge` as a program: by itself, and supervised by `ui`."""

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from orchestration_demo.mqtt.events import Event

from tests import programs
from tests.mosquitto import Mosquitto, mosquitto
from tests.mqtt_broker import broker_at, publish_without_failure

pytestmark = pytest.mark.slow

BRIDGE = ("orchestration_project", "mqtt", "bridge")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    (tmp_path / "broker").mkdir()
    with mosquitto(tmp_path / "broker") as broker:
        yield broker


def real(broker: Mosquitto) -> dict[str, str]:
    """Return the settings of a bridge alone."""
    return {"MQTT_URL": f"mqtt://127.0.0.1:{broker.port}", "DEMO_CLOCK_NOW": ""}


def rows(state: Path, query: str) -> list[tuple[Any, ...]]:
    try:
        with closing(sqlite3.connect(f"file:{state}/real.sqlite?mode=ro", uri=True)) as file:
            return file.execute(query).fetchall()
    except sqlite3.OperationalError:  # no file, or no table yet
        return []


def is_connected(state: Path) -> bool:
    return bool(rows(state, "SELECT 1 FROM mqtt_bridges WHERE connected_since IS NOT NULL"))


def send(broker: Mosquitto, *names: str) -> None:
    sent = [Event("tracker/events/tasks/1", name.encode()) for name in names]
    publish_without_failure(broker_at(broker.port, client_id="tracker"), sent)


def test_a_signal_ends_the_bridge_and_the_broker_keeps_what_comes_then(tmp_path, broker) -> None:
    state = tmp_path / "state"
    bridge = programs.start_unheard(state, *BRIDGE, **real(broker))
    programs.wait_for(lambda: is_connected(state))
    send(broker, "first")
    count = "SELECT count(*) FROM mqtt_inbox"
    programs.wait_for(lambda: rows(state, count) == [(1,)])
    bridge.send_signal(signal.SIGTERM)
    assert bridge.wait(30) == 0
    shown = "SELECT connected_since, problem FROM mqtt_bridges"
    assert rows(state, shown) == [(None, "the bridge was stopped")]
    assert rows(state, "SELECT holder FROM leases WHERE name LIKE 'mqtt/bridge|%'") == [("",)]
    send(broker, "second")
    bridge = programs.start_unheard(state, *BRIDGE, **real(broker))
    programs.wait_for(lambda: rows(state, count) == [(2,)])
    bridge.send_signal(signal.SIGTERM)
    assert bridge.wait(30) == 0


def test_the_ui_starts_the_bridge_and_ends_it(tmp_path, broker) -> None:
    state = tmp_path / "state"
    port = str(programs.free_port())
    ui = programs.start_unheard(
        state, "orchestration_project", "ui", "--port", port, **real(broker)
    )
    try:
        programs.wait_for(lambda: is_connected(state), seconds=programs.PATIENCE_SECONDS)
        send(broker, "one")
        programs.wait_for(lambda: rows(state, "SELECT count(*) FROM mqtt_inbox") == [(1,)])
        [bridge] = [process for process in programs.processes_of(state) if is_bridge(process)]
        ui.send_signal(signal.SIGTERM)
        ui.wait(programs.PATIENCE_SECONDS)
        programs.wait_for(lambda: not bridge.is_running())
    finally:
        programs.kill_all_of(state)
        ui.wait(30)


def is_bridge(process: psutil.Process) -> bool:
    return [*BRIDGE] == process.cmdline()[-3:]
