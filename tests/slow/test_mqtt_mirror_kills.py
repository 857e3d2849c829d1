"""A run of the mirror that is killed loses nothing, and mirrors nothing twice.

MQTT_MIRROR_KILLS=100 kills the runs on each database a hundred times.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import func, select

from orchestration_project.domains.mqtt.tables import (
    mqtt_dead_letters,
    mqtt_mirror,
    mqtt_projects,
    mqtt_seen_keys,
)
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.settings import PROJECT_ROOT, child_environment, load_settings
from orchestration_project.tables.spine import captures, work_items
from tests.domains.mqtt_model import Event, expected_row, history
from tests.expecting import expect_present
from tests.prepared import Prepared
from tests.programs import kill_after
from tests.resources.mqtt_syncs import MqttSync, message, tolerant_kinds

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("MQTT_MIRROR_KILLS", "6"))  # noqa: TID251 - of the test alone
"""Kills on each of the two databases."""

HOUR = "2026-03-02-12:00"
BATCH_PROJECTS = 150


@pytest.fixture(params=["sqlite", "postgresql"])
def mqtt_sync(
    request: pytest.FixtureRequest,
    demo_settings: Any,
    prepared: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[MqttSync]:
    found = (
        prepared.sqlite(tmp_path / "warehouse.sqlite")
        if request.param == "sqlite"
        else prepared.postgresql()
    )
    monkeypatch.setenv("DATABASE_URL", found)
    monkeypatch.setenv("MQTT_KINDS_DIR", str(tolerant_kinds(tmp_path / "kinds")))
    monkeypatch.setenv("MQTT_MAX_SKEW_SECONDS", "31536000")
    with open_warehouse(load_settings()) as warehouse:
        yield MqttSync(warehouse, Clock(), tmp_path)


class KilledRuns:
    """Runs of the mirror, killed at moments that a seed decides."""

    def __init__(self, program: "subprocess.Popen[str]") -> None:
        self._program = program
        self.random = Random(38)  # noqa: S311 - to be repeated

    def run(self, *, is_killed: bool) -> bool:
        """Run once; return whether the run ended well."""
        stdin = expect_present(self._program.stdin)
        stdout = expect_present(self._program.stdout)
        print(HOUR, file=stdin, flush=True)
        process = int(stdout.readline())
        if is_killed:
            kill_after(process, self.random.uniform(0.05, 2.5))
        return stdout.readline() == "0\n"


def received(mqtt_sync: MqttSync, random: Random, events: list[Event]) -> None:
    """Insert events in a random order, some twice, with a poisoned message between."""
    bodies = [
        message(f"k{event.arrival_id}", f"project.{event.operation}", event.payload, ts=event.ts)
        for event in events
    ]
    mqtt_sync.receive(*bodies, b"17", *random.sample(bodies, len(bodies) // 10))


def test_killed_runs_mirror_each_key_once_and_fold_the_state_of_the_model(mqtt_sync):
    events: list[Event] = []
    with subprocess.Popen(
        [sys.executable, "-m", "tests.slow.killed_mirrors"],
        cwd=PROJECT_ROOT,
        env=child_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as program:
        runs = KilledRuns(program)
        # Each run is killed over further events; two whole ones end the work.
        for kill in range(KILLS):
            some = [
                event
                for number in range(BATCH_PROJECTS)
                for event in history(kill * 1_000 + number, project_id=f"p{number:03}")
            ]
            runs.random.shuffle(some)
            first = mqtt_sync.arrivals + 1
            some = [each._replace(arrival_id=first + place) for place, each in enumerate(some)]
            received(mqtt_sync, runs.random, some)
            events += some
            runs.run(is_killed=True)
        assert runs.run(is_killed=False)
        assert runs.run(is_killed=False)
        assert program.stdin is not None
        program.stdin.close()
    # Each key is mirrored once, and the state is the model's.
    assert sorted(mqtt_sync.keys()) == sorted(f"k{event.arrival_id}" for event in events)
    of_each: dict[str, list[Event]] = {}
    for event in events:
        of_each.setdefault(event.payload["project_id"], []).append(event)
    rows = [expected_row(each) for _, each in sorted(of_each.items())]
    assert mqtt_sync.rows(mqtt_projects) == [row for row in rows if row is not None]
    assert mqtt_sync.count(mqtt_dead_letters) == KILLS
    with mqtt_sync.warehouse.reading() as connection:
        duplicates = connection.execute(
            select(func.sum(mqtt_seen_keys.c.duplicate_count))
        ).scalar_one()
        lost = connection.execute(
            select(func.count())
            .select_from(mqtt_mirror)
            .where(mqtt_mirror.c.capture_id.not_in(select(captures.c.capture_id)))
        ).scalar_one()
        is_range = work_items.c.topic == "mqtt/mirror"
        states = connection.execute(select(work_items.c.state).where(is_range).distinct())
        assert [*states.scalars()] == ["done"]
    assert duplicates == mqtt_sync.arrivals - len(events) - KILLS
    assert lost == 0
