"""A page of many work items, as the API reads it, against the bare query by key."""

import json
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import psycopg

from benchmarks.bench import Bench
from benchmarks.report import Line, at_most, line
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.gateway.api.data import page_response, read_page
from orchestration_project.gateway.api.services import Services
from orchestration_project.tables.catalogue import relation
from orchestration_project.tables.queries.paging import cursor_after
from orchestration_project.tables.spine import work_items

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TOPIC = "webhooks/github"
PAGE_ROWS, PAGES = 100, 200
READ_SECONDS = 20
SEED = 20260301
BATCH_ITEMS = 100_000

Read = Callable[[str], object]
"""Read the page of items after a key."""


def items(bench: Bench) -> list[Line]:
    """Milliseconds of a page of 100 items, anywhere in the table, on both databases."""
    count = bench.sizes.work_items
    with bench.rig.place() as place:
        url = str(place.database_url)
        with psycopg.connect(url, autocommit=True) as server:
            read = _bare(lambda query, key: server.execute(query.encode(), key).fetchall(), "%s")
            found = _pages(url, count, bench, read, lambda: bench.rig.settle(url))
    with bench.rig.sqlite_place() as place:
        path = place.state / "items.sqlite"
        with closing(sqlite3.connect(path)) as file:
            read = _bare(lambda query, key: file.execute(query, key).fetchall(), "?")
            on_file = _pages(f"sqlite:///{path}", count, bench, read, lambda: None)
    return [
        line(
            f"a page of 100 of many items, {name}, against a bare query by key",
            "ms",
            ours,
            bare,
            at_most(2),
            note=f"{count:,} items; medians of {PAGES} pages at random keys, as JSON",
        )
        for name, (ours, bare) in (("PostgreSQL", found), ("SQLite", on_file))
    ]


def _pages(
    url: str, count: int, bench: Bench, bare: Read, settle: Callable[[], None]
) -> tuple[list[float], list[float]]:
    keys = random.Random(SEED)  # noqa: S311 - which pages are read is no secret
    with Warehouse(url, clock=Clock(NOW)) as warehouse:
        warehouse.prepare(holds="demo")
        _fill(warehouse, count)
        settle()
        sides = {"ours": _ours(warehouse), "bare": bare}
        found: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(bench.repeats):
            after = [_key(keys.randrange(count)) for _ in range(PAGES)]
            for name, read in sides.items():
                found[name].append(_milliseconds(read, after))
    return found["ours"], found["bare"]


def _milliseconds(read: Read, after: list[str]) -> float:
    read(after[0])  # prepares the statement
    took: list[float] = []
    for key in after:
        began = time.perf_counter()
        read(key)
        took.append(1000 * (time.perf_counter() - began))
    return sorted(took)[len(took) // 2]


def _ours(warehouse: Warehouse) -> Read:
    chosen = relation(work_items.name)
    services = cast(Services, SimpleNamespace(warehouse=warehouse, read_seconds=READ_SECONDS))

    def read(key: str) -> object:
        cursor = cursor_after(chosen, {"topic": TOPIC, "item_key": key})
        found = read_page(services, chosen, [], [], cursor, PAGE_ROWS)
        return page_response(work_items.name, found)

    return read


def _bare(execute: Callable[[str, tuple[str, str]], list[Any]], place: str) -> Read:
    names = [column.name for column in work_items.columns]
    query = (
        f"SELECT {', '.join(names)} FROM work_items WHERE (topic, item_key) > ({place}, {place}) "  # noqa: S608 - ours
        f"ORDER BY topic, item_key LIMIT {PAGE_ROWS + 1}"
    )

    def read(key: str) -> object:
        rows = [dict(zip(names, row, strict=True)) for row in execute(query, (TOPIC, key))]
        return json.dumps(rows, default=str)

    return read


def _key(number: int) -> str:
    return f"{number:012d}"


def _fill(warehouse: Warehouse, count: int) -> None:
    schema = derive_schema(work_items)
    for start in range(0, count, BATCH_ITEMS):
        numbers = range(start, min(start + BATCH_ITEMS, count))
        values: dict[str, Any] = {
            "topic": TOPIC,
            "version": "1",
            "state": "done",
            "attempt_count": 1,
            "allowed_count": 5,
            "enqueued_at": NOW,
            "due_at": NOW,
            "lease_token": 1,
            "input_sha256": "0" * 64,
            "run_id": "0" * 36,
            "changed_at": NOW,
        }
        frame = pl.DataFrame({"item_key": [_key(each) for each in numbers]}).with_columns(
            pl.lit(values.get(name), kind).alias(name)
            for name, kind in schema.items()
            if name != "item_key"
        )
        with warehouse.writing() as connection:
            insert_frame(connection, work_items, frame.select(list(schema)))
