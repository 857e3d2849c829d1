"""When `ui` has it told that Dagster's daemon is silent."""

import dagster as dg
import pytest
from dagster._daemon.types import DaemonHeartbeat
from sqlalchemy.exc import OperationalError

from orchestration_project.cli.daemon_watch import (
    SECONDS_BETWEEN_LOOKS,
    SECONDS_BETWEEN_TELLINGS,
    DaemonWatch,
    is_silent,
)
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.daemon import PATIENCE_SECONDS
from tests.sensors.test_operations import add_sensor


def test_a_silent_daemon_is_told_after_a_while_and_again_while_it_is_silent():
    now, looks, told = [0.0], [0], list[float]()
    silent_from, silent_to = 1000.0, 3000.0

    def silent() -> bool:
        looks[0] += 1
        return silent_from <= now[0] < silent_to

    watch = DaemonWatch(silent, lambda: told.append(now[0]), lambda: now[0])
    for step in range(4000):
        now[0] = float(step)
        watch.look()
    first = min(time for time in range(1000, 1100) if not (time - PATIENCE_SECONDS) % 30)
    assert told == [first + number * SECONDS_BETWEEN_TELLINGS for number in range(4)]
    assert looks[0] == 1 + (3999 - PATIENCE_SECONDS) // SECONDS_BETWEEN_LOOKS


def test_a_daemon_that_was_just_started_is_not_missed():
    told: list[str] = []
    now = [0.0]
    watch = DaemonWatch(lambda: now[0] < 60, lambda: told.append("silent"), lambda: now[0])
    for now[0] in range(PATIENCE_SECONDS * 2):
        watch.look()
    assert told == []


def test_a_daemon_is_silent_once_something_waits_for_it_or_when_nobody_can_tell():
    with dg.instance_for_test() as instance:
        assert not is_silent(instance)
        add_sensor(instance, "on_arrival")
        assert is_silent(instance)
        for name in instance.get_required_daemon_types():
            now = Clock().now().timestamp()
            instance.add_daemon_heartbeat(DaemonHeartbeat(now, name, "one", errors=[]))
        assert not is_silent(instance)


@pytest.mark.parametrize("lost", ["daemon_heartbeats"])
def test_a_storage_that_cannot_be_asked_counts_as_a_silent_daemon(lost: str):
    from sqlalchemy import text

    with dg.instance_for_test() as instance:
        storage = instance.run_storage
        with storage.connect() as connection:  # pyright: ignore[reportAttributeAccessIssue] - SQL
            connection.execute(text(f"DROP TABLE {lost}"))
        with pytest.raises(OperationalError):
            instance.get_daemon_heartbeats()
        assert is_silent(instance)
