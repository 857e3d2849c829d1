"""`load mqtt`: mirror the messages that wait, of the demo once it has published, and count."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import click
from sqlalchemy import Table, func, select

from orchestration_project.assets.mqtt import MIRROR_JOB
from orchestration_project.cli import console
from orchestration_project.cli.execution import (
    ProgressLine,
    failures,
    run_over,
)
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.domains.mqtt.entities import ENTITIES
from orchestration_project.domains.mqtt.judging import hour_of
from orchestration_project.domains.mqtt.settings import DEMO_FOLDER, MqttSettings
from orchestration_project.domains.mqtt.tables import mqtt_inbox, mqtt_mirror, mqtt_seen_keys
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.instance.storage import open_instance
from orchestration_project.resources.mqtt.folding import rows_as_of
from orchestration_project.resources.mqtt.health import dead_letters_by_reason
from orchestration_project.resources.mqtt.opening import open_bridge
from orchestration_project.resources.mqtt.ranges import waiting
from orchestration_project.settings import Settings, load_settings
from orchestration_project.tables.conditions import MOMENT, read_moment

POLL_SECONDS = 0.2
STILL_POLLS = 10
"""Polls without a new message after which the demo's last message has arrived."""

MAX_SECONDS = 600
PROGRESS_FILE = "published.json"


def load(arguments: Sequence[str]) -> int:
    """Load the messages that wait into the mirror, and print counts.

    With the demo as source, a bridge receives all that its publisher sends before.

    Returns:
        0 if the run succeeded and no message waits, else 1.

    Raises:
        UsageError: The domain has no source, or arguments are given.
    """
    settings = load_settings()
    source = MqttSettings.of(settings).mqtt_source
    if source is None:
        raise click.UsageError("MQTT_SOURCE is not set: no message is received; set MQTT_URL")
    if arguments:
        raise click.UsageError("expected no partition: a run loads all messages that wait")
    if console.OUTPUT.is_dry_run:
        console.preview(f"{MIRROR_JOB} would load the messages that wait", job=MIRROR_JOB)
        return 0
    clock = open_clock(settings)
    with (
        full_disk_explained(settings),
        open_warehouse(settings) as warehouse,
        open_instance() as instance,
    ):
        console.progress(f"database  {warehouse.shown_url}")
        if source == "demo":
            _receive_demo(settings, warehouse, clock)
        hour = hour_of(clock.now())
        with ProgressLine(1, [hour]) as progress:
            results = run_over(instance, MIRROR_JOB, [(hour, hour)], progress)
        counts = _count_messages(warehouse)
        left_count = waiting(warehouse).message_count
    failed = failures([result for result in results if not result.success])
    is_complete = not failed and not left_count
    if console.OUTPUT.is_json:
        console.emit({"is_complete": is_complete, "counts": counts, "failures": failed})
    else:
        rows = [[name, f"{count:,}"] for name, count in counts.items()]
        console.echo("\n".join(["", console.aligned([["messages", "count"], *rows]), *failed]))
    return int(not is_complete)


def write_as_of(name: str, at: str) -> int:
    """Write the rows of entities, folded from the events that the mirror had at a time.

    Args:
        name: Last part of the name of their asset, such as ``projects``.
        at: The time, with its zone.

    Raises:
        UsageError: The name or the time is invalid.
    """
    types = {entity.topics: entity.type for entity in ENTITIES.values()}
    if name not in types:
        raise click.UsageError(f"invalid ENTITIES {name!r}: expected one of {', '.join(types)}")
    try:
        moment = read_moment(at)
    except ValueError:
        raise click.UsageError(f"invalid --at {at!r}: expected {MOMENT}") from None
    with open_warehouse(load_settings()) as warehouse, warehouse.reading() as connection:
        rows = rows_as_of(connection, types[name], moment)
    console.echo(rows.sort(rows.columns[0]).write_ndjson().rstrip("\n"))
    return 0


def _receive_demo(settings: Settings, warehouse: Warehouse, clock: Clock) -> None:
    """Receive messages until the demo has published all of them, and none follows."""
    folder = settings.state_path / DEMO_FOLDER
    with _run_bridge(settings, warehouse, clock):
        deadline, still, before = time.monotonic() + MAX_SECONDS, 0, -1
        while still < STILL_POLLS and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            count = _count(warehouse, mqtt_inbox)
            is_over = _read_progress(folder).get("is_done", False)
            still = still + 1 if is_over and count == before else 0
            before = count
    console.progress(f"received  {before:,} messages\n")


@contextmanager
def _run_bridge(settings: Settings, warehouse: Warehouse, clock: Clock) -> Iterator[None]:
    stop = Event()
    bridge = open_bridge(settings, warehouse, clock)
    thread = Thread(target=bridge.run, args=(stop,), name="mqtt-bridge", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _read_progress(folder: Path) -> Mapping[str, Any]:
    try:
        return json.loads((folder / PROGRESS_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return {}


def _count_messages(warehouse: Warehouse) -> Mapping[str, int]:
    duplicates = select(func.coalesce(func.sum(mqtt_seen_keys.c.duplicate_count), 0))
    with warehouse.reading() as connection:
        duplicate_count = int(connection.execute(duplicates).scalar_one())
    letters = dead_letters_by_reason(warehouse)
    return {
        "received": _count(warehouse, mqtt_inbox),
        "mirrored events": _count(warehouse, mqtt_mirror),
        "duplicates": duplicate_count,
        **{f"dead letters: {code}": count for code, count in letters.items()},
        **{entity.topics: _count(warehouse, entity.table) for entity in ENTITIES.values()},
    }


def _count(warehouse: Warehouse, table: Table) -> int:
    with warehouse.reading() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()
