"""The peers, and the limit: others' ways to bring the same pages into a keyed table.

Each function is called in a process of its own (`child.py`), makes its table before its clock
starts, and returns the seconds and how many rows by symbol and firm are in the table afterwards.
Libraries that only a peer needs are imported where that peer is measured, before its clock, and
so is its HTTP client made, which reads the certificates that are trusted.
"""

import io
import sqlite3
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import polars as pl
import psycopg
from pgpq import ArrowToPostgresBinaryEncoder
from sqlalchemy import make_url

from benchmarks.source import PAGE_ROWS
from orchestration_project.domains.finra.contract import API_FIELDS

KEY = (
    *("weekStartDate", "tierIdentifier", "summaryTypeCode", "issueSymbolIdentifier", "MPID"),
    *("firmCRDNumber", "marketParticipantName"),
)
DATES = (
    *("weekStartDate", "summaryStartDate", "initialPublishedDate", "lastUpdateDate"),
    "lastReportedDate",
)
NUMBERS = ("totalWeeklyTradeCount", "totalWeeklyShareQuantity")
AMOUNT = "totalNotionalSum"
FIRM_ROWS = "%_SMBL_FIRM"
TABLE = "peer_weekly"


def raw_copy(*, url: str, database_url: str, weeks: list[str], tier: str) -> dict[str, Any]:
    """Pipe each page's body into a text COPY; nothing is looked at but the header's end."""
    with psycopg.connect(database_url, autocommit=True) as connection, httpx.Client() as http:
        connection.execute(_ddl("postgresql").encode())
        started = time.perf_counter()
        for week in weeks:
            copy_from = f"COPY {TABLE} FROM STDIN (FORMAT text, DELIMITER '|', NULL '\\N')"
            with connection.cursor() as cursor, cursor.copy(copy_from.encode()) as copy:
                for body in _pages(http, url, week, tier):
                    copy.write(body[body.index(b"\n") + 1 :])
        return _report(database_url, time.perf_counter() - started)


def binary_copy(*, url: str, database_url: str, weeks: list[str], tier: str) -> dict[str, Any]:
    """Send rows that were fetched, typed, sorted and encoded before the clock started."""
    ready = [_encoded(_sorted_rows(url, week, tier)) for week in weeks]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_ddl("postgresql").encode())
        started = time.perf_counter()
        for encoded in ready:
            statement = f"COPY {TABLE} FROM STDIN WITH (FORMAT BINARY)".encode()
            with connection.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(encoded)
        return _report(database_url, time.perf_counter() - started)


def dlt_default(
    *, url: str, database_url: str, weeks: list[str], tier: str, folder: str
) -> dict[str, Any]:
    """dlt as its documentation starts: dictionaries, merged by primary key."""

    http = httpx.Client()

    def rows() -> Iterator[dict[str, object]]:
        for week in weeks:
            for body in _pages(http, url, week, tier):
                yield from _typed(body).iter_rows(named=True)

    with http:
        return _with_dlt(rows, database_url, folder, {})


def dlt_tuned(
    *, url: str, database_url: str, weeks: list[str], tier: str, folder: str
) -> dict[str, Any]:
    """dlt at its best: Arrow tables, Parquet files, loaded by ADBC, merged by primary key."""

    http = httpx.Client()

    def tables() -> Iterator[Any]:
        for week in weeks:
            pages = [_typed(body) for body in _pages(http, url, week, tier)]
            yield pl.concat(pages).to_arrow(compat_level=pl.CompatLevel.oldest())

    _warm("adbc_driver_manager.dbapi", "dlt.common.libs.pyarrow", "pandas", "pyarrow.dataset")
    with http:
        return _with_dlt(tables, database_url, folder, {"loader_file_format": "parquet"})


def _with_dlt(rows: Any, database_url: str, folder: str, options: dict[str, Any]) -> dict[str, Any]:
    import dlt

    _warm("dlt.destinations.impl.postgres.postgres", "netrc")
    resource = dlt.resource(
        rows, name=TABLE, write_disposition="merge", primary_key=[_snake(name) for name in KEY]
    )
    pipeline = dlt.pipeline(
        "peer",
        pipelines_dir=folder,
        destination=dlt.destinations.postgres(_with_socket_as_host(database_url)),
        dataset_name="peer",
    )
    started = time.perf_counter()
    pipeline.run(resource, **options)
    seconds = time.perf_counter() - started
    where = f"peer.{TABLE} WHERE summary_type_code LIKE '{FIRM_ROWS}'"
    return {"seconds": seconds, "firm_rows": _count(database_url, where)}


def to_sql(*, url: str, database_url: str, weeks: list[str], tier: str) -> dict[str, Any]:
    """pandas: read_csv that keeps `NA` a symbol, then to_sql through psycopg2."""
    import pandas as pd
    from sqlalchemy import create_engine  # noqa: TID251 - a peer's own connection

    _make_table(database_url)
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg2://"))
    texts = dict.fromkeys(set(API_FIELDS) - {*NUMBERS, AMOUNT}, "str")
    engine.connect().close()
    _warm("pyarrow.pandas_compat")
    with httpx.Client() as http:
        started = time.perf_counter()
        for week in weeks:
            for body in _pages(http, url, week, tier):
                options: dict[str, Any] = {"sep": "|", "keep_default_na": False, "dtype": texts}
                frame = pd.read_csv(io.BytesIO(body), **options)
                frame.to_sql(TABLE, engine, if_exists="append", index=False)
        return _report(database_url, time.perf_counter() - started)


