"""Loads of documents that a test may kill: the real job, in batches of a few files.

What a process does stands here, and what a test asks the database of it afterwards.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from orchestration_demo.documents.corpus import Expected
from sqlalchemy import select

from orchestration_project.assets.documents import loading as assets
from orchestration_project.cli.execution import execute
from orchestration_project.definitions import defs
from orchestration_project.domains.documents.extraction import Document
from orchestration_project.domains.documents.tables import documents, documents_files
from orchestration_project.instance.storage import open_instance
from orchestration_project.resources.documents.extraction import Extraction, Source
from orchestration_project.resources.documents.items import DocumentQueue
from orchestration_project.tables.schema import METADATA
from orchestration_project.tables.spine import work_items
from tests.databases import Rows, contents, rows
from tests.faults.loads import NOW, ItemOptions, Job
from tests.faults.places import Place
from tests.faults.points import Points

defs.get_repository_def()  # once, before processes are forked from this one

DAY = f"{NOW:%Y-%m-%d}"
SMALL_BATCHES, LARGE_BATCHES = ItemOptions(batch_size=2), ItemOptions(batch_size=200)
"""A run that may be killed has several transactions."""

EXTRACTED = "extracted"
"""File in the folder of a place: a line for each file that was given to the workers."""

OF_CHANCE: Mapping[str, Sequence[str]] = {
    "blobs": ("storage_uri", "byte_offset", "stored_byte_count"),
    "captures": ("request", "sha256"),
    "documents": ("parent_id",),
    "documents_files": ("unchanged_since",),
    "documents_reader_setups": ("fingerprint", "salt"),
    "work_items": ("version", "input_sha256", "due_at"),
}
"""Columns of chance, or of files that were loaded together: which of two equal ones, or of two
archives with an equal member, was first."""


def job_of(place: Place, files: Path, dagster_url: str, runs_before: int) -> Job:
    """Return a load of all files of the day; each one is a minute after the one before."""
    environment = {
        "STATE_DIR": str(place.folder),
        "DATABASE_URL": place.url,
        "DATA_PROFILE": "real",
        "DOCUMENTS_SOURCE": "folder",
        "DOCUMENTS_DIR": str(files),
        "DOCUMENTS_OCR": "never",
        "DOCUMENTS_STABLE_SECONDS": "0",
        "DEMO_CLOCK_NOW": (NOW + timedelta(minutes=runs_before)).isoformat(),
    }
    if dagster_url:
        environment["DAGSTER_DATABASE_URL"] = dagster_url
    return replace(place.job(""), environment=environment, items=SMALL_BATCHES)


def load_day(job: Job, points: Points) -> Iterator[str]:
    """Run the job as the command does; say when items are claimed, extracted and taken."""
    log = os.open(job.folder / EXTRACTED, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    class WatchedQueue(DocumentQueue):
        def claim(self, *topic: str, **how: Any) -> Any:
            points.begin_again()  # with the next batch
            claimed = super().claim(*topic, **how)
            points.passed(f"{len(claimed)} files are claimed", failure=None)
            return claimed

    class WatchedExtraction(Extraction):
        def extract(self, sources: Iterable[Source]) -> Iterator[Document]:
            for document in super().extract(map(noted, sources)):
                points.passed(f"{document.path[-1]!r} is extracted", failure=None)
                yield document
            points.passed("all are extracted", "captured", failure=None)

    def noted(source: Source) -> Source:
        os.write(log, f"{source.name.partition('/')[0]}\n".encode())
        points.passed(f"{source.name} is given to a worker", "capture begun", failure=None)
        return source

    assets.DocumentQueue, assets.Extraction = WatchedQueue, WatchedExtraction
    assets.MAX_FILES_PER_BATCH = job.items.batch_size
    with open_instance() as instance:
        result = execute(instance, assets.LOAD_JOB, between=(DAY, DAY))
        yield "success" if result.success else "failure"


def given_to_workers(place: Place) -> list[str]:
    """Return the ids of the documents that were given to the workers, one for each time."""
    file = place.folder / EXTRACTED
    return file.read_text().split() if file.exists() else []


def loaded_documents(place: Place) -> set[str]:
    """Return the ids of the documents that no run may extract again."""
    wanted = select(documents.c.document_id).where(documents.c.state.in_(["loaded", "empty"]))
    return {document_id for (document_id,) in rows(place.url, wanted)}


def outcomes(place: Place) -> dict[str, tuple[str, str]]:
    """Return state and reason code of the document of each path; of none: of its item."""
    columns = documents_files.c
    wanted = (
        select(columns.path, documents.c.state, documents.c.reason_code, work_items.c.state)
        .outerjoin(documents, documents.c.document_id == columns.document_id)
        .outerjoin(work_items, work_items.c.item_key == columns.path)
    )
    return {
        path: (state or f"item {item}", reason or "")
        for path, state, reason, item in rows(place.url, wanted)
    }


def as_promised(expected: Expected, found: tuple[str, str]) -> bool:
    """Return whether a file ended as the manifest says; notes beside text may be others."""
    state, reason_code = found
    is_noted = expected.state == "loaded" and not expected.reason_code
    return state == expected.state and (is_noted or reason_code == expected.reason_code)


def known_of(place: Place) -> Mapping[str, Rows]:
    """Return what two loads of the same files must agree on, by table, sorted."""
    found: dict[str, Rows] = {}
    for name, lines in contents(place.url).items():
        table = METADATA.tables[name]
        if name not in OF_CHANCE:
            found[name] = lines
            continue
        kept = [
            column
            for column in table.columns
            if column.name not in OF_CHANCE[name]
            and not column.name.endswith(
                ("_at", "run_id", "trace_id", "_token", "attempt_count", "allowed_count")
            )
            and not column.name.startswith("known_")
            and column.name != "url"
        ]
        found[name] = sorted(rows(place.url, select(*kept)), key=repr)
    return found
