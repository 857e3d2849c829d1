"""Runs by 1, 2 and 4 workers of Celery, with a source that answers after 200 ms."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread

from amqp.exceptions import NotFound
from kombu.connection import Connection

from benchmarks.bench import Bench, Report
from benchmarks.child import call
from benchmarks.report import Line, at_least, at_most, line
from benchmarks.rig import Place
from orchestration_project.cli.stack_services import broker_url, rabbitmq
from orchestration_project.cli.ui import CODE_SERVER, accepts, free_port
from orchestration_project.instance.celery_launcher import DEFAULT_QUEUE
from orchestration_project.settings import PROJECT_ROOT, child_environment

LATENCY_SECONDS = 0.2
REQUESTS = 50
"""Of a run: ten seconds of waiting, beside less than a second of work."""

REQUIRED = {2: 1.7, 4: 2.5}
"""Minimum throughput, as a multiple of one worker's, by number of workers."""

STARTS = 5
"""Runs whose start is measured, in each repeat."""

PASSWORD = "bench-password"  # noqa: S105 - of a broker that lives for a measure
START_SECONDS = 180


def workers(bench: Bench) -> list[Line]:
    """Throughput of 2 and 4 workers against one, and how soon a warm one starts a run."""
    with bench.rig.place() as place, _broker(place.state) as url, _source() as source:
        environment = {
            "STATE_DIR": str(place.state),
            "DAGSTER_DATABASE_URL": str(place.database_url),
            "RUN_LAUNCHER": "celery",
            "BROKER_URL": url,
            "LOG_LEVEL": "ERROR",
        }

        def by(count: int) -> Report:
            with _workers(place, environment, count):
                return call(
                    "benchmarks.waiting_runs:launched",
                    environment,
                    source=source,
                    run_count=bench.sizes.worker_runs,
                    requests=REQUESTS,
                )

        found = bench.in_turns({str(count): lambda n=count: by(n) for count in (1, *REQUIRED)})
        with _workers(place, environment, 1), _code_server(environment) as port:
            starts = bench.in_turns(
                {
                    "worker": lambda: _starts(environment, None),
                    "local": lambda: _starts({**environment, "RUN_LAUNCHER": "local"}, port),
                }
            )
    speeds = {
        count: [each["succeeded"] / each["seconds"] for each in reports]
        for count, reports in found.items()
    }
    waiting = REQUESTS * LATENCY_SECONDS
    took = {side: [each["seconds"] for each in reports] for side, reports in starts.items()}
    return [
        line(
            "run start by a warm worker over the code server's, against 1.5 s",
            "s",
            [own - local for own, local in zip(took["worker"], took["local"], strict=True)],
            [1.5],
            at_most(1),
            note=", ".join(f"{side} {median(seconds):.2f} s" for side, seconds in took.items()),
        ),
        *_throughput(bench, speeds, waiting),
    ]


def _throughput(bench: Bench, speeds: Mapping[str, Sequence[float]], waiting: float) -> list[Line]:
    return [
        line(
            f"runs by {count} workers against one, source answers in 200 ms",
            "runs/s",
            speeds[str(count)],
            speeds["1"],
            at_least(required),
            note=f"{bench.sizes.worker_runs} runs, each waits {waiting:.0f} s",
        )
        for count, required in REQUIRED.items()
    ]


@contextmanager
def _source() -> Iterator[str]:
    """Serve a source that answers late; yield its URL."""

    class Late(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(LATENCY_SECONDS)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Late)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def _broker(folder: Path) -> Iterator[str]:
    """Run RabbitMQ as the stack does; yield its URL."""
    port = free_port()
    started = []
    try:
        for program in rabbitmq(folder / "rabbitmq", port, (free_port(), free_port()), PASSWORD):
            started += [_started(program.command, program.environment)]
        _wait(lambda: accepts(port), "RabbitMQ")
        yield broker_url(port, PASSWORD)
    finally:
        _kill(started)


@contextmanager
def _workers(place: Place, environment: Mapping[str, str], count: int) -> Iterator[None]:
    """Run workers of a process each, and wait until all of them read their queues."""
    log = place.state / "workers.log"
    command = [sys.executable, "-W", "ignore", "-m", "orchestration_project", "worker", "--name"]
    started = []
    try:
        for number in range(count):
            with log.with_suffix(f".{number}").open("w") as output:
                started.append(
                    _started([*command, f"w{number}"], environment, output=output.fileno())
                )
        _wait(lambda: _consumers(environment["BROKER_URL"]) == count, f"{count} workers")
        yield
    finally:
        _kill(started)


def _starts(environment: Mapping[str, str], port: int | None) -> Report:
    call_of = "benchmarks.waiting_runs:started"
    return call(call_of, environment, run_count=STARTS, code_server_port=port)


@contextmanager
def _code_server(environment: Mapping[str, str]) -> Iterator[int]:
    """Run a code server of the waiting runs; yield its port."""
    port = free_port()
    command = f"{CODE_SERVER} code-server start -m benchmarks.waiting_runs --host 127.0.0.1"
    arguments = [sys.executable, "-W", "ignore", "-m", *command.split(), "--port", str(port)]
    started = [_started(arguments, environment)]
    try:
        _wait(lambda: accepts(port), "the code server")
        yield port
    finally:
        _kill(started)


def _consumers(url: str) -> int:
    """Return how many workers read the default queue."""
    with Connection(url) as connection, suppress(NotFound):
        return connection.channel().queue_declare(DEFAULT_QUEUE, passive=True).consumer_count
    return 0


def _started(
    command: Sequence[str], environment: Mapping[str, str], output: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=PROJECT_ROOT,
        env=child_environment(PYTHONPATH=str(PROJECT_ROOT), **environment),
        stdout=output,
        stderr=output,
        process_group=0,
    )


def _wait(is_there: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_there():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {START_SECONDS} s: {what}")
        time.sleep(0.2)


def _kill(started: list[subprocess.Popen[bytes]]) -> None:
    for process in reversed(started):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
