"""Equations of documents, uploads and crawls, with parts that get lost."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
from sqlalchemy import Boolean, Date, Double, Integer, Numeric, Table, insert

from orchestration_project.domains.documents.tables import (
    documents,
    documents_chunks,
    documents_files,
    documents_pages,
)
from orchestration_project.domains.web.tables import web_crawls, web_frontier
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.tables.spine import uploads, work_items
from tests.resources.balances import differences, plant_and_expect_rows, verify
from tests.resources.weeks import NOON

DAY = date(2026, 1, 5)


def fill(warehouse: Warehouse, table: Table, *rows: Mapping[str, Any]) -> None:
    """Insert rows; columns that are not given are empty, zero or noon."""
    with warehouse.writing() as connection:
        connection.execute(insert(table), [{**empty(table), **row} for row in rows])


def empty(table: Table) -> dict[str, Any]:
    return {column.name: empty_value(column) for column in table.columns}


def empty_value(column: Any) -> Any:
    if column.nullable:
        return None
    if isinstance(column.type, Boolean):
        return False
    if isinstance(column.type, Integer | Numeric | Double):
        return 0
    if isinstance(column.type, Date):
        return DAY
    return NOON if column.name.endswith(("_at", "_from", "_since")) else ""


@pytest.fixture
def read(warehouse) -> Warehouse:
    """A document of two pages with three chunks, and one that was refused."""
    fill(
        warehouse,
        documents,
        {"document_id": "a", "state": "loaded", "page_count": 2, "chunk_count": 3},
        {"document_id": "b", "state": "refused"},
    )
    pages = [{"document_id": "a", "page_number": number} for number in (1, 2)]
    fill(warehouse, documents_pages, *pages)
    chunks = [{"document_id": "a", "chunk_id": name} for name in "xyz"]
    fill(warehouse, documents_chunks, *chunks)
    return warehouse


@pytest.mark.slow_after_first
def test_a_document_has_the_pages_and_chunks_that_were_read(read):
    verdict = verify(read)
    assert not verdict.imbalances
    assert verdict.counts["documents", "pages"].balanced == 2
    assert verdict.counts["documents", "chunks"].balanced == 2


def test_a_lost_page_and_a_lost_chunk_are_found(read):
    plant_and_expect_rows(read, "DELETE FROM documents_pages WHERE page_number = 2")
    plant_and_expect_rows(read, "DELETE FROM documents_chunks WHERE chunk_id = 'x'")
    assert differences(read) == {("documents", "pages"): 1, ("documents", "chunks"): 1}


@pytest.fixture
def uploaded(warehouse) -> Warehouse:
    """Uploads that runs work on, and uploads of which documents has taken two."""
    states = {"1": "done", "2": "ready", "3": "dead"}
    for inbox, ids in {"reports": states, "papers": "456"}.items():
        fill(warehouse, uploads, *({"inbox": inbox, "upload_id": one} for one in ids))
    topic = {"topic": "uploads/reports"}
    items = [{**topic, "item_key": key, "state": state} for key, state in states.items()]
    fill(
        warehouse,
        work_items,
        *items,
        {"topic": "uploads/papers", "item_key": "6", "state": "ready"},
    )
    loaded = {"path": "/inbox/papers/4/a.pdf", "state": "loaded", "document_id": "a"}
    refused = {"path": "/inbox/papers/5/b.pdf", "state": "loaded"}
    fill(warehouse, documents_files, loaded, refused)
    return warehouse


@pytest.mark.slow_after_first
def test_uploads_are_stored_refused_or_wait(uploaded):
    verdict = verify(uploaded)
    assert not verdict.imbalances
    assert verdict.counts["uploads", "uploads"].balanced == 2


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "fault",
    [
        "DELETE FROM work_items WHERE item_key = '2'",
        "DELETE FROM work_items WHERE item_key = '6'",
        "UPDATE documents_files SET state = 'gone' WHERE document_id = 'a'",
    ],
)
def test_a_lost_upload_is_found(uploaded, fault):
    plant_and_expect_rows(uploaded, fault)
    assert differences(uploaded) == {("uploads", "uploads"): 1}


@pytest.fixture
def crawled(warehouse) -> Warehouse:
    """A crawl of four URLs, one of which waits, and two that its limit left out."""
    own = {"site": "shop", "day": DAY}
    fill(warehouse, web_crawls, {**own, "url_count": 4, "left_out_count": 2})
    verdicts = {"a": "page", "b": "gone", "c": "failed", "d": None}
    urls = [{**own, "url": url, "verdict": verdict} for url, verdict in verdicts.items()]
    fill(warehouse, web_frontier, *urls)
    return warehouse


def test_found_urls_have_a_verdict_wait_or_were_left_out(crawled):
    verdict = verify(crawled)
    assert not verdict.imbalances
    assert verdict.counts["web_crawls", "urls"].balanced == 1


def test_a_lost_url_is_found(crawled):
    plant_and_expect_rows(crawled, "DELETE FROM web_frontier WHERE url = 'c'")
    [imbalance] = verify(crawled).imbalances
    assert imbalance.subject == "shop|2026-01-05"
    assert imbalance.balance.came_in == 6
    went_to = {"waiting": 1, "gone": 1, "page": 1, "left_by_limit": 2}
    assert imbalance.balance.went_to == went_to


def test_a_crawl_whose_urls_were_deleted_by_age_is_not_counted(crawled):
    plant_and_expect_rows(crawled, "DELETE FROM web_frontier")
    verdict = verify(crawled)
    assert not verdict.imbalances
    assert verdict.counts["web_crawls", "urls"].not_counted == 1
