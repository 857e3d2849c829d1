"""Programs and senders of the measures of the gateway.

`python -m benchmarks.gateway` serves the gateway, without Dagster behind it, over the settings of
its environment, and says at which port.
"""

import asyncio
import hashlib
import hmac
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg
import uvicorn
from dagster._core.storage.runs import SqlRunStorage
from dagster._core.storage.runs.schema import RunsTable
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import Select, func, insert, select, update
from starlette.responses import PlainTextResponse

from benchmarks.child import ALL
from benchmarks.measures.operations import fill_ledger
from orchestration_project.catalog import REGISTRY
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.gateway.metrics import Part, StoredMetrics, parts_of
from orchestration_project.gateway.server import opened, server_options, spare_pauses
from orchestration_project.instance.storage import open_instance
from orchestration_project.services.inbox.rows import MAX_BATCH_DELIVERIES, Inbox, NewDelivery
from orchestration_project.settings import PROJECT_ROOT, child_environment, load_settings
from orchestration_project.tables.operations_runs import operations_runs
from orchestration_project.tables.spine import inbox_states

HOST = "127.0.0.1"
SOURCE, SECRET = "bench", "a secret of the benchmark"
SOURCES = """
sources:
  bench: {scheme: github, job: events_webhooks, requests_per_second: 1000000}
  peopleforce: {scheme: peopleforce, job: saas_reconcile, in_order: false}
"""
BODY_BYTES = 1000
DEFINITIONS = "orchestration_project.definitions"
SECONDS_APART = 1.7
PATIENCE_SECONDS = 120
LENGTH = re.compile(rb"(?i)\r\ncontent-length: (\d+)")


@dataclass(frozen=True)
class Answered:
    """Responses to senders, and the seconds that each waited."""

    seconds: float
    waits: list[float]

    @property
    def per_second(self) -> float:
        """Deliveries that were acknowledged in a second."""
        return len(self.waits) / self.seconds

    @property
    def p99_seconds(self) -> float:
        """The wait that 99 of 100 did not exceed."""
        return sorted(self.waits)[int(len(self.waits) * 0.99)]


def deliver(port: int, *, connections: int, seconds: float, begin: str) -> Answered:
    """Deliver over so many connections for so long, each delivery once the last is answered.

    Their ids ``begin`` with what no other call has used.

    Raises:
        RuntimeError: A delivery was not answered with 202.
    """
    return asyncio.run(_deliver(port, connections, seconds, begin))


async def _deliver(port: int, connections: int, seconds: float, begin: str) -> Answered:
    started = time.perf_counter()
    waits = await asyncio.gather(
        *(_send(port, f"{begin}-{number}", started + seconds) for number in range(connections))
    )
    took = time.perf_counter() - started
    return Answered(took, [each for of_one in waits for each in of_one])


async def _send(port: int, begin: str, until: float) -> list[float]:
    reader, writer = await asyncio.open_connection(HOST, port)
    waits: list[float] = []
    while time.perf_counter() < until:
        request = _request(f"{begin}-{len(waits)}")
        sent = time.perf_counter()
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(LENGTH.findall(answer)[0]))
        if not answer.startswith(b"HTTP/1.1 202"):
            raise RuntimeError(f"a delivery was answered with {answer[:300]!r}")
        waits.append(time.perf_counter() - sent)
    writer.close()
    return waits


def _request(delivery_id: str) -> bytes:
    path, body, headers = webhook(delivery_id)
    told = {"host": HOST, **headers, "content-length": len(body)}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def webhook(delivery_id: str) -> tuple[str, bytes, dict[str, str]]:
    """Return path, body and headers of a signed delivery."""
    body = json.dumps({"id": delivery_id, "text": "x" * BODY_BYTES}).encode()
    mac = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "content-type": "application/json",
        "x-github-delivery": delivery_id,
        "x-hub-signature-256": f"sha256={mac}",
    }
    return f"/hooks/{SOURCE}", body, headers


def scrapes(count: int, repeats: int) -> dict[str, list[float]]:
    """Store ``count`` runs, ours and Dagster's, and return how long each scrape of them took."""
    settings = load_settings()
    with open_warehouse(settings) as warehouse, open_instance() as instance:
        fill_ledger(warehouse, count)
        lately = Clock().now() - timedelta(hours=1)  # so that the durations of all of them are told
        with warehouse.writing() as connection:
            connection.execute(update(operations_runs).values(ended_at=lately))
        _fill_dagster(instance, count)
        parts = parts_of(settings, warehouse, instance, lambda: REGISTRY)
        return {"seconds": [_scrape(parts) for _ in range(repeats)]}


def _fill_dagster(instance: dg.DagsterInstance, count: int) -> None:
    storage = instance.run_storage
    assert isinstance(storage, SqlRunStorage)  # noqa: S101 - as our dagster.yaml has it
    rows = [
        {"run_id": str(number), "pipeline_name": "x", "status": "SUCCESS", "run_body": "{}"}
        for number in range(count)
    ]
    with storage.connect() as connection:
        connection.execute(insert(RunsTable), rows)


