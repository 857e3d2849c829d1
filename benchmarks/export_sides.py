"""Measured programs of exports: a table is filled, and exported by the service and the command.

Each function is called in a process of its own (`child.py`).
"""

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from typing import Any

import polars as pl
import pyarrow as pa
from pyarrow.parquet import ParquetWriter
from sqlalchemy import insert, text

from orchestration_project.__main__ import main
from orchestration_project.client import Client
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.exports import read_exports
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.contracts.values import fit_to_table
from orchestration_project.engine.dagster_private.automation import is_valid_cron_string
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.engine.warehouse.bulk import MANY_ROWS
from orchestration_project.engine.warehouse.frames import insert_frame
from orchestration_project.services.access import Keys
from orchestration_project.services.exports.targets import Surroundings
from orchestration_project.services.exports.work import Exports
from orchestration_project.settings import load_settings
from orchestration_project.tables.schema import key_names
from orchestration_project.tables.spine import fences

BATCH_ROWS = 100_000
LOADED_AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
WEEK = date(2025, 11, 10)
PANDAS_ROWS = 50_000
IMPORTED_LATE = (
    *("orchestration_project.cli.export", "pgpq", "psycopg", "pyarrow.parquet"),
    "adbc_driver_sqlite.dbapi",
)
EXPORTS = "exports: {bench: {table: finra_otc_weekly}}"


def fill_week(*, count: int) -> dict[str, Any]:
    """Insert rows of a week, and a fence that says when they were loaded."""
    with open_warehouse(load_settings()) as warehouse, warehouse.writing() as connection:
        for frame in _rows(count):
            insert_frame(connection, finra_otc_weekly, frame)
        fence = {
            "table_name": finra_otc_weekly.name,
            "scope_key": f"T1|{WEEK}",
            "token": 1,
            "known_from": LOADED_AT,
            "landed_at": LOADED_AT,
        }
        connection.execute(insert(fences), fence)
    return {}


def export_by_service() -> dict[str, Any]:
    """Export the table to the artifact store under a new name; return seconds."""
    settings = load_settings()
    _warm()
    [declared] = read_exports(EXPORTS, is_valid_cron_string).values()
    declared = declared._replace(name=f"bench_{time.time_ns()}")
    with open_warehouse(settings) as warehouse:
        given = Surroundings(settings, open_store(settings))
        work = Exports(warehouse, given, open_clock(settings))
        started = time.perf_counter()
        result = work.run(declared, run_id="bench", is_under_way=lambda _: False)
        seconds = time.perf_counter() - started
    if result.export is None:
        raise RuntimeError(result.detail)
    return {"seconds": seconds, "rows": result.export.row_count}


def export_by_command() -> dict[str, Any]:
    """Export the table to a file by the command; return seconds."""
    file = load_settings().state_path / f"bench_{time.time_ns()}.parquet"
    _warm()
    started = time.perf_counter()
    status = main(["export", finra_otc_weekly.name, "--output", str(file)])
    seconds = time.perf_counter() - started
    if status:
        raise RuntimeError(f"the command ended with {status}")
    return {"seconds": seconds}


def export_by_pandas() -> dict[str, Any]:
    """Export the table by pandas, which reads it in pieces; return seconds."""
    import pandas as pd

    file = load_settings().state_path / f"bench_{time.time_ns()}.parquet"
    with open_warehouse(load_settings()) as warehouse, warehouse.reading() as connection:
        started = time.perf_counter()
        order = ", ".join(key_names(finra_otc_weekly))
        query = text(f"SELECT * FROM {finra_otc_weekly.name} ORDER BY {order}")  # noqa: S608 - ours
        writer = None
        for piece in pd.read_sql_query(query, connection, chunksize=PANDAS_ROWS):
            rows = pa.Table.from_pandas(piece.convert_dtypes(), preserve_index=False)
            writer = writer or ParquetWriter(file, rows.schema, compression="zstd")
            writer.write_table(rows.cast(writer.schema))
        if writer is not None:
            writer.close()
        return {"seconds": time.perf_counter() - started}


def api_key() -> dict[str, str]:
    """Make a key of the API and return it."""
    with open_warehouse(load_settings()) as warehouse:
        keys = Keys(warehouse, Clock())
        key = keys.create(owner="bench", role=Role.VIEWER, lasts=timedelta(days=1))
        return {"key": str(key)}


def frames_by_client(*, url: str, key: str, repeats: int) -> dict[str, Any]:
    """Have the client return the rows of the week as a frame; return the seconds of each time."""
    where = [f"week_start={WEEK}", "tier=T1"]
    seconds, rows = [], 0
    with Client(url, key) as client:
        client.frame(finra_otc_weekly.name, where=where, limit=MANY_ROWS + 1)  # imports, both sides
        for _ in range(repeats):
            started = time.perf_counter()
            rows = len(client.frame(finra_otc_weekly.name, where=where))
            seconds.append(time.perf_counter() - started)
    return {"each": seconds, "rows": rows}


def _warm() -> None:
    with open_warehouse(load_settings()):
        for name in IMPORTED_LATE:
            import_module(name)


def _rows(count: int) -> Iterator[pl.DataFrame]:
    """Yield rows of a week: as many symbols as it takes, ten venues each."""
    for start in range(0, count, BATCH_ROWS):
        number = pl.int_range(start, min(start + BATCH_ROWS, count), eager=True).alias("number")
        symbol = pl.format("S{}", (pl.col("number") // 10).cast(pl.String).str.zfill(7))
        venue = pl.format("V{}", pl.col("number") % 10)
        values = {
            "week_start": pl.lit(WEEK),
            "tier": pl.lit("T1"),
            "market": pl.lit("ATS"),
            "symbol": symbol,
            "venue_id": venue,
            "week_end": pl.lit(date(2025, 11, 14)),
            "mpid": venue,
            "firm_crd_number": pl.col("number") % 997,
            "participant_name": pl.format("{} LLC", venue),
            "issue_name": pl.format("{} Inc. Common Stock", symbol),
            "share_quantity": pl.col("number") * 7 % 1_000_003,
            "trade_count": pl.col("number") % 89 + 1,
            "notional_usd": pl.col("number") * 13_000_000 % 999_999_937,
            "product_type": pl.lit(None),
            "initial_published_date": pl.lit(date(2025, 12, 1)),
            "last_update_date": pl.lit(date(2025, 12, 1)),
            "last_reported_date": pl.lit(None),
            "capture_id": pl.lit(1),
            "known_from": pl.lit(LOADED_AT),
        }
        frame = number.to_frame().select(**values)
        yield fit_to_table(frame, finra_otc_weekly)