def write_database(*, url: str, database_url: str, weeks: list[str], tier: str) -> dict[str, Any]:
    """polars: read_csv, then write_database through ADBC, a partition at a time."""
    _warm("adbc_driver_postgresql.dbapi", "importlib.resources.readers")
    _make_table(database_url)
    with httpx.Client() as http:
        started = time.perf_counter()
        for week in weeks:
            frame = pl.concat([_typed(body) for body in _pages(http, url, week, tier)])
            frame.write_database(TABLE, database_url, if_table_exists="append", engine="adbc")
        return _report(database_url, time.perf_counter() - started)


def sqlite_adbc(*, url: str, file: str, weeks: list[str], tier: str) -> dict[str, Any]:
    """Insert rows that were fetched, typed and sorted before the clock started, through ADBC."""
    from adbc_driver_sqlite import dbapi

    ready = [
        _sorted_rows(url, week, tier)
        .with_columns(pl.col(pl.Date).dt.to_string("iso"))
        .to_arrow(compat_level=pl.CompatLevel.oldest())
        for week in weeks
    ]
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    with dbapi.connect(file, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", _ddl("sqlite")):
            cursor.execute(statement)
            cursor.fetchall() if statement.startswith("PRAGMA journal") else None
        started = time.perf_counter()
        for rows in ready:
            cursor.adbc_ingest(TABLE, rows, mode="append")
        seconds = time.perf_counter() - started
    with sqlite3.connect(file) as reader:
        query = f"SELECT count(*) FROM {TABLE} WHERE summaryTypeCode LIKE ?"  # noqa: S608 - ours
        return {"seconds": seconds, "firm_rows": reader.execute(query, [FIRM_ROWS]).fetchone()[0]}


def _warm(*modules: str) -> None:
    """Import what a peer would import within its clock, besides what this module does."""
    for name in ("encodings.idna", *modules):
        import_module(name)


def _pages(http: httpx.Client, url: str, week: str, tier: str) -> Iterator[bytes]:
    """Yield a partition's pages, one request after the other."""
    offset, total = 0, 1
    while offset < total:
        requested = {
            "limit": PAGE_ROWS,
            "offset": offset,
            "compareFilters": [
                {"fieldName": "weekStartDate", "fieldValue": week},
                {"fieldName": "tierIdentifier", "fieldValue": tier},
            ],
        }
        answer = http.post(f"{url}/data/group/otcMarket/name/weeklySummary", json=requested)
        answer.raise_for_status()
        total = int(answer.headers["record-total"])
        offset += PAGE_ROWS
        yield answer.content


def _typed(body: bytes) -> pl.DataFrame:
    """Return a page as typed rows, blanks as blanks."""
    texts = pl.read_csv(
        body, separator="|", quote_char=None, infer_schema=False, empty_string_is_null=False
    )
    return texts.with_columns(
        pl.col(DATES).str.to_date(), pl.col(NUMBERS).cast(pl.Int64), pl.col(AMOUNT).cast(pl.Float64)
    )


def _sorted_rows(url: str, week: str, tier: str) -> pl.DataFrame:
    with httpx.Client() as http:
        return pl.concat([_typed(body) for body in _pages(http, url, week, tier)]).sort(KEY)


def _encoded(rows: pl.DataFrame) -> bytes:
    """Return ``rows`` as PostgreSQL reads them in binary."""
    batches = rows.to_arrow(compat_level=pl.CompatLevel.oldest()).to_batches()
    encoder = ArrowToPostgresBinaryEncoder(batches[0].schema)
    pieces = [encoder.write_header(), *map(encoder.write_batch, batches), encoder.finish()]
    return b"".join(pieces)


def _ddl(backend: str) -> str:
    """Return the table of all 17 fields, typed, keyed and logged."""
    text = "TEXT" if backend == "sqlite" else 'TEXT COLLATE "C"'
    types = dict.fromkeys(API_FIELDS, text)
    types |= dict.fromkeys(DATES, "TEXT" if backend == "sqlite" else "DATE")
    types |= dict.fromkeys(NUMBERS, "BIGINT") | {AMOUNT: "DOUBLE PRECISION"}
    columns = ", ".join(f'"{name}" {kind}' for name, kind in types.items())
    key = ", ".join(f'"{name}"' for name in KEY)
    end = " WITHOUT ROWID" if backend == "sqlite" else ""
    return f"CREATE TABLE {TABLE} ({columns}, PRIMARY KEY ({key})){end}"


def _make_table(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(_ddl("postgresql").encode())


def _report(database_url: str, seconds: float) -> dict[str, Any]:
    where = f"{TABLE} WHERE \"summaryTypeCode\" LIKE '{FIRM_ROWS}'"
    return {"seconds": seconds, "firm_rows": _count(database_url, where)}


def _count(database_url: str, where: str) -> int:
    with psycopg.connect(database_url) as connection:
        found = connection.execute(f"SELECT count(*) FROM {where}".encode()).fetchone()  # noqa: S608 - ours
    return found[0] if found else 0


def _with_socket_as_host(database_url: str) -> str:
    """Return the URL with the server's socket where dlt looks for a host."""
    url = make_url(database_url)
    return str(url.set(host=quote(str(url.query["host"]), safe=""), query={}))


def _snake(name: str) -> str:
    """Return a field's name as dlt will call its column."""
    from dlt.common.normalizers.naming.snake_case import (
        NamingConvention,
    )

    return NamingConvention().normalize_identifier(name)
