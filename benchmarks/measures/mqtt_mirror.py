"""The MQTT mirror: its speed against arrivals, and a tick and a fold over a long history."""

import base64
import hashlib
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl
from sqlalchemy import insert

from benchmarks.bench import Bench
from benchmarks.report import Line, at_least, at_most, line
from orchestration_project.domains.mqtt.judging import Message
from orchestration_project.domains.mqtt.tables import mqtt_inbox, mqtt_seen_keys
from orchestration_project.domains.mqtt.tables import mqtt_mirror as mirror_table
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.resources.mqtt.folding import fold_again, lock_fold
from orchestration_project.resources.mqtt.kinds import read_kind_files
from orchestration_project.resources.mqtt.mirroring import Mirror
from orchestration_project.resources.mqtt.ranges import (
    TOPIC,
    RangeLoader,
    plan_ranges,
    range_items,
    waiting,
)
from orchestration_project.resources.mqtt.replaying import requested_ids
from orchestration_project.settings import PROJECT_ROOT

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
WINDOW = 20
"""Messages of a commit of arrivals: mosquitto sends as many without an acknowledgement."""

EVENTS_OF_PROJECT, BATCH, TICKS, BATCHES = 50, 500, 200, 20
LATE_SHARE = 0.05
TRACE = "3f2504e0-4f89-41d3-9a0c-0305e82c3301"
BATCH_MESSAGES = 100_000

Opened = Callable[[Bench], AbstractContextManager[tuple[Warehouse, Path]]]
"""Open an empty database of a kind, and a folder."""


def mqtt_mirror(bench: Bench) -> list[Line]:
    """Events a second from the inbox, folded; milliseconds of a tick and a fold by history."""
    lines: list[Line] = []
    for name, opened in (("PostgreSQL", _postgresql), ("SQLite", _sqlite)):
        arrivals: list[float] = []
        mirrored: list[float] = []
        for _ in range(bench.repeats):
            with opened(bench) as (warehouse, folder):
                arrived, done = _speeds(warehouse, folder, bench.sizes.mqtt_waiting)
                arrivals.append(arrived)
                mirrored.append(done)
        lines.append(
            line(
                f"MQTT inbox to mirror with folding, {name}, against arrivals",
                "events/s",
                mirrored,
                arrivals,
                at_least(1),
                note=f"{bench.sizes.mqtt_waiting:,} messages of 300 bytes; arrivals in commits "
                f"of {WINDOW}, without a broker",
            )
        )
        lines += _by_history(bench, name, opened)
    return lines


def _by_history(bench: Bench, name: str, opened: Opened) -> list[Line]:
    found: dict[int, tuple[list[float], list[float]]] = {}
    many, few = bench.sizes.mqtt_events, bench.sizes.mqtt_events // 100
    for count in (few, many):
        with opened(bench) as (warehouse, folder):
            _fill(warehouse, count)
            writer = _Writer(warehouse, folder, count)
            ticks: list[float] = []
            folds: list[float] = []
            for _ in range(bench.repeats):
                ticks.append(_milliseconds(partial(_tick, warehouse), TICKS))
                folds.append(_milliseconds(writer.write, BATCHES))
            found[count] = ticks, folds
    note = f"{many:,} mirrored events against {few:,}"
    return [
        line(f"{what}, {name}, over a long history", "ms", ours, other, at_most(1.2), note=note)
        for what, ours, other in (
            ("tick of mqtt_on_arrival", found[many][0], found[few][0]),
            (f"mirror and fold of {BATCH} events", found[many][1], found[few][1]),
        )
    ]


@contextmanager
def _postgresql(bench: Bench) -> Iterator[tuple[Warehouse, Path]]:
    with bench.rig.place() as place, Warehouse(str(place.database_url), clock=Clock(NOW)) as opened:
        opened.prepare(holds="demo")
        yield opened, place.state


@contextmanager
def _sqlite(bench: Bench) -> Iterator[tuple[Warehouse, Path]]:
    with bench.rig.sqlite_place() as place:
        url = f"sqlite:///{place.state / 'mqtt.sqlite'}"
        with Warehouse(url, clock=Clock(NOW)) as opened:
            opened.prepare(holds="demo")
            yield opened, place.state


def _mirror(warehouse: Warehouse, folder: Path) -> Mirror:
    return Mirror(
        warehouse=warehouse,
        captures=Captures(FolderStore(folder / "artifacts")),
        clock=Clock(NOW),
        kinds=read_kind_files(PROJECT_ROOT / "config/kinds"),
        max_bytes=1_000_000,
        max_skew_seconds=10**9,
        source="bench",
        run_id="bench",
    )


def _body(key: str, project: int, ts: datetime) -> bytes:
    payload = {
        "project_id": f"p{project:06}",
        "name": f"Project {project}",
        "description": "x" * 50,
        "updated_by": "user-1",
    }
    return json.dumps(
        {
            "trace_id": TRACE,
            "ts": ts.isoformat(),
            "kind": "project.updated",
            "idempotency_key": key,
            "payload": payload,
        }
    ).encode()