def _scrape(parts: Mapping[str, Part]) -> float:
    registry = CollectorRegistry()
    registry.register(StoredMetrics(parts))
    started = time.perf_counter()
    text = generate_latest(registry).decode()
    took = time.perf_counter() - started
    missed = [each for each in text.splitlines() if "scrape_ok{" in each and each.endswith(" 0.0")]
    if missed:
        raise RuntimeError(f"not read: {missed}")
    return took


def run_starts(count: int) -> dict[str, list[float]]:
    """Return how long after they were received the runs of ``count`` deliveries began, seconds.

    A daemon runs on this STATE_DIR, with its sensor on; the first of one delivery more waits until
    that has started.
    """
    settings = load_settings()
    with open_warehouse(settings) as warehouse, open_instance() as instance:
        waits = []
        for number in range(count + 1):
            time.sleep(number * SECONDS_APART)  # not in step with the daemon
            received = time.time()
            Inbox(warehouse, Clock()).take([NewDelivery(SOURCE, str(number), None, b"{}", {}, 1)])
            run_id = _waited_for(
                warehouse,
                select(inbox_states.c.run_id).where(inbox_states.c.delivery_id == str(number)),
            )
            record = instance.get_run_record_by_id(run_id)
            waits.append(max((record.start_time or 0) - received, 0.0) if record else 0.0)
    return {"seconds": waits[1:]}


def loads(count: int) -> dict[str, float]:
    """Return how many deliveries a second were loaded, from the first arrival to the last load.

    A daemon runs on this STATE_DIR, with its sensor on: its tick and the start of a run count.
    """
    deliveries = [
        NewDelivery(SOURCE, f"load-{number}", None, webhook(str(number))[1], {}, 1)
        for number in range(count)
    ]
    done = select(func.count()).where(
        inbox_states.c.state == "done", inbox_states.c.delivery_id.like("load-%")
    )
    with open_warehouse(load_settings()) as warehouse:
        started = time.monotonic()
        for first in range(0, count, MAX_BATCH_DELIVERIES):
            Inbox(warehouse, Clock()).take(deliveries[first : first + MAX_BATCH_DELIVERIES])
        _waited_for(warehouse, select(done.scalar_subquery() >= count))
        return {"per_second": count / (time.monotonic() - started)}


def _waited_for(warehouse: Warehouse, wanted: Select[Any]) -> Any:
    """Return the first value of ``wanted`` as soon as it is one that counts as true.

    Raises:
        RuntimeError: It does not become one.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        with warehouse.reading() as connection:
            if found := connection.execute(wanted).scalar():
                return found
        time.sleep(0.1)
    raise RuntimeError(f"not within {PATIENCE_SECONDS} s: {wanted}")


@contextmanager
def ui(environment: Mapping[str, str]) -> Iterator[int]:
    """Run `ui`, with the sensor of webhooks on and no other that starts runs; give its port."""
    told = child_environment(PYTHONPATH=str(PROJECT_ROOT), **{**ALL, **environment})
    sensor = [*("-m", "dagster", "sensor", "start"), *("-m", DEFINITIONS), "events_on_webhook"]
    subprocess.run(
        [sys.executable, *sensor], cwd=PROJECT_ROOT, env=told, check=True, capture_output=True
    )
    with socket.create_server((HOST, 0)) as server:
        port = str(server.getsockname()[1])
    command = [sys.executable, *("-m", "orchestration_project", "ui", "--port", port)]
    with subprocess.Popen(
        command, cwd=PROJECT_ROOT, env=told, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            if process.stdout:
                process.stdout.readline()  # it says where it is, once all of it answers
            yield int(port)
        finally:
            process.terminate()


@contextmanager
def served(environment: Mapping[str, str]) -> Iterator[int]:
    """Run the program, and give its port."""
    told = child_environment(
        PYTHONPATH=str(PROJECT_ROOT),
        WEBHOOK_SECRET_BENCH=SECRET,
        WEBHOOK_SECRET_PEOPLEFORCE=SECRET,
        **{**ALL, **environment},
    )
    command = [sys.executable, "-m", "benchmarks.gateway"]
    with subprocess.Popen(
        command, cwd=PROJECT_ROOT, env=told, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield int(process.stdout.readline() if process.stdout else "")
        finally:
            process.terminate()


def main() -> None:
    """Serve until told to stop."""
    settings = load_settings()
    with (
        dg.DagsterInstance.get() as instance,
        opened(settings, PlainTextResponse("no Dagster"), HOST, instance, lambda: REGISTRY) as app,
    ):
        listening = socket.create_server((HOST, 0), backlog=512)
        print(listening.getsockname()[1], flush=True)
        spare_pauses()
        config = uvicorn.Config(app, log_level="error", **server_options(settings))
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
