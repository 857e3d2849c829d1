"""Speed of the decisions of a rate limit that processes share in PostgreSQL."""

import multiprocessing
import time
from bisect import bisect_right
from collections.abc import Callable
from contextlib import closing
from operator import itemgetter
from typing import Any

import psycopg

from benchmarks.bench import Bench
from benchmarks.report import Line, at_least, line
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.http.shared_state import HostKey, Rate
from orchestration_project.engine.http_state import PostgresqlState
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.connecting import parse_url

PROCESSES = 4
"""As two machines with two runs each."""

SECONDS = 3.0
KEY = HostKey("api.example.org", "example")
GREATER_THAN_ANY = Rate(1_000_000)
HELD = Rate(600)
"""A limit that is reached: what is over it in a second would be found."""

REQUIRED_PER_SECOND = 500.0
TOUCH = b"UPDATE touched SET touches = touches + 1 WHERE name = 'x' RETURNING touches"

Times = list[tuple[float, float]]
Ask = Callable[[], bool]


def http_state(bench: Bench) -> list[Line]:
    """Decisions a second about one host in PostgreSQL, by four processes at once."""
    with bench.rig.database() as url:
        with Warehouse(url, clock=Clock()) as warehouse:
            warehouse.prepare(holds="real")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE touched (name text PRIMARY KEY, touches bigint)")
            connection.execute("INSERT INTO touched VALUES ('x', 0)")
        sides = {
            "decisions": lambda: {"times": _asked(_decide, url, GREATER_THAN_ANY)},
            "updates": lambda: {"times": _asked(_touch, url, GREATER_THAN_ANY)},
        }
        found = bench.in_turns(sides)
        held = _asked(_decide, url, HELD)
    speeds = {
        name: [len(each["times"]) / SECONDS for each in repeats] for name, repeats in found.items()
    }
    most = _most_in_a_second(held)
    if most > HELD.request_count:
        raise RuntimeError(f"{most} requests were admitted in a second, not {HELD.request_count}")
    who = f"{PROCESSES} processes, one host"
    return [
        line(
            "rate decisions in PostgreSQL, against bare UPDATE … RETURNING",
            "decisions/s",
            speeds["decisions"],
            speeds["updates"],
            at_least(0.2),
            note=who,
        ),
        line(
            "rate decisions in PostgreSQL, against the required number",
            "decisions/s",
            speeds["decisions"],
            [REQUIRED_PER_SECOND],
            at_least(1),
            note=f"{who}; with a limit of {HELD.request_count}/s at most {most} in any second, "
            f"{len(held) / SECONDS:.0f}/s on average",
        ),
    ]


def _asked(ask: Callable[[str, Rate, Any, Any], None], url: str, rate: Rate) -> Times:
    """Return of each request that was admitted between which times that was, in order."""
    fork = multiprocessing.get_context("fork")
    ready, taken = fork.Barrier(PROCESSES), fork.Queue()
    workers = [fork.Process(target=ask, args=(url, rate, ready, taken)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    times = sorted((each for _ in workers for each in taken.get(timeout=120)), key=itemgetter(1))
    for worker in workers:
        worker.join(60)
    return times


def _decide(url: str, rate: Rate, ready: Any, taken: Any) -> None:
    with closing(PostgresqlState(parse_url(url), None)) as state:

        def ask() -> bool:
            if wait_ms := state.admit(KEY, rate):
                time.sleep(wait_ms / 1000)
            return not wait_ms

        state.breaker(KEY)
        ready.wait()
        taken.put(_repeated(ask))


def _touch(url: str, _: Rate, ready: Any, taken: Any) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")  # as ours
        ready.wait()
        taken.put(_repeated(lambda: connection.execute(TOUCH).fetchone() is not None))


def _repeated(ask: Ask) -> Times:
    times: Times = []
    end = time.perf_counter() + SECONDS
    while (before := time.perf_counter()) < end:
        if ask():
            times.append((before, time.perf_counter()))
    return times


def _most_in_a_second(times: Times) -> int:
    """Return the greatest number that was admitted in a second, whenever exactly each was."""
    most, begins = 0, sorted(times)
    for index, (begin, _) in enumerate(begins):
        candidates = begins[index : bisect_right(begins, (begin + 1, 0.0))]
        most = max(most, sum(end <= begin + 1 for _, end in candidates))
    return most
