"""Schedules by the project's dagster.yaml: a tick that fails is tried again."""

import logging
from datetime import timedelta
from pathlib import Path

import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.scheduler import DagsterDaemonScheduler
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon import daemon  # noqa: F401 - the scheduler cannot be imported before it
from dagster._scheduler.scheduler import launch_scheduled_runs

from orchestration_project.instance.storage import open_instance
from orchestration_project.resources.clock import Clock

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


def test_a_schedule_whose_tick_fails_is_asked_again_each_minute_and_starts_its_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    file = tmp_path / "hourly.py"
    file.write_text(SCHEDULE)
    began = Clock().now()
    due = (began + timedelta(hours=1)).replace(minute=5, second=1)
    origin = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(python_file=str(file)), location_name="hourly"
    )
    with (
        open_instance() as instance,
        WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as context,
    ):
        scheduler = instance.scheduler
        assert isinstance(scheduler, DagsterDaemonScheduler)
        seen, counts = {}, []
        for at in (began, *(due + timedelta(minutes=number) for number in range(5))):
            for _ in launch_scheduled_runs(
                context,
                logging.getLogger(__name__),
                at,
                iteration_times=seen,
                max_catchup_runs=scheduler.max_catchup_runs,
                max_tick_retries=scheduler.max_tick_retries,
            ):
                pass
            counts.append(instance.get_runs_count())
    assert counts == [0, 0, 0, 1, 1, 1]
