"""Programs of `ui`, as operators meet them: started, asked for a backfill, and killed by parts."""

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import func, select

from orchestration_project.assets.finra import SPECS
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.tables.spine import landings
from tests import databases, programs

ASSETS = [{"path": list(spec.key.path)} for spec in SPECS]
LOCATIONS = """{workspaceOrError {... on Workspace {locationEntries {
  locationOrLoadError {__typename}}}}}"""
LAUNCH = """mutation {{launchPartitionBackfill(backfillParams: {{
  partitionNames: {partitions}, assetSelection: {assets}}})
  {{__typename ... on LaunchBackfillSuccess {{backfillId}}}}}}"""
START = """mutation {{startSensor(sensorSelector: {{repositoryName: "__repository__",
  repositoryLocationName: "orchestration_project.definitions", sensorName: "{sensor}"}})
  {{__typename}}}}"""
TICKS = """{{sensorOrError(sensorSelector: {{repositoryName: "__repository__",
  repositoryLocationName: "orchestration_project.definitions", sensorName: "{sensor}"}})
  {{... on Sensor {{sensorState {{ticks {{status}}}}}}}}}}"""
STATUSES = "{runsOrError {... on Runs {results {runId status}}}}"
BACKFILLS = "{partitionBackfillsOrError {... on PartitionBackfills {results {status}}}}"
RUNS = """{runsOrError {... on Runs {results {status eventConnection {events {
  __typename ... on RunFailureEvent {message}}}}}}}"""

RUN_WORKER = "the run worker"

PARTS = {
    RUN_WORKER: "fork-server",
    "the daemon": "orchestration_project.instance.daemon",
    "the code server": "code-server",
    "the code server's own child": "api grpc",
    "the web server": "orchestration_project gateway",
    "the whole process tree": "",
}
"""Processes that can be killed, and a part of their names and command lines."""


class Stack:
    """The `ui` command over one STATE_DIR, which may be started again and again."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.state_dir = folder / "state"
        self.output = folder / "ui.log"
        self.port = programs.free_port()
        self.environment = environment
        self.starts = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it and wait until it has loaded the definitions."""
        self.starts += 1
        self._process = programs.start_into(
            self.output,
            self.state_dir,
            *("orchestration_project", "ui", "--port", str(self.port)),
            **self.environment,
        )
        programs.wait_for(self._is_ready, seconds=180)

    @property
    def is_up(self) -> bool:
        """Whether `ui` itself still runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def said(self) -> str:
        """Output of `ui` itself, all starts together."""
        return self.output.read_text()

    @property
    def key(self) -> str:
        """The key that it said at its first start."""
        return programs.key_in(self.said)

    def _is_ready(self) -> bool:
        if not self.is_up:
            raise RuntimeError("ui ended while it started")
        if "op_" not in self.said:
            return False
        found = self._asked(LOCATIONS).get("workspaceOrError", {}).get("locationEntries", [])
        loaded = [entry["locationOrLoadError"] or {} for entry in found]
        return [location.get("__typename") for location in loaded] == ["RepositoryLocation"]

    def _asked(self, query: str) -> dict[str, Any]:
        """Return the answer, empty while there is none."""
        try:
            return programs.graphql(self.port, query, self.key) or {}
        except (OSError, ValueError):
            return {}

    def backfill_without_failure(self, partitions: Iterable[str]) -> None:
        """Launch a backfill, as the page of an asset does."""
        assets = re.sub(r'"path"', "path", json.dumps(ASSETS))
        query = LAUNCH.format(partitions=json.dumps(list(partitions)), assets=assets)
        answer = programs.graphql(self.port, query, self.key)["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer

    def switch_on_without_failure(self, *sensors: str) -> None:
        """Switch sensors on, as the page Automation does, and wait for the first tick of each."""
        for sensor in sensors:
            answer = programs.graphql(self.port, START.format(sensor=sensor), self.key)[
                "startSensor"
            ]
            assert answer["__typename"] == "Sensor", answer
        programs.wait_for(lambda: all(map(self._has_ticked, sensors)), seconds=900)

    def _has_ticked(self, sensor: str) -> bool:
        found = self._asked(TICKS.format(sensor=sensor)).get("sensorOrError", {})
        ticks = found.get("sensorState", {}).get("ticks", [])
        return any(tick["status"] in ("SUCCESS", "SKIPPED") for tick in ticks)

    def statuses(self) -> dict[str, str]:
        """Return the status of every run, by its id."""
        found = self._asked(STATUSES).get("runsOrError", {}).get("results", [])
        return {entry["runId"]: entry["status"] for entry in found}

    def backfill_states(self) -> list[str]:
        found = self._asked(BACKFILLS).get("partitionBackfillsOrError", {})
        return [result["status"] for result in found.get("results", [])]

    def runs(self) -> list[tuple[str, str]]:
        """Return the status of every run, and what its failure says, the newest first."""
        found = self._asked(RUNS).get("runsOrError", {}).get("results", [])
        return [
            (entry["status"], _failure_in(entry["eventConnection"]["events"])) for entry in found
        ]

    def processes(self, part: str) -> list[psutil.Process]:
        """Return the processes of a part: those that do not descend from another of them.

        Run workers do: they are forks of a process that has loaded the code, and look like it.
        """
        words = PARTS[part]
        found = [
            process
            for process in programs.processes_of(self.state_dir)
            if words in " ".join(_command(process))
        ]
        parents, is_fork = {process.pid for process in found}, part == RUN_WORKER
        return [process for process in found if (process.ppid() in parents) == is_fork]

    def kill(self, part: str) -> None:
        """Kill -9 a part; of the tree, every process at once."""
        if not PARTS[part]:
            return self.kill_all()
        found = self.processes(part)
        if not found:
            raise RuntimeError(f"{part} does not run")
        for process in found:
            process.kill()
        return None

    def kill_all(self) -> None:
        """Kill every process of this STATE_DIR, the demo's server too, as a power cut does."""
        for process in programs.processes_of(self.state_dir):
            process.kill()
        if self._process:
            self._process.wait()

    def wait_for_its_end(self) -> None:
        """Wait until `ui` has ended by itself, and all that it had started."""
        programs.wait_for(lambda: not self.is_up, seconds=90)


def _failure_in(events: Iterable[Mapping[str, str]]) -> str:
    return " ".join(event["message"] for event in events if event.get("message"))


def _command(process: psutil.Process) -> list[str]:
    """Return name and command line; those of a fork are of the process that it is a fork of."""
    try:
        name, words = process.name(), process.cmdline()
        return [name] if name == PARTS[RUN_WORKER] else words
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def count_loads(url: str) -> int:
    """Return how many loads there are, 0 before there are tables."""
    if not databases.has_table(url, landings.name):
        return 0
    return databases.rows(url, select(func.count()).select_from(landings))[0][0]


def weeks_of(url: str) -> databases.Rows:
    """Return what is published: each tier and week, and its number of rows."""
    weekly = finra_otc_weekly.c
    counted = select(weekly.tier, weekly.week_start, func.count())
    return databases.rows(url, counted.group_by(weekly.tier, weekly.week_start))
