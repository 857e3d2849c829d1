"""Measured programs of documents: ours, in parts and as a whole, bare PDFium and markitdown.

Each function is called in a process of its own (`child.py`). Imports and the start of workers are
before the clock, on both sides.
"""

import json
import multiprocessing
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import psutil

from benchmarks.ours import IMPORTED_LATE, INTO_POSTGRESQL
from orchestration_project.domains.documents.extraction import extract_all
from orchestration_project.resources.documents.extraction import Extraction, Source, read_file

DAY = "2026-04-06"
MIB = 1024**2
SAMPLES_A_SECOND = 20
PEER_WORKERS = 2


def _files(folder: str) -> list[Path]:
    return sorted(path for path in Path(folder).rglob("*") if path.is_file())


def extract(*, folder: str, workers: int) -> dict[str, Any]:
    """Extract all files of a folder in worker processes, without database and store."""
    files = _files(folder)
    sources = [
        Source(path.name, lambda path=path: read_file(path, max_bytes=MIB)) for path in files
    ]
    with Extraction(workers=workers) as extraction:
        some = max(len(sources) // 10, 20)
        list(extraction.extract(sources[:some]))  # workers have their readers
        started = time.perf_counter()
        count = sum(1 for _ in extraction.extract(sources))
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "files": len(files), "documents": count}


def load(*, files: int) -> dict[str, Any]:
    """Load a folder by the job, in one run; return seconds, and the peak memory of all processes.

    The memory is the proportional set size of this process and its workers together.
    """
    from orchestration_project.definitions import defs
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.settings import load_settings

    with open_warehouse(load_settings()):
        pass  # which makes the tables
    for name in (*IMPORTED_LATE, *INTO_POSTGRESQL):
        import_module(name)
    job = defs.resolve_job_def("documents_load")
    with dg.DagsterInstance.get() as instance, _watched_memory() as memory:
        started, busy = time.perf_counter(), time.process_time()
        result = job.execute_in_process(instance=instance, partition_key=DAY)
        seconds, busy = time.perf_counter() - started, time.process_time() - busy
    metadata = next(
        event.step_materialization_data.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key and event.asset_key.path[-1] == "capture"
    )
    counts = {
        name.removesuffix("_document_count"): value.value
        for name, value in metadata.items()
        if name.endswith("_document_count")
    }
    ended = sum(int(str(each)) for each in counts.values())
    if ended != files:
        raise RuntimeError(f"{files} files are there, {ended} ended: {counts}")
    return {"seconds": seconds, "cpu": busy, "files": ended, "peak": max(memory) / MIB}


@contextmanager
def _watched_memory() -> Iterator[list[int]]:
    """Give the bytes that this process and those that it started have, sampled meanwhile."""
    found, own, end = [0], psutil.Process(), threading.Event()

    def watch() -> None:
        while not end.wait(1 / SAMPLES_A_SECOND):
            found.append(sum(map(_proportional, [own, *own.children(recursive=True)])))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        end.set()
        thread.join()


def _proportional(process: psutil.Process) -> int:
    """Return the proportional set size of a process; shared pages count once for all of them."""
    try:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return (
        next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) * 1024
    )


def pdf(*, file: str) -> dict[str, Any]:
    """Read the pages of a PDF by our reader, and by pypdfium2 alone."""
    from pypdfium2 import PdfDocument

    content = Path(file).read_bytes()

    def ours() -> int:
        [found] = extract_all(content, name="a.pdf")
        return len(found.extracted.pages)

    def bare() -> int:
        document = PdfDocument(content)
        for page in document:
            text_page = page.get_textpage()
            text_page.get_text_range()
            text_page.close()
            page.close()
        return len(document)

    speeds: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(4):
        for name, side in (("ours", ours), ("bare", bare)):
            started = time.perf_counter()
            count = side()
            speeds[name].append(count / (time.perf_counter() - started))
    return {name: sorted(found[1:])[1] for name, found in speeds.items()}  # without the first one


@cache
def _converter() -> Any:
    from markitdown import MarkItDown  # pyright: ignore[reportMissingImports] - as its peers

    return MarkItDown()


def _converted(path: str) -> str:
    """Return the text that markitdown finds; empty: it raised an error."""
    try:
        return _converter().convert(path).text_content
    except Exception:  # noqa: BLE001 - of any of its readers
        return ""


def convert(*, folder: str) -> dict[str, Any]:
    """Convert the files of a folder by markitdown in two processes that are warm."""
    files = [str(path) for path in _files(folder)]
    some = files[:PEER_WORKERS] * 2
    with multiprocessing.get_context("spawn").Pool(PEER_WORKERS) as pool:
        list(pool.imap_unordered(_converted, some))
        started = time.perf_counter()
        failed = sum(not text for text in pool.imap_unordered(_converted, files, chunksize=4))
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "files": len(files), "failed": failed}


def recall(*, folder: str, peer: list[str]) -> dict[str, Any]:
    """Count the known words of a corpus that each side finds, by format.

    Args:
        folder: Of the corpus.
        peer: Formats that markitdown reads.
    """
    wanted, ours, theirs = Counter[str](), Counter[str](), Counter[str]()
    for path, words in _known_words(folder).items():
        kind = path.suffix[1:]
        text = "\n".join(
            each.extracted.text for each in extract_all(path.read_bytes(), name=path.name)
        )
        wanted[kind] += len(words)
        ours[kind] += sum(word in text for word in words)
        if kind in peer:
            converted = _converted(str(path))
            theirs[kind] += sum(word in converted for word in words)
    return {"wanted": wanted, "ours": ours, "theirs": theirs}


def _known_words(folder: str) -> Mapping[Path, list[str]]:
    with (Path(folder) / "manifest.jsonl").open() as manifest:
        lines = [json.loads(line) for line in manifest]
    return {
        Path(folder) / "files" / line["path"]: line["words"]
        for line in lines
        if line["words"] and not line["reason_code"]
    }
