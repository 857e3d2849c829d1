"""The route of a document's timeline."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import delete, insert

from orchestration_project.domains.documents.tables import documents, documents_files

ID = "ab" * 32


@pytest.fixture
def refused(api) -> Iterator[None]:
    """A document that was refused, and its file."""
    now = api.services.clock.now()
    row: dict[str, Any] = {
        **{column.name: None for column in documents.columns},
        "document_id": ID,
        "media_type": "application/pdf",
        "byte_count": 0,
        "page_count": 0,
        "word_count": 0,
        "chunk_count": 0,
        "state": "refused",
        "reason_code": "truncated",
        "reason": "the file ends too early",
        "category": "permanent",
        "rule_version": "1",
        "first_seen_at": now,
        "extracted_at": now,
        "run_id": "r-1",
    }
    file = {"path": "a.pdf", "byte_count": 9, "document_id": ID, "state": "loaded"}
    times = dict.fromkeys(("modified_at", "first_seen_at", "unchanged_since"), now)
    with api.services.warehouse.writing() as connection:
        connection.execute(insert(documents), [row])
        connection.execute(insert(documents_files), [file | times])
    yield
    with api.services.warehouse.writing() as connection:
        connection.execute(delete(documents))
        connection.execute(delete(documents_files))


def test_a_document_s_events_have_reason_remedy_and_the_address_of_the_run(api, refused):
    found = api.get(f"/documents/{ID}/timeline")
    assert (found["document_id"], found["paths"], found["state"]) == (ID, ["a.pdf"], "refused")
    assert [event["kind"] for event in found["events"]] == ["first_seen", "stable", "failed"]
    failed = found["events"][-1]
    assert failed["run_id"] == "r-1"
    assert failed["run_url"].endswith("/runs/r-1")
    assert (failed["reason_code"], failed["remedy"]) == (
        "truncated",
        "deliver the whole file again",
    )


@pytest.mark.parametrize(("name", "status"), [("cd" * 32, 404), ("a.pdf", 404), ("A" * 201, 422)])
def test_an_unknown_or_invalid_id_is_refused(api, name, status):
    assert api.expect_problem("GET", f"/documents/{name}/timeline", "viewer")["status"] == status
