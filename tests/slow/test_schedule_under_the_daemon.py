"""The schedule as the daemon ticks it: real processes, real time."""

import socket

import pytest

from orchestration_project.settings import PROJECT_ROOT
from tests import programs

pytestmark = pytest.mark.slow

WORKSPACE = f"""
load_from:
  - python_module:
      module_name: tests.slow.every_minute
      working_directory: {PROJECT_ROOT}
      location_name: orchestration_project.definitions
"""
TICKS = """{scheduleOrError(scheduleSelector: {
  repositoryLocationName: "orchestration_project.definitions", repositoryName: "__repository__",
  scheduleName: "finra_otc_weekly_mondays"})
  {... on Schedule {scheduleState {ticks {skipReason}}}}}"""
BACKFILLS = """{partitionBackfillsOrError {... on PartitionBackfills {
  results {status numPartitions runs {status tags {key value}}}}}}"""


@pytest.fixture
def port(tmp_path):
    """The port of a web server beside a daemon, both over the schedule that is due every minute."""
    state_dir = tmp_path / "state"
    home = state_dir / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").symlink_to(PROJECT_ROOT / "dagster.yaml")
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text(WORKSPACE)
    environment = {"DAGSTER_HOME": str(home), "FINRA_LOOKBACK_WEEKS": "2"}
    free = programs.free_port()
    started = [
        programs.start(state_dir, *service, "-w", str(workspace), **environment)
        for service in (("dagster._daemon", "run"), ("dagster_webserver", "-p", str(free)))
    ]
    yield free
    programs.kill_all_of(state_dir)
    for service in started:
        service.communicate()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def said(port: int) -> list[str]:
    """Return what the ticks said, oldest first."""
    found = programs.graphql(port, TICKS)["scheduleOrError"]  # empty while the location loads
    ticks = found.get("scheduleState", {"ticks": []})["ticks"]
    return [tick["skipReason"] for tick in reversed(ticks) if tick["skipReason"]]


def backfills(port: int) -> list[dict]:
    return programs.graphql(port, BACKFILLS)["partitionBackfillsOrError"]["results"]


def test_a_tick_launches_the_backfill_and_once_that_is_done_a_later_tick_launches_nothing(port):
    programs.wait_for(lambda: answers(port) and said(port), seconds=120)
    assert said(port)[0].startswith("Launched the backfill")
    programs.wait_for(
        lambda: backfills(port)[0]["status"] not in ("REQUESTED", "CANCELING"), seconds=180
    )
    (backfill,) = backfills(port)
    assert backfill["status"] == "COMPLETED_SUCCESS"
    assert backfill["numPartitions"] == 6
    ranges = {
        tag["value"]
        for run in backfill["runs"]
        for tag in run["tags"]
        if tag["key"] == "dagster/asset_partition_range_start"
    }
    assert ranges == {"T1|2026-02-02", "T2|2026-01-19", "OTCE|2026-01-19"}
    last = programs.wait_for(
        lambda: next((text for text in said(port) if text.startswith("Nothing to do")), None),
        seconds=150,
    )
    assert last.startswith("Nothing to do: all 6 partitions")
    assert len(backfills(port)) == 1
