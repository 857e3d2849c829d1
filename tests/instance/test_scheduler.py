"""Schedules by the project's dagster.yaml: a tick that fails is retried, and alerts."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.scheduler import DagsterDaemonScheduler
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon import daemon  # noqa: F401 - the scheduler cannot be imported before it
from dagster._scheduler.scheduler import launch_scheduled_runs

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.alerts.watching import poll_runs, start_polling
from tests.alerts import alerts_of, stored_alerts
from tests.expecting import expect_type
from tests.prepared import Prepared

SCHEDULE = """
import dagster as dg
from pathlib import Path

TRIED = Path(__file__).with_name("tried")

@dg.op
def nothing(): pass

@dg.job
def job(): nothing()

@dg.schedule(
    job=job, cron_schedule="5 * * * *", default_status=dg.DefaultScheduleStatus.RUNNING
)
def hourly():
    count = int(TRIED.read_text()) if TRIED.exists() else 0
    TRIED.write_text(str(count + 1))
    if count < 2:
        raise RuntimeError("the database is away")
    return dg.RunRequest()

defs = dg.Definitions(schedules=[hourly])
"""


TYPED = """
import dagster as dg

@dg.op(config_schema={"count": VALUE_TYPE})
def count(): pass

@dg.job
def job(): count()

hourly = dg.ScheduleDefinition(
    name="hourly",
    job=job,
    cron_schedule="5 * * * *",
    run_config={"ops": {"count": {"config": {"count": 1}}}},
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
defs = dg.Definitions(schedules=[hourly])
"""


@contextmanager
def workspace(instance: dg.DagsterInstance, file: Path) -> Iterator[WorkspaceProcessContext]:
    """Load the definitions of a file, as after a reload in the UI."""
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(python_file=str(file)), location_name="hourly"
    )
    with WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as context:
        yield context


def tick(context: WorkspaceProcessContext, at: datetime, seen: dict[str, Any]) -> None:
    """Do at a time what the daemon does with schedules, by the settings of dagster.yaml."""
    scheduler = expect_type(context.instance.scheduler, DagsterDaemonScheduler)
    for _ in launch_scheduled_runs(
        context,
        logging.getLogger(__name__),
        at,
        iteration_times=seen,
        max_catchup_runs=scheduler.max_catchup_runs,
        max_tick_retries=scheduler.max_tick_retries,
    ):
        pass


def test_a_schedule_whose_tick_fails_is_asked_again_each_minute_and_starts_its_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    file = tmp_path / "hourly.py"
    file.write_text(SCHEDULE)
    began = Clock().now()
    due = (began + timedelta(hours=1)).replace(minute=5, second=1)
    with open_instance() as instance, workspace(instance, file) as context:
        seen, counts = {}, []
        for at in (began, *(due + timedelta(minutes=number) for number in range(5))):
            tick(context, at, seen)
            counts.append(instance.get_runs_count())
    assert counts == [0, 0, 0, 1, 1, 1]


@pytest.mark.slow
def test_a_schedule_whose_jobs_configuration_became_invalid_raises_an_alert_until_it_is_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared: Prepared
):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    hour = timedelta(hours=1)
    began = Clock().now()
    due = (began + hour).replace(minute=5, second=1)
    with (
        open_instance() as instance,
        Warehouse(prepared.sqlite(tmp_path / "ours.sqlite"), clock=Clock()) as warehouse,
    ):
        alerts = alerts_of(warehouse, tmp_path)
        progress, stood, counts = start_polling(instance).progress, [], []
        for at, value_type in (
            (began, int),
            (due, int),
            (due + hour, bool),
            (due + hour + timedelta(minutes=1), bool),  # the same tick is retried
            (due + 2 * hour, int),
        ):
            file = tmp_path / f"{value_type.__name__}.py"
            file.write_text(TYPED.replace("VALUE_TYPE", value_type.__name__))
            with workspace(instance, file) as context:
                tick(context, at, {})
            progress = poll_runs(instance, alerts, progress).progress
            stood.append({alert["title"]: alert["state"] for alert in stored_alerts(warehouse)})
            counts.append(instance.get_runs_count())
        raised, _ = stored_alerts(warehouse)
    title = "hourly fails: it starts nothing until this is mended"
    assert counts == [0, 1, 1, 1, 2]
    assert stood[:2] == [{}, {}]
    assert stood[2:4] == [{title: "open"}, {title: "open"}]
    assert stood[4][title] == "recovered"
    assert "Error in config for job" in str(raised["body"])