def _speeds(warehouse: Warehouse, folder: Path, count: int) -> tuple[float, float]:
    """Return messages a second into the inbox, and events a second from there, folded."""
    rows = [_inbox_row(number, count) for number in range(1, count + 1)]
    began = time.perf_counter()
    for start in range(0, count, WINDOW):
        with warehouse.writing() as connection:
            connection.execute(insert(mqtt_inbox), rows[start : start + WINDOW])
    arrived = count / (time.perf_counter() - began)
    clock, loader = Clock(NOW), RangeLoader(_mirror(warehouse, folder))
    items = range_items(warehouse, clock)
    began = time.perf_counter()
    plan_ranges(warehouse, clock)
    until = NOW + timedelta(days=1)
    while claimed := items.claim(TOPIC, limit=1, run_id="bench", until=until, in_order=True):
        batch = list(loader.extract(claimed))
        with warehouse.writing() as connection:
            items.settle(connection, loader.load(connection, batch))
    return arrived, count / (time.perf_counter() - began)


def _inbox_row(number: int, count: int) -> dict[str, Any]:
    project = number % max(count // EVENTS_OF_PROJECT, 1)
    body = _body(f"k{number}", project, NOW + timedelta(milliseconds=number))
    return {
        "arrival_id": number,
        "broker": "bench:1883",
        "topic": f"tracker/events/projects/p{project:06}",
        "qos": 1,
        "is_retained": False,
        "is_duplicate": False,
        "payload": base64.b64encode(body).decode(),
        "byte_count": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "received_at": NOW,
    }


def _fill(warehouse: Warehouse, count: int) -> None:
    """Write a mirror with so many events, of which each project has `EVENTS_OF_PROJECT`."""
    projects = max(count // EVENTS_OF_PROJECT, 1)
    for start in range(0, count, BATCH_MESSAGES):
        number = pl.int_range(start + 1, min(start + BATCH_MESSAGES, count) + 1, eager=True)
        project = pl.format("p{}", (pl.col("arrival_id") % projects).cast(pl.String).str.zfill(6))
        at = pl.lit(NOW) + pl.duration(milliseconds=pl.col("arrival_id"))
        payload = pl.concat_str(
            pl.lit('{"name":"Apollo","project_id":"'),
            project,
            pl.lit('"}'),
        )
        frame = pl.DataFrame({"arrival_id": number}).with_columns(
            idempotency_key=pl.format("k{}", "arrival_id"),
            trace_id=pl.lit(TRACE),
            kind=pl.lit("project.updated"),
            schema_version=pl.lit(1, pl.Int64),
            topic=pl.format("tracker/events/projects/{}", project),
            ts=at,
            entity_type=pl.lit("project"),
            entity_id=project,
            operation=pl.lit("updated"),
            payload=payload,
            received_at=pl.lit(NOW),
            arrival_hour=pl.lit(f"{NOW:%Y-%m-%d-%H:00}"),
            skew_seconds=pl.lit(0.0),
            capture_id=pl.lit(1, pl.Int64),
            known_from=pl.lit(NOW),
            sha256=pl.lit("0" * 64),
            duplicate_count=pl.lit(0, pl.Int64),
            seen_at=pl.lit(NOW),
        )
        with warehouse.writing() as connection:
            for table in (mirror_table, mqtt_seen_keys):
                schema = derive_schema(table)
                insert_frame(connection, table, frame.select(list(schema)).cast(pl.Schema(schema)))
    with warehouse.writing() as connection:
        lock_fold(connection)
        fold_again(connection, "project")


class _Writer:
    """Mirrors and folds batches of events of random projects, some of which are late."""

    def __init__(self, warehouse: Warehouse, folder: Path, count: int) -> None:
        self._warehouse = warehouse
        self._mirror = _mirror(warehouse, folder)
        self._projects = max(count // EVENTS_OF_PROJECT, 1)
        self._last = count
        self._random = random.Random(38)  # noqa: S311 - to be repeated

    def write(self) -> float:
        """Write a batch; return the milliseconds without the judging and storing of bytes."""
        kept = self._mirror.keep([self._message() for _ in range(BATCH)])
        began = time.perf_counter()
        with self._warehouse.writing() as connection:
            self._mirror.write(connection, kept)
        return 1_000 * (time.perf_counter() - began)

    def _message(self) -> Message:
        self._last += 1
        late = timedelta(milliseconds=100) if self._random.random() < LATE_SHARE else timedelta(0)
        project = self._random.randrange(min(self._projects, 200))
        body = _body(f"k{self._last}", project, NOW + timedelta(milliseconds=self._last) - late)
        sha256 = hashlib.sha256(body).hexdigest()
        topic = f"tracker/events/projects/p{project:06}"
        return Message(self._last, "bench", topic, body, len(body), sha256, NOW)


def _tick(warehouse: Warehouse) -> float:
    began = time.perf_counter()
    waiting(warehouse)
    requested_ids(warehouse)
    return 1_000 * (time.perf_counter() - began)


def _milliseconds(measured: Callable[[], float], times: int) -> float:
    measured()
    return median(measured() for _ in range(times))
