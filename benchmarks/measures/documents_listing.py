"""A poll of many unchanged files of a folder, against a bare walk with `os.scandir` and stat."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from sqlalchemy import update

from benchmarks.bench import Bench
from benchmarks.report import Line, at_most, line
from orchestration_project.domains.documents.tables import documents_files
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.documents.arrivals import Arrivals
from orchestration_project.resources.documents.folder import DocumentFolder
from orchestration_project.tables.spine import work_items

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
FILES_PER_FOLDER = 1_000


def documents_listing(bench: Bench) -> list[Line]:
    """Seconds of a listing, and of a poll that compares it with the rows of loaded files."""
    count = bench.sizes.document_files
    with bench.rig.sqlite_place() as place:
        folder = place.state / "files"
        _fill(folder, count)
        files = DocumentFolder(folder, "DOCUMENTS_DIR")
        found = {"listing alone": _against(bench, folder, lambda: _list(files))}
        url = f"sqlite:///{place.state}/documents.sqlite"
        found["poll, SQLite"] = _polls(url, files, folder, bench, lambda: None)
        with bench.rig.place() as server:
            url = str(server.database_url)
            settle = bench.rig.settle
            found["poll, PostgreSQL"] = _polls(url, files, folder, bench, lambda: settle(url))
    note = f"{count:,} files in folders of {FILES_PER_FOLDER:,}, all loaded"
    return [
        line(
            f"documents: {name}, against a bare scandir with stat",
            "s",
            ours,
            bare,
            at_most(3),
            note=f"{note}; {count / median(ours):,.0f} files/s",
        )
        for name, (ours, bare) in found.items()
    ]


def _fill(folder: Path, count: int) -> None:
    for start in range(0, count, FILES_PER_FOLDER):
        below = folder / f"{start // FILES_PER_FOLDER:04}"
        below.mkdir(parents=True)
        for number in range(start, min(start + FILES_PER_FOLDER, count)):
            (below / f"document {number:07}.txt").write_bytes(b"x" * (number % 100))


def _polls(
    url: str, files: DocumentFolder, folder: Path, bench: Bench, settle: Callable[[], None]
) -> tuple[list[float], list[float]]:
    with Warehouse(url, clock=Clock(NOW)) as warehouse:
        warehouse.prepare(holds="demo")
        arrivals = Arrivals(files, warehouse, Clock(NOW), timedelta(0), "documents")
        arrivals.poll()
        with warehouse.writing() as connection:
            connection.execute(update(documents_files).values(state="loaded", document_id="x"))
            connection.execute(update(work_items).values(state="done"))
        settle()

        def poll() -> None:
            arrivals.poll()
            if arrivals.due():
                raise AssertionError("no file is due")

        return _against(bench, folder, poll)


def _list(files: DocumentFolder) -> None:
    for _ in files.listing().files:
        pass


def _against(
    bench: Bench, folder: Path, ours: Callable[[], None]
) -> tuple[list[float], list[float]]:
    """Return the seconds of ours and of the bare walk, in turns and after one of each."""
    _seconds(lambda: _walk(folder))
    _seconds(ours)
    pairs = [
        (_seconds(ours), _seconds(lambda: _walk(folder))) for _ in range(2 * bench.repeats + 1)
    ]
    return [each[0] for each in pairs], [each[1] for each in pairs]


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _walk(folder: Path) -> None:
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    entry.stat()
