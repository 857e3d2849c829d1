"""The API's process killed within commands: each is done whole or not at all, and once.

MQTT_KILLS=200 kills on each database two hundred times, which takes two minutes.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Table, select

from orchestration_project.domains.mqtt.tables import mqtt_mirror, mqtt_projects, mqtt_seen_keys
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.mqtt.folding import fold_again, lock_fold
from orchestration_project.services.inventory import take_inventory
from orchestration_project.settings import PROJECT_ROOT, child_environment
from orchestration_project.tables.spine import outbox
from tests.prepared import Prepared
from tests.programs import kill_after
from tests.slow.killed_commands import LIFE, PROJECTS, command

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("MQTT_KILLS", "8"))  # noqa: TID251 - of the test alone
MAX_ANSWERS = 2
"""Commands of one process that are answered before the one within which it is killed."""


class Sender:
    """Has commands sent by a process, and kills it within one.

    A kill is timed by the duration of earlier commands, which a busy machine makes many times
    longer.
    """

    def __init__(self, lines: "subprocess.Popen[str]") -> None:
        self._lines = lines
        self.done = -1
        """The last command that was answered."""
        self._seconds = 0.0
        """The duration of the slowest command."""

    def kill_within_and_check(self, answers: int, share: float) -> None:
        """Have commands sent after the last answered one, and kill the sender.

        Args:
            answers: Commands that are answered first.
            share: When within the next one, as a share of the duration of the slowest.
        """
        assert self._lines.stdin is not None
        assert self._lines.stdout is not None
        self._lines.stdin.write(f"{self.done + 1}\n")
        self._lines.stdin.flush()
        process = int(self._lines.stdout.readline())
        begun, since = -1, monotonic()
        while (line := self._lines.stdout.readline().strip()) != "ended":
            assert line, "the process that forks has ended"
            if line != "-1":
                self.done = int(line)
                self._seconds = max(self._seconds, monotonic() - since)
            begun, since = begun + 1, monotonic()
            if begun == answers:
                kill_after(process, share * self._seconds)


@contextmanager
def sending(url: str, folder: Path) -> Iterator[Sender]:
    """Start the process that forks senders."""
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "tests.slow.killed_commands", url, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT_ROOT,
        env=child_environment(),
    )
    try:
        yield Sender(process)
    finally:
        process.kill()
        process.communicate()


def rows(warehouse: Warehouse, table: Table) -> list[dict[str, Any]]:
    """Return the rows of a table by its key."""
    with warehouse.reading() as connection:
        wanted = select(table).order_by(*table.primary_key.columns)
        return [dict(row) for row in connection.execute(wanted).mappings()]


def expected_projects(count: int) -> dict[str, tuple[str, int]]:
    """Return name and number of events of each project after so many commands."""
    found: dict[str, tuple[str, int]] = {}
    for number in range(count):
        each = command(number)
        entity_id, step = str(each.entity_id), number // PROJECTS % len(LIFE)
        if each.operation == "deleted":
            del found[entity_id]
        else:
            found[entity_id] = (each.fields["name"], step + 1)
    return found


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_commands_are_whole_and_once_whenever_their_process_is_killed(
    database: str, prepared: Prepared, tmp_path: Path
):
    random = Random(database)  # noqa: S311 - a seed
    url = (
        prepared.sqlite(tmp_path / "tables.sqlite")
        if database == "sqlite"
        else prepared.postgresql()
    )
    folder = tmp_path / "store"
    folder.mkdir()
    with Warehouse(url, clock=Clock()) as warehouse, sending(url, folder) as sender:
        warehouse.prepare(holds="demo")
        projects: list[dict[str, Any]] = []
        for kill in range(KILLS + 1):
            answers = random.randint(0, MAX_ANSWERS) if kill else 1  # the first is only measured
            sender.kill_within_and_check(answers, random.uniform(0.0, 1.0))
            mirrored = rows(warehouse, mqtt_mirror)
            assert len(mirrored) - 1 in (sender.done, sender.done + 1)
            keys = {row["idempotency_key"] for row in mirrored}
            assert {row["idempotency_key"] for row in rows(warehouse, mqtt_seen_keys)} == keys
            waiting = [json.loads(row["payload"]) for row in rows(warehouse, outbox)]
            published = [json.loads(each["message"])["idempotency_key"] for each in waiting]
            assert sorted(published) == sorted(keys)
            arrivals = sorted(row["arrival_id"] for row in mirrored)
            assert arrivals == list(range(1, len(arrivals) + 1))
            projects = rows(warehouse, mqtt_projects)
            assert {
                row["project_id"]: (row["name"], row["event_count"]) for row in projects
            } == expected_projects(len(mirrored))
        assert sender.done > 0
        with warehouse.writing() as connection:
            lock_fold(connection)
            fold_again(connection, "project")
        assert rows(warehouse, mqtt_projects) == projects
        found = take_inventory(warehouse, FolderStore(folder), read_all=True)
        assert (found.found.missing, found.found.resized, found.changed) == ([], [], [])
