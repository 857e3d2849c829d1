"""Cost of `ui` while nothing happens, by the domains of the installation: CPU, memory, start."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import psutil

from benchmarks.bench import Bench
from benchmarks.child import ALL
from benchmarks.report import Line, at_most, line
from benchmarks.rig import Place
from orchestration_project.cli.ui import free_port
from orchestration_project.settings import PROJECT_ROOT, child_environment

CORE_PERCENT = 4.0
MEMORY_MIB = 900.0
START_SECONDS = 30.0

MIB = 1024 * 1024

ALONE = "finra alone"
SETS = {ALONE: {"DOMAINS": "finra", "FINRA_DATASETS": ""}, "all domains": ALL}
"""Settings by name of a set of domains."""


class Idle(NamedTuple):
    """Cost of the programs of one `ui`: start (s), CPU (% of a core), memory (PSS, MiB)."""

    start_seconds: float
    core_percent: float
    memory_mib: float
    process_count: int


def idle(bench: Bench) -> list[Line]:
    """Compare with 4 % of a core and 900 MiB; limits hold for FINRA alone."""
    measured = {name: _measure(bench, chosen) for name, chosen in SETS.items()}
    return [each for name, found in measured.items() for each in _lines(name, found)]


def _lines(name: str, found: Idle) -> Sequence[Line]:
    note = f"the data of a demo, {found.process_count} processes"
    bound = at_most(1) if name == ALONE else None
    return [
        line(f"`ui` answers, {name}", "s", [found.start_seconds], [START_SECONDS], None, note=note),
        line(
            f"idle `ui`, {name}",
            "% of a core",
            [found.core_percent],
            [CORE_PERCENT],
            bound,
            note=note,
        ),
        line(
            f"memory of an idle `ui`, {name}",
            "MiB (PSS)",
            [found.memory_mib],
            [MEMORY_MIB],
            bound,
            note=note,
        ),
    ]


def _measure(bench: Bench, chosen: dict[str, str]) -> Idle:
    with bench.rig.sqlite_place() as place, _started(place, chosen) as (process, started):
        time.sleep(bench.sizes.idle_seconds)  # what a start leaves to do
        before = _cpu_seconds(process)
        time.sleep(bench.sizes.idle_seconds)
        used = _cpu_seconds(process) - before
        tree = _tree(process)
        memory = sum(each.memory_full_info().pss for each in tree)
        percent = 100 * used / bench.sizes.idle_seconds
        return Idle(started, percent, memory / MIB, len(tree))


@contextmanager
def _started(place: Place, chosen: dict[str, str]) -> Iterator[tuple[psutil.Process, float]]:
    """Start `ui` over the demo; give its process, and the seconds until it answers."""
    environment = child_environment(
        PYTHONPATH=str(PROJECT_ROOT), STATE_DIR=str(place.state), DATA_PROFILE="demo", **chosen
    )
    command = [sys.executable, "-m", "orchestration_project", "ui", "--port", str(free_port())]
    began = time.perf_counter()
    with subprocess.Popen(
        command, cwd=PROJECT_ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            if process.stdout:
                process.stdout.readline()  # it says where it is, once all of it answers
            yield psutil.Process(process.pid), time.perf_counter() - began
        finally:
            process.terminate()


def _tree(process: psutil.Process) -> Sequence[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU time of a process and its children, those that have ended included."""
    times = (each.cpu_times() for each in _tree(process))
    return sum(
        spent.user + spent.system + spent.children_user + spent.children_system for spent in times
    )
