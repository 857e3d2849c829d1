"""A year of the demo's weeks, as it goes by: published, restated, derived, reported.

The test ticks the sensors with a clock that is set two weeks on each time, so that a year takes
minutes. What was in the table after each look is compared with what as-of answers at the end.
"""

import shutil
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from sqlalchemy import select

from orchestration_project.definitions import defs
from orchestration_project.domains.finra.tables.weekly import finra_tier_week
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.sensors.finra import (
    finra_on_landing,
    finra_on_publication,
    finra_on_restatement,
)
from orchestration_project.sensors.operations import operations_on_run_end
from orchestration_project.settings import load_settings
from orchestration_project.tables.operations_alerts import operations_alerts
from orchestration_project.tables.spine import landings
from tests import databases
from tests.receivers import http_receiver
from tests.resources.definitions import RESOURCES
from tests.slow.states import state

pytestmark = pytest.mark.slow

FIRST_LOOK = datetime(2025, 6, 3, 15, tzinfo=UTC)
LAST_LOOK = datetime(2026, 3, 3, 15, tzinfo=UTC)
BETWEEN_LOOKS = timedelta(days=13)  # so that the looks fall on all days of the week
LOADING = (finra_on_publication, finra_on_restatement)


@dataclass
class Daemon:
    """Ticks sensors and runs what they request, until a round brings nothing new."""

    instance: dg.DagsterInstance
    cursors: dict[str, str] = field(default_factory=dict)

    def tick(self, sensor: dg.SensorDefinition) -> int:
        """Tick a sensor, run what it requests, and return how many runs that were."""
        with dg.build_resources(RESOURCES, self.instance) as made:
            wanted = sensor.required_resource_keys
            context = dg.build_sensor_context(
                instance=self.instance,
                cursor=self.cursors.get(sensor.name),
                resources={
                    name: resource for name, resource in made._asdict().items() if name in wanted
                },
            )
            result = sensor(context)
        cursor = result.cursor if isinstance(result, dg.SensorResult) else context.cursor
        if cursor is not None:
            self.cursors[sensor.name] = cursor
        requests = list(result.run_requests or []) if isinstance(result, dg.SensorResult) else []
        for request in requests:
            self._run(sensor, request)
        return len(requests)

    def _run(self, sensor: dg.SensorDefinition, request: dg.RunRequest) -> None:
        tags = {**request.tags, "dagster/run_key": str(request.run_key)}
        if request.partition_key is not None:
            tags["dagster/partition"] = request.partition_key
        job = defs.resolve_job_def(str(request.job_name or sensor.job_name))
        job.execute_in_process(instance=self.instance, tags=tags, raise_on_error=False)

    def until_quiet(self) -> None:
        """Tick all sensors over and over, as the daemon does, until none requests a run."""
        while sum(self.tick(sensor) for sensor in (*LOADING, finra_on_landing)):
            self.tick(operations_on_run_end)
        self.tick(operations_on_run_end)


@pytest.fixture
def year(demo_settings, monkeypatch, tmp_path):
    """Sizes and names of what happened; the clock stands at the end of the year."""
    shutil.rmtree(demo_settings.state_path / "demo")  # its faults are to lie by the first look
    rules = tmp_path / "alerts.yaml"
    rules.write_text("rules: [{name: one by one, digest_above: 999}]")
    monkeypatch.setenv("ALERT_RULES", str(rules))
    monkeypatch.setenv("DEMO_ROWS_PER_WEEK", "600")
    monkeypatch.setenv("DEMO_IDLE_SECONDS", "30")
    with dg.instance_for_test() as instance, http_receiver() as hook:
        monkeypatch.setenv("ALERT_URLS", f"info={hook.url()}")
        daemon, snapshots = Daemon(instance), {}
        url = databases.sqlite_url(demo_settings.state_path)
        daemon.tick(operations_on_run_end)
        day = FIRST_LOOK
        while day <= LAST_LOOK:
            monkeypatch.setenv("DEMO_CLOCK_NOW", day.isoformat())
            daemon.until_quiet()
            snapshots[day + timedelta(hours=12)] = state(url)
            day += BETWEEN_LOOKS
        for _ in range(10):  # a tick sends ten
            daemon.tick(operations_on_run_end)
        yield snapshots, hook


def test_as_of_answers_for_every_week_of_a_year_what_was_loaded_then(year, demo_settings):
    snapshots, hook = year
    url = databases.sqlite_url(demo_settings.state_path)
    for at, loaded in snapshots.items():
        assert state(url, at).equals(loaded), f"as of {at}"
    with open_warehouse(load_settings()) as warehouse:
        loaded = warehouse.frame(select(landings), landings)
        complete = warehouse.frame(select(finra_tier_week), finra_tier_week)["week_start"]
        alerts = warehouse.frame(select(operations_alerts), operations_alerts)
    causes = Counter(loaded["change_cause"])
    assert causes["first"] == loaded["partition_key"].n_unique()
    assert causes["source"] >= 5
    assert causes["metadata"] >= 1
    assert len(set(complete)) >= 40
    assert Counter(alerts["kind"])["landed"] == causes["first"]
    assert len(hook.received) == len(alerts)
