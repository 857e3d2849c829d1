"""The sensor of documents under a real daemon: 2,000 mixed files end as their manifest says."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from orchestration_demo.documents.corpus import write_corpus
from sqlalchemy import func, select

from orchestration_project.domains.documents.tables import documents, documents_files
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables.operations_runs import operations_runs
from orchestration_project.tables.spine import work_items
from tests import databases, programs
from tests.prepared import Prepared
from tests.slow import hurried_documents
from tests.slow.test_sensors_under_the_daemon import Daemon

pytestmark = pytest.mark.slow

COUNT, SEED = 2_000, 20_260_302
END_SECONDS = 3_000


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, prepared: Prepared, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "postgresql":
        return prepared.postgresql()
    return prepared.sqlite(tmp_path / "documents.sqlite")


def settled(url: str) -> int:
    """Return how many files a run has dealt with."""
    columns = work_items.c
    is_settled = columns.state.in_(["done", "skipped", "failed", "dead"])
    wanted = select(func.count()).where(is_settled, columns.topic.startswith("documents/"))
    [(count,)] = databases.rows(url, wanted)
    return count


def outcomes(url: str) -> dict[str, tuple[str, str]]:
    """Return state and reason code of the document of each path."""
    wanted = select(documents_files.c.path, documents.c.state, documents.c.reason_code).join(
        documents, documents.c.document_id == documents_files.c.document_id
    )
    return {path: (state, code or "") for path, state, code in databases.rows(url, wanted)}


def as_found(expected: Mapping[str, Any], found: tuple[str, str]) -> tuple[str, str]:
    """Return what the manifest expects; of a loaded file it may leave out a note."""
    is_exact = expected["state"] != "loaded" or expected["reason_code"]
    return expected["state"], expected["reason_code"] or "" if is_exact else found[1]


def test_two_thousand_files_are_one_run_and_end_as_the_manifest_says(url, tmp_path: Path):
    corpus = tmp_path / "corpus"
    states = write_corpus(corpus, seed=SEED, count=COUNT)
    lines = (corpus / "manifest.jsonl").read_text().splitlines()
    expected = {record["path"]: record for record in map(json.loads, lines)}
    assert len(expected) == COUNT
    assert COUNT - states["loaded"] > COUNT * 0.05  # of the tenth that is bad, some are loaded
    with Warehouse(url, clock=Clock()) as warehouse:
        warehouse.prepare(holds="real")
    daemon = Daemon(
        tmp_path,
        workspace=hurried_documents.__name__,
        DATA_PROFILE="real",
        DATABASE_URL=url,
        DEMO_CLOCK_NOW="",
        DOCUMENTS_SOURCE="folder",
        DOCUMENTS_DIR=str(corpus / "files"),
        DOCUMENTS_OCR="never",
        DOCUMENTS_STABLE_SECONDS="3",
    )
    try:
        daemon.start()
        programs.wait_for(lambda: settled(url) == COUNT, seconds=END_SECONDS)
    finally:
        daemon.kill()
    found = outcomes(url)
    assert {path: as_found(value, found[path]) for path, value in expected.items()} == found
    assert Counter(state for state, _ in found.values()) == Counter(states)
    found_items = databases.rows(url, select(work_items.c.state))
    items = Counter(state for (state,) in found_items)
    assert items["done"] + items["skipped"] == states["loaded"] + states["empty"]
    files = (corpus / "files").rglob("*")
    contents = {hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}
    ids = databases.rows(url, select(documents_files.c.document_id).distinct())
    assert {each for (each,) in ids} == contents
    runs = databases.rows(
        url, select(operations_runs.c.run_id).where(operations_runs.c.job == "documents_load")
    )
    assert len(runs) <= 1  # the ledger may lag; two would be a second run
