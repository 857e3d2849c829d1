"""Sync: a poll of many tasks of which none changed."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bench import Bench
from benchmarks.child import call
from benchmarks.report import Line, at_most, informative_line, line
from benchmarks.rig import NO_RATE_LIMIT, Place
from orchestration_project.settings import PROJECT_ROOT, child_environment

MAX_POLL_SECONDS = 5.0


def saas(bench: Bench) -> list[Line]:
    """A whole Dagster run over many tasks, on both databases."""
    count = bench.sizes.saas_tasks
    with _peopleforce(count) as url:
        with bench.rig.place() as place:
            lines = _looks("PostgreSQL", place, url, count, bench)
        with bench.rig.sqlite_place() as place:
            lines += _looks("SQLite", place, url, count, bench)
    return lines


def _looks(name: str, place: Place, url: str, count: int, bench: Bench) -> list[Line]:
    database = {"DATABASE_URL": place.database_url} if place.database_url else {}
    environment = {
        "STATE_DIR": str(place.state),
        "DAGSTER_HOME": str(place.state / "dagster"),
        "FINRA_SOURCE": "api",
        "SAAS_SOURCE": "api",
        "PEOPLEFORCE_URL": url,
        "PEOPLEFORCE_API_KEY": "bench",
        "PEOPLEFORCE_REQUESTS_PER_SECOND": str(NO_RATE_LIMIT),
        "JIRA_URL": f"{url}/jira",
        "JIRA_EMAIL": "bench@example.org",
        "JIRA_TOKEN": "bench",
        "LOG_LEVEL": "ERROR",
        **database,
    }
    found = call("benchmarks.saas:looks", environment, url=url, repeats=bench.repeats)
    requested, pages = found["asked"], found["asked"].get("tasks", 0) // bench.repeats
    of_it = f"{count:,} unchanged tasks, {name}"
    return [
        line(
            f"poll of {of_it}, against {MAX_POLL_SECONDS:g} s",
            "s",
            found["seconds"],
            [MAX_POLL_SECONDS],
            at_most(1),
            note=f"a Dagster run, {pages:,} pages of a source without a limit of its rate; "
            f"{found['look_cpu_seconds']:.1f} s of CPU",
        ),
        line(
            f"poll of {of_it}: requests to Jira, against the issues",
            "requests",
            [requested.get("jira", 0)],
            [found["issues"]],
            at_most(0),
        ),
        informative_line(f"first poll of {count:,} tasks, {name}", "s", found["first"]),
    ]


@contextmanager
def _peopleforce(count: int) -> Iterator[str]:
    """Run PeopleForce, as a program of its own; give its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.saas_source", "--tasks", str(count)],
        cwd=PROJECT_ROOT,
        env=child_environment(PYTHONPATH=str(PROJECT_ROOT)),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            said = json.loads(process.stdout.readline() if process.stdout else "")
            yield f"http://127.0.0.1:{said['port']}"
        finally:
            process.kill()
