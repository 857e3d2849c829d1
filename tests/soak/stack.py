"""The real programs of one installation: started, found by what they are, killed, and asked."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from orchestration_project.settings import PROJECT_ROOT
from tests import programs
from tests.soak import scenario

SETTINGS = {
    "DATA_PROFILE": "demo",
    "DOMAINS": "finra,fx",
    "DEMO_ROWS_PER_WEEK": "600",
    "DEMO_REQUESTS_PER_SECOND": "0",
    "DEMO_IDLE_SECONDS": "3600",
    "FINRA_REQUESTS_PER_SECOND": "500",
    "FINRA_LOOKBACK_WEEKS": "7",
    "FINRA_MAX_RUNS_PER_TICK": "40",
    # Dagster takes a thread for stuck that has been silent for half an hour of the calendar.
    "DAGSTER_DAEMON_HEARTBEAT_TOLERANCE": str(10 * 86_400),
    # The calendar is years ahead of the clock of PostgreSQL.
    "CLOCK_SKEW_SECONDS": str(10**9),
}
SCHEDULES = tuple(cron.schedule for cron in scenario.SCHEDULES)
SENSORS = ("finra_on_publication", "finra_on_restatement", "finra_on_landing", "fx_on_rates_daily")
ALERTING = "operations_on_run_end"
"""On from the start."""

OFF = ("operations_checks_hourly",)
"""A run each hour would cost more than all others; it is on in an installation."""

REPOSITORY = (
    'repositoryName: "__repository__", repositoryLocationName: "orchestration_project.definitions"'
)
START = """mutation {{ start{kind}({small}Selector: {{{repository}, {small}Name: "{name}"}}) {{
  __typename ... on PythonError {{ message }} }} }}"""
FIND = """{{ scheduleOrError(scheduleSelector: {{{repository}, scheduleName: "{name}"}}) {{
  ... on Schedule {{ scheduleState {{ id }} }} }} }}"""
STOP = """mutation {{ stopRunningSchedule(id: "{id}") {{ __typename }} }}"""
START_SECONDS = 180

PROGRAMS = {
    "daemon": "orchestration_project.instance.daemon",
    "code server": "orchestration_project.instance.code_server",
    "gateway": "orchestration_project gateway",
    "vendor": "orchestration_demo",
}
"""Modules of the programs that a fault kills, by the names of the faults."""

RUN_WORKER = "run worker"
FORKED = "fork-server"
"""Name of the process that runs are forked from, and of theirs."""


SQLITE_FILES = {
    "DATABASE_URL": ["demo.sqlite"],
    "DAGSTER_DATABASE_URL": ["dagster/history/runs.db", "dagster/schedules/schedules.db"],
}


class Stack:
    """The programs under `orchestrate ui`, which starts again what ends.

    Attributes:
        folder: What belongs to the run of the soak.
        state: STATE_DIR of the programs.
    """

    def __init__(self, folder: Path, hooks: Path, settings: dict[str, str]) -> None:
        self.folder, self.state = folder, folder / "state"
        self.port = programs.free_port()
        self._settings = settings
        self._environment = {
            "PATH": os.defpath,
            "HOME": str(folder),
            "STATE_DIR": str(self.state),
            "PYTHONPATH": str(hooks),
            **SETTINGS,
            **settings,
        }
        self._key_file = folder / "key"
        self._program: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str) -> str:
        """Run a command of the product to its end; return what it printed."""
        line = [sys.executable, "-m", "orchestration_project", *arguments]
        ended = subprocess.run(  # noqa: S603 - the product's own command
            line,
            cwd=PROJECT_ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise AssertionError(
                f"{arguments} ended with {ended.returncode}: {ended.stderr[-2000:]}"
            )
        return ended.stdout

    def start(self) -> None:
        """Start all programs, and wait until the gateway answers."""
        log = self.folder / "ui.log"
        with log.open("ab") as output:
            line = [sys.executable, "-m", "orchestration_project", "ui", "--port", str(self.port)]
            self._program = subprocess.Popen(  # noqa: S603 - the product's own command
                line, cwd=PROJECT_ROOT, env=self._environment, stdout=output, stderr=output
            )
        programs.wait_for(self.is_up, START_SECONDS, poll_seconds=0.5)
        if not self._key_file.exists():
            said = programs.wait_for(lambda: re.search(r"op_[0-9a-f]{12}_\S{43}", log.read_text()))
            self._key_file.write_text(said[0])

    def switch_on(self) -> None:
        """Switch on the schedules and sensors that the judge knows, and none beside them."""
        for kind, names in (("Schedule", SCHEDULES), ("Sensor", SENSORS)):
            for name in names:
                given = {
                    "kind": kind,
                    "small": kind.lower(),
                    "name": name,
                    "repository": REPOSITORY,
                }
                [result] = self.graphql(START.format(**given)).values()
                if result["__typename"].endswith("Error"):
                    raise AssertionError(f"{name} does not start: {result}")
        for name in OFF:
            found = self.graphql(FIND.format(name=name, repository=REPOSITORY))
            self.graphql(STOP.format(id=found["scheduleOrError"]["scheduleState"]["id"]))

    def graphql(self, query: str) -> dict[str, Any]:
        """Return the answer of Dagster's API behind the gateway."""
        return programs.graphql(self.port, query, self._key_file.read_text())

    def is_up(self) -> bool:
        """Return whether the gateway answers."""
        with suppress(OSError):
            self.get("/healthz")
            return True
        return False

    def get(self, path: str) -> bytes:
        """Return what the gateway answers to a path."""
        headers = {"X-API-Key": self._key_file.read_text()} if self._key_file.exists() else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own address
            return answer.read()

    def processes(self, name: str) -> list[psutil.Process]:
        """Return the processes of a program by the name of its fault."""
        found = []
        for process in programs.processes_of(self.state):
            with suppress(psutil.Error):
                line = process.cmdline()
                if _name_of(line) == name:
                    found.append(process)
        return found

    def kill(self, name: str) -> int | None:
        """Kill a process of a program by SIGKILL; return its ID, None if there is none."""
        found = self.run_workers() if name == RUN_WORKER else self.processes(name)
        for process in found:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
                return process.pid
        return None

    def run_workers(self) -> list[psutil.Process]:
        """Return the processes that execute runs: each is a fork of the code server's fork."""
        found = []
        for process in programs.processes_of(self.state):
            with suppress(psutil.Error):
                parent = process.parent()
                if parent and process.name() == parent.name() == FORKED:
                    found.append(process)
        return found

    def stop(self) -> None:
        """End all programs."""
        if self._program:
            self._program.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._program.wait(60)
        programs.kill_all_of(self.state)

    @contextmanager
    def _connection(self, database: str) -> Iterator[Any]:
        if url := self._settings.get(database):
            with psycopg.connect(url) as connection:
                yield connection
            return
        files = SQLITE_FILES[database]
        with closing(sqlite3.connect(self.state / files[0], timeout=30)) as connection:
            for number, file in enumerate(files[1:]):
                connection.execute(f"ATTACH '{self.state / file}' AS more_{number}")
            yield connection

    def rows(self, statement: str, database: str = "DATABASE_URL") -> list[dict[str, Any]]:
        """Return the rows of a statement of the judge's own."""
        with self._connection(database) as connection:
            cursor = connection.execute(statement)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def dagster(self, statement: str) -> list[dict[str, Any]]:
        """Return the rows of a statement on Dagster's database."""
        return self.rows(statement, "DAGSTER_DATABASE_URL")


def _name_of(line: Sequence[str]) -> str:
    text = " ".join(line)
    for name, module in PROGRAMS.items():
        if re.search(rf"-m {re.escape(module)}(\.\w+)?( |$)", text):
            return name
    return text
