"""Alerts when much goes wrong: a daemon that hangs or exits, a thousand failures at once."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster import DagsterRunStatus as Status
from sqlalchemy import select

from orchestration_project.tables.operations_alerts import operations_alert_deliveries
from tests import databases, programs
from tests.expecting import expect_present
from tests.receivers import Hook, http_receiver
from tests.sensors.test_operations import Watch, url  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow


def start_ui_without_failure(state_dir, hook: Hook, **environment: str):
    port = programs.free_port()
    arguments = ("orchestration_project", "--quiet", "ui", "--port", str(port))
    process = programs.start(state_dir, *arguments, ALERT_URLS=hook.url(), **environment)
    assert expect_present(process.stdout).readline().startswith("Dagster UI: ")
    return process


@contextmanager
def ended_at_last(state_dir: Path) -> Iterator[None]:
    """End what a failing test leaves."""
    try:
        yield
    finally:
        programs.kill_all_of(state_dir)


def daemon_of(process) -> psutil.Process:
    alive = [
        child
        for child in psutil.Process(process.pid).children()
        if child.status() != psutil.STATUS_ZOMBIE
    ]
    return next(each for each in alive if "orchestration_project.instance.daemon" in each.cmdline())


def test_the_ui_reports_a_hung_or_ended_daemon_and_its_recovery(tmp_path):
    with http_receiver() as hook, ended_at_last(tmp_path / "state"):
        first = start_ui_without_failure(tmp_path / "state", hook, PROGRAM_MAX_ENDS="1")
        time.sleep(60)  # its sensors have looked once
        daemon_of(first).send_signal(signal.SIGSTOP)
        programs.wait_for(lambda: hook.titles, seconds=400)
        assert hook.titles == ["Dagster's daemon does not run"]
        daemon_of(first).send_signal(signal.SIGCONT)
        programs.wait_for(lambda: len(hook.titles) > 1, seconds=200)
        assert hook.titles[1] == "Recovered: Dagster's daemon does not run"
        daemon_of(first).kill()
        _, error = first.communicate(timeout=120)
        assert error.startswith("daemon ended by itself with status -9; all is stopped\n")
        assert hook.titles[2:] == ["Dagster's daemon ended"]
        second = start_ui_without_failure(tmp_path / "state", hook)
        programs.wait_for(lambda: len(hook.titles) > 3, seconds=200)
        assert hook.titles[3:] == ["Recovered: Dagster's daemon ended"]
        second.send_signal(signal.SIGTERM)
        second.communicate(timeout=120)


def test_a_thousand_failures_in_a_minute_are_one_message(
    url,  # noqa: F811 - the fixture
    monkeypatch,
    tmp_path,
):
    at_once = {
        "module": "dagster._core.storage.event_log",
        "class": "ConsolidatedSqliteEventLogStorage",  # one file for all runs
        "config": {"base_dir": str(tmp_path)},
    }
    with (
        http_receiver() as hook,
        dg.instance_for_test(overrides={"event_log_storage": at_once}) as instance,
    ):
        monkeypatch.setenv("ALERT_URLS", hook.url())
        watch = Watch(instance, url)
        for number in range(1000):
            run = dg.DagsterRun(
                f"shop_{number % 7}", status=Status.STARTED, tags={"dagster/partition": str(number)}
            )
            instance.add_run(run)
            instance.report_run_failed(run, "no host")
        begun, looks = time.monotonic(), 0
        while "Evaluated 0 ended runs." not in watch.tick_and_expect_skip():
            watch.deliver()
            looks += 1
        print(f"{looks} looks in {time.monotonic() - begun:.1f} s")  # noqa: T201 - a measurement
        assert hook.titles == []
        monkeypatch.setenv("DEMO_CLOCK_NOW", programs.from_then_on("2026-03-02T16:00"))
        watch.tick_and_expect_skip()  # the tick that ended the loop sent before that time
        assert watch.deliver() == "Sent 1000 alerts; still waiting: none."
        assert hook.titles == ["1000 alerts at once: 1000 job_failed"]
        d = operations_alert_deliveries.c
        rows = databases.rows(url, select(d.state, d.digest_count))
        assert Counter(map(tuple, rows)) == {("delivered", 1000): 1000}
