"""When `ui` reports that Dagster's daemon is silent."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from uuid import uuid4

import dagster as dg
import psycopg
import pytest
from dagster_postgres import utils
from psycopg import sql
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError
from starlette.applications import Starlette

from orchestration_project.cli.daemon_watch import (
    SECONDS_BETWEEN_POLLS,
    SECONDS_BETWEEN_REPORTS,
    START_SECONDS,
    DaemonWatch,
    is_silent,
)
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.dagster_private.daemon_state import read_daemon_state
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.health import Readiness, routes
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.dagster_instance import PATIENCE_SECONDS
from orchestration_project.services.probes import build_daemon_probe
from orchestration_project.settings import load_settings
from tests.gateway.login_client import running
from tests.postgres import new_database
from tests.sensors.test_operations import record_daemon_heartbeat


def test_a_silent_daemon_is_reported_after_a_while_and_again():
    now, looks, reports = [0.0], [0], list[float]()
    silent_from, silent_to = 1000.0, 3000.0

    def silent() -> bool:
        looks[0] += 1
        return silent_from <= now[0] < silent_to

    watch = DaemonWatch(silent, lambda: reports.append(now[0]), lambda: now[0])
    for step in range(4000):
        now[0] = float(step)
        watch.poll()
    first = min(time for time in range(1000, 1100) if not (time - PATIENCE_SECONDS) % 30)
    first += SECONDS_BETWEEN_POLLS  # sure in the second look
    assert reports == [first + number * SECONDS_BETWEEN_REPORTS for number in range(4)]
    assert looks[0] == 1 + (3999 - PATIENCE_SECONDS) // SECONDS_BETWEEN_POLLS


def test_a_machine_that_slept_has_not_lost_its_daemon():
    now, reports = [0.0], list[float]()
    watch = DaemonWatch(lambda: 999 < now[0] < 1020, lambda: reports.append(now[0]), lambda: now[0])
    for step in range(2000):
        now[0] = float(step)
        watch.poll()
    assert reports == []


def test_a_daemon_that_was_just_started_is_not_missed():
    reports: list[str] = []
    now = [0.0]
    watch = DaemonWatch(lambda: now[0] < 60, lambda: reports.append("silent"), lambda: now[0])
    for now[0] in range(PATIENCE_SECONDS * 2):
        watch.poll()
    assert reports == []


@contextmanager
def gateway_of(instance: dg.DagsterInstance) -> Iterator[tuple[str, int]]:
    """Serve the readiness of a gateway, which asks for the daemon's heartbeats each time."""
    probe = build_daemon_probe(partial(read_daemon_state, instance), Clock())
    readiness = Readiness([probe], monotonic=count(0, 10).__next__)
    with running(Starlette(routes=routes(readiness))) as port:
        yield "127.0.0.1", port


@pytest.mark.slow
def test_a_daemon_is_silent_until_each_part_sent_a_heartbeat():
    with dg.instance_for_test() as instance, gateway_of(instance) as gateway:
        assert is_silent(*gateway)
        record_daemon_heartbeat(instance)
        assert not is_silent(*gateway)
        record_daemon_heartbeat(instance, seconds_ago=2 * PATIENCE_SECONDS)
        assert is_silent(*gateway)
    assert is_silent(*gateway)  # as the gateway does not answer
    assert START_SECONDS == PATIENCE_SECONDS


def test_a_storage_that_cannot_be_asked_counts_as_a_silent_daemon():
    with dg.instance_for_test() as instance, gateway_of(instance) as gateway:
        storage = instance.run_storage
        with storage.connect() as connection:  # pyright: ignore[reportAttributeAccessIssue] - SQL
            connection.execute(text("DROP TABLE daemon_heartbeats"))
        with pytest.raises(OperationalError):
            instance.get_daemon_heartbeats()
        assert is_silent(*gateway)


@pytest.fixture
def without_storage(postgres_server, tmp_path, monkeypatch):
    """The instance whose PostgreSQL has lost its database."""
    url = new_database(postgres_server, f"lost_{uuid4().hex}")
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    monkeypatch.setenv("DAGSTER_DATABASE_URL", url)
    monkeypatch.setattr(utils, "calculate_delay", lambda **_: 0)
    with open_instance() as instance:
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            name = sql.Identifier(str(make_url(url).database))
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
        yield instance


def test_a_daemon_is_unseen_while_its_storage_is_unreachable(without_storage):
    with gateway_of(without_storage) as gateway:
        assert is_silent(*gateway)


def test_an_unreachable_storage_is_reported_without_a_traceback(without_storage):
    with (
        pytest.raises(ConfigurationError, match="Dagster could not write") as refused,
        full_disk_explained(load_settings()),
    ):
        without_storage.get_runs()
    assert "lost_" in refused.value.found
    assert "does not exist" in refused.value.found
    assert refused.value.remedy.startswith("see that the database runs and answers")
