"""Real processes for tests: started at the root with a clean environment, and found again."""

import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import SystemRandom
from typing import IO, Any

import psutil

from orchestration_project.settings import PROJECT_ROOT

DEMO = {
    "DOMAINS": "all",
    "FINRA_DATASETS": "all",
    "DEMO_CLOCK_NOW": "2026-03-02T15:00:00+00:00",
    "FINRA_FIRST_WEEK": "2025-03-03",  # a year before
    "DEMO_ROWS_PER_WEEK": "6000",
    "DEMO_REQUESTS_PER_SECOND": "0",
    "DEMO_IDLE_SECONDS": "60",
    "FINRA_REQUESTS_PER_SECOND": "500",
}
"""A small, quick demo source on a day that stays the same: a Monday on which FINRA publishes."""


PORTS = range(12_000, 32_000)
HANGING = (sys.executable, "-c", "import time; time.sleep(600)")
"""The command of a program that does nothing until it is killed."""

PATIENCE_SECONDS = 240
"""Time after which a program of a test counts as stuck; a busy machine takes a quarter of that."""

STARTS = count(1)  # 0 is the clock that all tests share


def from_then_on(minute: str) -> str:
    """Return a DEMO_CLOCK_NOW at ``minute``, such as 2026-03-02T15:00, that no other test has used.

    A process keeps one clock for each; one of an earlier test would have gone on meanwhile.
    """
    return f"{minute}:00.{next(STARTS):06d}+00:00"


def start(state_dir: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start ``python -m arguments`` as in a new shell that knows STATE_DIR and the small demo."""
    return _started(state_dir, arguments, environment, subprocess.PIPE)


def start_unheard(state_dir: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start the same for long: what it says is lost, as a pipe without a reader would stop it."""
    return _started(state_dir, arguments, environment, subprocess.DEVNULL)


def start_into(
    file: Path, state_dir: Path, *arguments: str, **environment: str
) -> subprocess.Popen[str]:
    """Start the same for long: what it says is appended to a file."""
    with file.open("a") as output:
        return _started(state_dir, arguments, environment, output)


def _started(
    state_dir: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    output: int | IO[str],
) -> subprocess.Popen[str]:
    clean = {"PATH": os.defpath, "HOME": str(state_dir.parent), "STATE_DIR": str(state_dir)}
    return subprocess.Popen(  # noqa: S603 - a Python module that a test names
        [sys.executable, "-m", *arguments],
        cwd=PROJECT_ROOT,
        env={**clean, **DEMO, **environment},
        stdout=output,
        stderr=output,
        text=True,
    )


def run(state_dir: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run ``python -m arguments`` to its end; return status, standard output and error."""
    process = start(state_dir, *arguments, **environment)
    output, error = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, output, error


def run_without_failure(state_dir: Path, *arguments: str, **environment: str) -> str:
    """Run ``python -m arguments``, which must succeed; return standard output."""
    status, output, error = run(state_dir, *arguments, **environment)
    assert status == 0, f"{arguments}: {output}{error}"
    return output


def processes_of(state_dir: Path) -> list[psutil.Process]:
    """Return every process on the machine that was given this STATE_DIR and still runs."""
    return [process for process in psutil.process_iter() if _was_given(process, state_dir)]


def kill_all_of(state_dir: Path) -> None:
    """Kill them; who ends meanwhile has ended."""
    for process in processes_of(state_dir):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _was_given(process: psutil.Process, state_dir: Path) -> bool:
    try:
        return process.environ().get("STATE_DIR") == str(state_dir)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


def wait_for(what: Callable[[], Any], seconds: float = 40, *, poll_seconds: float = 0.1) -> Any:
    """Return what ``what`` returns as soon as that is true.

    Raises:
        AssertionError: It is not true within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := what():
            return answer
        time.sleep(poll_seconds)
    raise AssertionError(f"not within {seconds} s")


def kill_after(process_id: int, seconds: float) -> bool:
    """Kill a process after some seconds; return whether it had not ended before."""
    with suppress(ProcessLookupError):
        process = os.pidfd_open(process_id)
        try:
            if not select.select([process], [], [], seconds)[0]:
                signal.pidfd_send_signal(process, signal.SIGKILL)
                return True
        finally:
            os.close(process)
    return False


def free_port() -> int:
    """Return a port that nothing listens on, and that the system gives to no program for port 0.

    A program that is started again gets its port back: Linux chooses from 32768 on.
    """
    while True:
        port = SystemRandom().choice(PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def key_in(said: str) -> str:
    """Return the key that `ui` said at its first start."""
    return re.findall(r"op_[0-9a-f]{12}_\S{43}", said)[0]


def graphql(port: int, query: str, key: str | None = None) -> dict[str, Any]:
    """Ask a Dagster web server, or with a key the gateway, as its own pages do."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
    connection.request("POST", "/graphql", json.dumps({"query": query}), headers)
    answer = json.load(connection.getresponse())
    connection.close()
    return answer["data"]


def run_states(port: int, key: str | None = None, job: str | None = None) -> list[str]:
    """Return the status of every run that a web server shows; of one job's, if it is named."""
    chosen = f'(filter: {{pipelineName: "{job}"}})' if job else ""
    answer = graphql(port, f"{{runsOrError{chosen} {{... on Runs {{results {{status}}}}}}}}", key)
    return [result["status"] for result in answer["runsOrError"]["results"]]
