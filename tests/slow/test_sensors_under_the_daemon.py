"""The sensors of weekly data under a real daemon: it loads, is derived, reported and restated."""

from collections import Counter
from datetime import datetime

import pytest
from sqlalchemy import select

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly, finra_tier_week
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.tables.spine import landings
from tests import databases, programs
from tests.receivers import http_receiver
from tests.slow import hurried
from tests.slow.states import state

pytestmark = pytest.mark.slow

WORKSPACE = f"""
load_from:
  - python_module:
      module_name: {{module}}
      working_directory: {PROJECT_ROOT}
      location_name: orchestration_project.definitions
"""
RESTATED = "T1|2026-01-12"
PUBLISHED = 11  # weeks from FINRA_FIRST_WEEK on: five of T1, three of each other tier
AFTER_IT = "2026-03-12T15:00:00+00:00"


class Daemon:
    """The daemon over one STATE_DIR, started and killed as a machine would be."""

    def __init__(self, folder, *, workspace: str = hurried.__name__, **environment: str) -> None:
        self.state_dir = folder / "state"
        self._environment = environment
        home = self.state_dir / "dagster"
        home.mkdir(parents=True)
        (home / "dagster.yaml").symlink_to(PROJECT_ROOT / "dagster.yaml")
        self._workspace = folder / "workspace.yaml"
        self._workspace.write_text(WORKSPACE.format(module=workspace))
        self._environment["DAGSTER_HOME"] = str(home)

    def start(self, **environment: str) -> None:
        arguments = ("dagster._daemon", "run", "-w", str(self._workspace))
        self._started = programs.start_unheard(
            self.state_dir, *arguments, **(self._environment | environment)
        )

    def kill(self) -> None:
        programs.kill_all_of(self.state_dir)
        self._started.wait()


def loaded(url: str) -> Counter[str]:
    """Return how many loads of weekly partitions there were for each cause."""
    weekly = landings.c.table_name == finra_otc_weekly.name
    return Counter(
        cause for (cause,) in databases.rows(url, select(landings.c.change_cause).where(weekly))
    )


def is_derived(url: str) -> bool:
    weeks = {week for (week,) in databases.rows(url, select(finra_tier_week.c.week_start))}
    return len(weeks) == 3


def test_a_publication_is_loaded_and_a_restatement_keeps_history(tmp_path):
    url = databases.sqlite_url(tmp_path / "state")
    rules = tmp_path / "alerts.yaml"
    rules.write_text("rules: [{name: one by one, digest_above: 99}]")
    with http_receiver() as hook:
        daemon = Daemon(
            tmp_path,
            FINRA_FIRST_WEEK="2026-01-12",
            ALERT_URLS=f"info={hook.url()}",
            ALERT_RULES=str(rules),
        )
        try:
            with Warehouse(url, clock=Clock()) as warehouse:
                warehouse.prepare(holds="demo")
            daemon.start()
            programs.wait_for(lambda: loaded(url)["first"] == PUBLISHED, seconds=900)
            programs.wait_for(lambda: is_derived(url), seconds=600)
            programs.wait_for(lambda: len(hook.received) >= PUBLISHED, seconds=600)
            daemon.kill()
            before = state(url)
            daemon.start(DEMO_CLOCK_NOW=AFTER_IT)
            programs.wait_for(lambda: loaded(url)["source"], seconds=600)
            programs.wait_for(lambda: f"Restatement: {RESTATED}" in hook.titles, seconds=600)
        finally:
            daemon.kill()
    assert state(url, datetime.fromisoformat(AFTER_IT)).equals(before)
    assert not state(url).equals(before)
