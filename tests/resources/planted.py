"""A text planted in every table, artifact and log, and looked for byte by byte."""

import base64
import io
import json
import sqlite3
import zipfile
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import zstandard
from sqlalchemy import BigInteger, Boolean, Date, Double, String, insert, select

from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.erasure.rows import UNMASKED, UNMASKED_COLUMNS
from orchestration_project.tables.catalogue import tables
from orchestration_project.tables.schema import Quantity, UtcTimestamp
from orchestration_project.tables.spine import inbox
from tests.resources.weeks import NOON


def plant(warehouse: Warehouse, text: str) -> int:
    """Insert a row into every table whose texts all have the text; return the number of tables.

    Columns of hashes and numbers alone, which no erasure masks, do not have it.
    """
    planted = [table for table in tables() if table not in UNMASKED]
    with warehouse.writing() as connection:
        for each in planted:
            connection.execute(
                insert(each),
                [{c.key: _value(c, "" if c in UNMASKED_COLUMNS else text) for c in each.columns}],
            )
    return len(planted)


def _value(column: Any, text: str) -> Any:
    if column is inbox.c.body:
        return base64.b64encode(text.encode()).decode()
    values = {
        String: f"{column.name}: {text}; {json.dumps(text)}",
        UtcTimestamp: NOON,
        Date: date(2026, 1, 5),
        BigInteger: 7,
        Quantity: 7,
        Boolean: True,
        Double: 0.5,
    }
    return next(value for kind, value in values.items() if isinstance(column.type, kind))


def contents(content: bytes) -> list[bytes]:
    """Return bytes as they lie, and as they are decompressed."""
    found = [content]
    if content[:4] == zstandard.FRAME_HEADER:
        reader = zstandard.ZstdDecompressor().stream_reader(
            io.BytesIO(content), read_across_frames=True
        )
        found.append(reader.read())
    elif content[:4] == b"PAR1":
        found.append(str(pl.read_parquet(io.BytesIO(content)).to_dicts()).encode())
    elif content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [archive.read(name) for name in archive.namelist()]
        found += [part for member in members for part in contents(member)]
    return found


def places_of(text: str, folder: Path, store: ArtifactStore) -> list[str]:
    """Return every file and object with a text, whatever its letters' case."""
    lain = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    lain |= {stored_object.name: store.get(stored_object.name) for stored_object in store.listed()}
    searched = [text.encode(), base64.b64encode(text.encode()), text.replace("@", "%40").encode()]
    return [
        name
        for name, content in lain.items()
        for each in contents(content)
        if any(one.lower() in each.lower() for one in searched)
    ]


def zipped(text: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tables/rows.jsonl", text)
    return file.getvalue()


def parquet(text: str) -> bytes:
    file = io.BytesIO()
    pl.DataFrame({"a": [1], "text": [text]}).write_parquet(file)
    return file.getvalue()


def plant_artifacts(store: ArtifactStore, folder: Path, text: str) -> None:
    """Put the text into an artifact of each kind, and into files of each kind."""
    store.put("staged/finra/a.parquet", parquet(text))
    store.put("plots/prices/b.svg", f"<svg><title>{text}</title></svg>".encode())
    store.put("evidence/c.zip", zipped(text))
    store.put("blobs/aa/orphan.zst", zstandard.ZstdCompressor().compress(text.encode()))
    (folder / "evidence").mkdir()
    (folder / "evidence" / "run.zip").write_bytes(zipped(text))
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "logs" / "run.err").write_text(f"before\nfor {text.upper()}: failed\nafter\n")
    (folder / "logs" / "wide.out").write_bytes(f"x {text} y".encode("utf-16"))
    with closing(sqlite3.connect(folder / "cache.sqlite")) as cache, cache:
        cache.execute("PRAGMA journal_mode = WAL")
        cache.execute("CREATE TABLE cached (name TEXT PRIMARY KEY, body BLOB) WITHOUT ROWID")
        cache.execute("INSERT INTO cached VALUES (?, ?)", (text, text.encode()))
        cache.execute("INSERT INTO cached VALUES ('gone', ?)", (f"{text} was here",))
        cache.execute("DELETE FROM cached WHERE name = 'gone'")


@dg.op(config_schema={"who": str})
def mention(context: dg.OpExecutionContext) -> None:
    context.log.info(f"worked for {context.op_config['who']}")
    context.log_event(dg.AssetMaterialization("a", metadata={"who": context.op_config["who"]}))


@dg.job
def mentioning() -> None:
    mention()


DATA_FOLDER = """SELECT current_setting('data_directory'), oid FROM pg_database
WHERE datname = current_database()"""


def flush(warehouse: Warehouse) -> None:
    """Have PostgreSQL write all pages to its files."""
    with warehouse.writing() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("CHECKPOINT")


def in_database(warehouse: Warehouse, text: str) -> list[str]:
    """Return the tables, and files of PostgreSQL's data, that have a text."""
    with warehouse.reading() as connection:
        found = [
            table.name
            for table in tables()
            for row in connection.execute(select(table))
            if any(text in decoded(value) for value in row)
        ]
        if connection.dialect.name != "postgresql":
            return found
        folder, oid = connection.exec_driver_sql(DATA_FOLDER).one()
        files = [path for path in Path(folder, "base", str(oid)).iterdir() if path.is_file()]
    return found + [str(path) for path in files if text.encode() in path.read_bytes()]


def decoded(value: Any) -> str:
    text = str(value)
    try:
        return text + base64.b64decode(text, validate=True).decode()
    except ValueError:
        return text
