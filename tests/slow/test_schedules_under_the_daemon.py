"""Schedules that are data under a real daemon, which is killed: each minute starts one run."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.edits import Action
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.edits import Edit
from orchestration_project.services.schedules.launching import RUN_KEY
from orchestration_project.services.schedules.store import SCHEDULE_STORE
from orchestration_project.tables.operations_edits import (
    operations_schedule_launches as launches,
)
from tests import databases, programs
from tests.slow import hurried_schedules
from tests.slow.test_sensors_under_the_daemon import Daemon

pytestmark = pytest.mark.slow

THREE = datetime(2026, 3, 2, 15, tzinfo=UTC)
MINUTES = [THREE + timedelta(minutes=minute) for minute in range(7)]
FIELDS = {"job": "web_check_sites", "cron": "* * * * *", "catch_up": "all"}


def launched(url: str) -> dict[datetime, tuple[str, str | None]]:
    """Return state and run of each launch, by its due time."""
    columns = launches.c
    found = databases.rows(url, select(columns.due_at, columns.state, columns.run_id))
    return {due: (state, run_id) for due, state, run_id in found}


def test_each_minute_starts_one_run_also_when_the_daemon_is_killed(tmp_path, monkeypatch):
    url = databases.sqlite_url(tmp_path / "state")
    edit = Edit(Action.CREATE, "minutely", "ada", THREE - timedelta(seconds=30), FIELDS)
    daemon = Daemon(tmp_path, workspace=hurried_schedules.__name__)
    with Warehouse(url, clock=Clock()) as warehouse:
        warehouse.prepare(holds="demo")
        SCHEDULE_STORE.apply(warehouse, edit)
    try:
        daemon.start(DEMO_CLOCK_NOW=(THREE + timedelta(seconds=1)).isoformat())
        programs.wait_for(lambda: launched(url), seconds=240)
        daemon.kill()  # before or after Dagster made the run
        daemon.start(DEMO_CLOCK_NOW=(MINUTES[-1] + timedelta(seconds=30)).isoformat())
        programs.wait_for(
            lambda: all(launched(url).get(minute, ("",))[0] == "launched" for minute in MINUTES),
            seconds=240,
        )
    finally:
        daemon.kill()
    found = launched(url)
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    with open_instance() as instance:
        runs = {run.tags[RUN_KEY]: run.run_id for run in instance.get_runs()}
        keys = Counter(run.tags[RUN_KEY] for run in instance.get_runs())
    assert set(keys.values()) == {1}
    for due in MINUTES:
        assert found[due] == ("launched", runs[f"minutely at {due.isoformat()}"])
