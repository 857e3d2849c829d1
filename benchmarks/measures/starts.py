"""Time to start: `dagster job execute` on one partition, and the code location."""

import subprocess
import sys
import time
from collections.abc import Mapping
from statistics import median

from benchmarks.bench import Bench, Report, key, seconds
from benchmarks.report import Line, at_most, line
from benchmarks.rig import source
from orchestration_project.settings import PROJECT_ROOT, child_environment

ROWS = 600
"""Rows of the partition: the start is measured, not the load."""

EXECUTE = ("-m", "dagster", "job", "execute")
PROJECT_JOB = (*EXECUTE, "-m", "orchestration_project.definitions", "-j", "finra_otc_weekly")
EMPTY_JOB = (*EXECUTE, "-m", "benchmarks.empty", "-j", "empty")
LOCATION = (
    "-c",
    "from orchestration_project.definitions import defs; defs.get_repository_def()",
)


def starts(bench: Bench) -> list[Line]:
    """Ours against an empty job in the same instance, and the code location against 3 s."""
    with source(ROWS, bench.repeats) as src, bench.rig.sqlite_place() as place:
        environment = place.environment(src)
        weeks = iter(src.weeks)

        def ours() -> Report:
            tags = f'{{"dagster/partition": "{key(next(weeks))}"}}'
            return _timed((*PROJECT_JOB, "--tags", tags), environment)

        _timed(EMPTY_JOB, environment)  # makes Dagster's storage
        found = bench.in_turns(
            {
                "ours": ours,
                "empty": lambda: _timed(EMPTY_JOB, environment),
                "location": lambda: _timed(LOCATION, environment),
            }
        )
    pairs = zip(seconds(found["ours"]), seconds(found["empty"]), strict=True)
    over = [own - empty for own, empty in pairs]
    took = {side: median(seconds(found[side])) for side in ("ours", "empty")}
    return [
        line(
            "`dagster job execute` over an empty job's, against 1.5 s",
            "s",
            over,
            [1.5],
            at_most(1),
            note=f"a partition of {src.firm_rows} rows into SQLite, {took['ours']:.2f} s in all; "
            f"the empty job {took['empty']:.2f} s",
        ),
        line(
            "the code location loads, against 3 s",
            "s",
            seconds(found["location"]),
            [3],
            at_most(1),
            note="a new process, the interpreter's start included",
        ),
    ]


def _timed(arguments: tuple[str, ...], environment: Mapping[str, str]) -> Report:
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        cwd=PROJECT_ROOT,
        env=child_environment(PYTHONPATH=str(PROJECT_ROOT), **environment),
        capture_output=True,
        check=True,
    )
    return {"seconds": time.perf_counter() - started}
