"""Alerts of a deployment: each is raised once, by what it reports, and recovers with it."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, insert, select, update

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.services.alerts.watching import poll_runs, start_polling
from orchestration_project.services.hosts import FORGOTTEN_AFTER, record_heartbeat
from orchestration_project.services.probes import open_alerts
from orchestration_project.settings import load_settings
from orchestration_project.tables.operations_alerts import operations_alerts
from orchestration_project.tables.operations_deployment import operations_backups, operations_hosts
from tests.resources.test_deployment import DAY, MINUTE, backup, heartbeat
from tests.tls import make_certificate


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path, prepared, monkeypatch):
    """The database of the settings, at its real time."""
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    path = tmp_path / "warehouse.sqlite"
    url = prepared.sqlite(path) if request.param == "sqlite" else prepared.postgresql()
    monkeypatch.setenv("DATABASE_URL", url)
    with open_warehouse(load_settings()) as opened:
        yield opened


@pytest.fixture
def watch(database, kept_instance):
    """Look as the sensor does, three times; return the alerts by kind and state."""
    progress = start_polling(kept_instance).progress

    def watched() -> list[tuple[str, str]]:
        nonlocal progress
        for _ in range(3):
            progress = poll_runs(kept_instance, open_alerts(load_settings()), progress).progress
        with database.reading() as connection:
            columns = operations_alerts.c.kind, operations_alerts.c.state
            found = connection.execute(select(*columns).order_by(operations_alerts.c.raised_at))
            return [tuple(row) for row in found]

    return watched


def write(database, *statements):
    with database.writing() as connection:
        for statement in statements:
            connection.execute(statement)


def recovered(kind: str) -> list[tuple[str, str]]:
    return [(kind, "recovered"), ("recovered", "told")]


@pytest.mark.slow
def test_each_silent_host_has_an_alert_of_its_own(database, watch):
    now = Clock().now()
    record_heartbeat(database, heartbeat("one", "gateway", now - 4 * MINUTE))
    record_heartbeat(database, heartbeat("two", "worker", now))
    assert watch() == [("host_silent", "open")]
    record_heartbeat(database, heartbeat("two", "worker", now - 5 * MINUTE))
    assert watch() == [("host_silent", "open")] * 2
    record_heartbeat(database, heartbeat("one", "gateway", Clock().now()))
    assert sorted(watch()) == sorted([("host_silent", "open"), *recovered("host_silent")])
    forgotten = now - FORGOTTEN_AFTER - MINUTE
    write(database, update(operations_hosts).values(last_seen_at=forgotten))
    assert sorted(watch()) == sorted(recovered("host_silent") * 2)


@pytest.mark.slow
def test_two_releases_are_reported_after_the_time_of_an_upgrade(database, watch):
    now = Clock().now()
    old = heartbeat("one", "gateway", now, started_at=now - DAY)
    new = heartbeat("two", "worker", now, release="1.1.0", started_at=now - 10 * MINUTE)
    for row in (old, new):
        record_heartbeat(database, row)
    assert watch() == []
    record_heartbeat(database, new | {"started_at": now - 20 * MINUTE})
    assert watch() == [("two_releases", "open")]
    record_heartbeat(database, old | {"release": "1.1.0"})
    assert watch() == recovered("two_releases")


@pytest.mark.slow_on_postgresql
def test_a_backup_older_than_a_day_is_reported_until_there_is_a_new_one(database, watch):
    now = Clock().now()
    write(database, insert(operations_backups).values(backup("a", now - 25 * timedelta(hours=1))))
    assert watch() == [("backup_old", "open")]
    write(database, insert(operations_backups).values(backup("b", now)))
    assert watch() == recovered("backup_old")


@pytest.mark.slow
def test_a_restore_that_was_never_tried_is_reported_until_one_is(database, watch):
    now = Clock().now()
    for name, at in (("a", now - 8 * DAY), ("b", now)):
        write(database, insert(operations_backups).values(backup(name, at)))
    assert watch() == [("restore_untried", "open")]
    write(database, update(operations_backups).values(verified_at=now))
    assert watch() == recovered("restore_untried")
    write(database, delete(operations_backups))
    assert watch() == recovered("restore_untried")


@pytest.mark.slow
def test_a_certificate_that_expires_within_14_days_is_reported(watch, tmp_path, monkeypatch):
    monkeypatch.setenv("PUBLIC_URL", "https://localhost")
    _, file = make_certificate(tmp_path / "soon", valid=13 * DAY)
    monkeypatch.setenv("PUBLIC_CERTIFICATE_FILE", str(file))
    assert watch() == [("certificate_expiring", "open")]
    _, file = make_certificate(tmp_path / "later", valid=15 * DAY)
    monkeypatch.setenv("PUBLIC_CERTIFICATE_FILE", str(file))
    assert watch() == recovered("certificate_expiring")
