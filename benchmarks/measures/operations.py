"""A look of the control tower over a large ledger, all of which ended in the last 28 days."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import polars as pl
from sqlalchemy import Table

from benchmarks.bench import Bench
from benchmarks.report import Line, at_most, line
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.services.ledger.control_tower import read_observation, write_tower
from orchestration_project.services.ledger.rules.standings import build_rows, evaluate_health
from orchestration_project.tables.operations_runs import operations_runs, operations_steps

NOW = datetime(2026, 4, 6, 15, tzinfo=UTC)
SECONDS_IN_28_DAYS = 28 * 86_400
DOMAINS = ("finra", "prices", "web", "documents", "saas", "events")
BATCH_ROWS = 100_000
FAILS_EVERY, RETRIES_EVERY = 37, 50


def control_tower(bench: Bench) -> list[Line]:
    """Both databases against 2 s; half of the rows are runs, half their steps."""
    count = bench.sizes.ledger_rows // 2
    with bench.rig.place() as place:
        url = str(place.database_url)
        server = _looks(url, count, bench, lambda: bench.rig.settle(url))
    with bench.rig.sqlite_place() as place:
        file = _looks(f"sqlite:///{place.state}/ledger.sqlite", count, bench, lambda: None)
    note = f"{2 * count:,} rows, {len(DOMAINS)} domains; read, judged and written"
    return [
        line(
            f"control tower, {name}, against 2 s",
            "s",
            took,
            [2],
            at_most(1),
            note=note,
        )
        for name, took in (("PostgreSQL", server), ("SQLite", file))
    ]


def _looks(url: str, count: int, bench: Bench, settle: Callable[[], None]) -> list[float]:
    with Warehouse(url, clock=Clock(NOW)) as warehouse:
        warehouse.prepare(holds="demo")
        fill_ledger(warehouse, count)
        settle()
        return [_look(warehouse) for _ in range(bench.repeats)]


def fill_ledger(warehouse: Warehouse, count: int) -> None:
    """Store ``count`` runs, and as many steps."""
    for table in (operations_runs, operations_steps):
        for frame in _rows(table, count):
            with warehouse.writing() as connection:
                insert_frame(connection, table, frame)


def _look(warehouse: Warehouse) -> float:
    started = time.perf_counter()
    found = evaluate_health(read_observation(warehouse, NOW), [], now=NOW, machine_now=NOW)
    write_tower(warehouse, build_rows(found, NOW))
    return time.perf_counter() - started


def _rows(table: Table, count: int) -> Iterator[pl.DataFrame]:
    """Yield rows that end at times spread over 28 days, in no order, some of them failed."""
    for start in range(0, count, BATCH_ROWS):
        number = pl.int_range(start, min(start + BATCH_ROWS, count), eager=True).alias("number")
        yield _filled(pl.DataFrame([number]), table)


def _filled(numbers: pl.DataFrame, table: Table) -> pl.DataFrame:
    number = pl.col("number")
    failed = number % FAILS_EVERY == 0
    ago = (number * 7919) % SECONDS_IN_28_DAYS
    told = numbers.with_columns(
        run_id=pl.format("{}-{}", (number * 2_654_435_761) % 2**32, number),
        domain=(number % len(DOMAINS)).replace_strict(list(range(len(DOMAINS))), DOMAINS),
        status=pl.when(failed).then(pl.lit("FAILURE")).otherwise(pl.lit("SUCCESS")),
        error_category=pl.when(failed).then(pl.lit("source")),
        retry_of=pl.when(number % RETRIES_EVERY == 0).then(pl.lit("another")),
        ended_at=pl.lit(NOW) - pl.duration(seconds=ago),
        rows_landed=number % 1000,
    ).with_columns(asset=pl.format("{}/table_{}", "domain", number % 5))
    schema = derive_schema(table)
    usual = {pl.String: "x", pl.Int64: 1, pl.Float64: 1.0, pl.Boolean: True}
    others = [
        pl.lit(usual.get(type(kind), NOW)).cast(kind).alias(name)
        for name, kind in schema.items()
        if name not in told.columns
    ]
    return told.with_columns(others).select(
        pl.col(name).cast(kind) for name, kind in schema.items()
    )
