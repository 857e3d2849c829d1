"""Restore of a backup, against a plain copy of the same bytes; both are on disk afterwards."""

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.report import Line, at_least, line
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.migrations import VERSION_TABLE
from orchestration_project.resources.operations.backup_objects import at_once
from orchestration_project.resources.operations.backups import Installation, back_up
from orchestration_project.resources.operations.restores import open_restore
from orchestration_project.resources.operations.sqlite_dumps import SqliteFiles

ARTIFACT_BYTES = 20_000

MIB = 2**20


def restores(bench: Bench) -> list[Line]:
    """MiB a second of a restore: artifacts of 20 KB, and as many bytes in a database."""
    count = bench.sizes.small_captures
    with _backed_up(count) as place:
        sides = {"restore": lambda: _restored(place), "copy": lambda: _copied(place)}
        found = bench.in_turns(sides, at_most=3)
    speeds = {
        name: [each["bytes"] / MIB / each["seconds"] for each in repeats]
        for name, repeats in found.items()
    }
    size = found["copy"][0]["bytes"] / MIB
    return [
        line(
            "restore of a backup in a folder, against a plain copy of the same bytes",
            "MiB/s",
            speeds["restore"],
            speeds["copy"],
            at_least(0.5),
            note=f"{count:,} artifacts and a database of SQLite, {size:,.0f} MiB; every SHA-256 "
            "and number of rows is compared; both end with a sync",
        )
    ]


@contextmanager
def _backed_up(count: int) -> Iterator[Path]:
    """Make an installation and back it up; give the folder of backups."""
    with tempfile.TemporaryDirectory(prefix="backups_") as folder:
        own, place = Path(folder) / "own", Path(folder) / "place"
        installation = _installation(own)
        warehouse = Warehouse(f"sqlite:///{own}/tables.sqlite", clock=Clock())
        with closing(warehouse):
            warehouse.prepare(holds="real")
            with closing(sqlite3.connect(own / "tables.sqlite")) as driver, driver:
                driver.execute("CREATE TABLE filler (content BLOB)")
                rows = ((os.urandom(ARTIFACT_BYTES),) for _ in range(count))
                driver.executemany("INSERT INTO filler VALUES (?)", rows)
            for _ in at_once(lambda number: _put(installation.store, number), range(count)):
                pass
            back_up(installation, warehouse, FolderStore(place), Clock())
        shutil.rmtree(own)
        yield place


def _put(store: Any, number: int) -> None:
    store.put(f"blobs/{number % 256:02x}/{number}.zst", os.urandom(ARTIFACT_BYTES))


def _installation(folder: Path) -> Installation:
    for name in ("artifacts", "dagster", "spool"):
        (folder / name).mkdir(parents=True)
    return Installation(
        SqliteFiles(
            "project/", folder, ["tables.sqlite"], VERSION_TABLE, stored_as="tables.sqlite"
        ),
        SqliteFiles("dagster/", folder / "dagster", ["history/runs.db"], "alembic_version"),
        FolderStore(folder / "artifacts"),
        data="real",
        release="",
        dagster="",
        spool=folder / "spool",
    )


def _restored(place: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="restored_") as folder:
        os.sync()
        begun = time.perf_counter()
        restore = open_restore(FolderStore(place), None, _installation(Path(folder)))
        restore.refuse(None)
        restore.run(lambda _: None)
        restore.check_rows()
        os.sync()
        seconds = time.perf_counter() - begun
    return {"seconds": seconds, "bytes": _bytes_below(place)}


def _copied(place: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="copied_") as folder:
        os.sync()
        begun = time.perf_counter()
        shutil.copytree(place, Path(folder) / "copy")
        os.sync()
        seconds = time.perf_counter() - begun
    return {"seconds": seconds, "bytes": _bytes_below(place)}


def _bytes_below(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
