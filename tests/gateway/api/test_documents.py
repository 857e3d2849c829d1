"""Documents through the API: a document with what belongs to it, its text, pages and chunks."""

import csv
import io

import pytest
from sqlalchemy import delete, insert

from orchestration_project.client import Client
from orchestration_project.domains.documents.tables import (
    documents,
    documents_chunks,
    documents_files,
    documents_pages,
    documents_similarity,
)
from orchestration_project.gateway.api.documents import BREAK
from tests.gateway.api.conftest import HOME
from tests.resources.weeks import NOON

TABLES = (
    documents,
    documents_chunks,
    documents_files,
    documents_pages,
    documents_similarity,
)
MAIL, PDF, OTHER = ("a" * 64, "b" * 64, "c" * 64)
PAGES = ["=cmd|' /C calc'!A0", "caf\u00e9, \u202e <b>2</b>", ""]
CHUNKS = [(1, 0, "zz"), (1, 9, "aa"), (2, 0, "+1")]
DOCUMENT = {
    "media_type": "message/rfc822",
    "byte_count": 1,
    "page_count": 3,
    "word_count": 1,
    "state": "loaded",
    "rule_version": "1",
    "chunk_count": 3,
    "run_id": "run",
    "first_seen_at": NOON,
    "extracted_at": NOON,
}
PAGE = {"tables": "[]", "headings": "[]", "method": "native", "capture_id": 1, "known_from": NOON}


@pytest.fixture(scope="module")
def library(api):
    """A mail with three pages, an attachment, two paths and a similar document."""
    rows = [{**DOCUMENT, "document_id": key} for key in (MAIL, OTHER)]
    child = {**DOCUMENT, "document_id": PDF, "parent_id": MAIL, "path_in_parent": "x.pdf"}
    times = dict.fromkeys(("modified_at", "first_seen_at", "unchanged_since"), NOON)
    with api.services.warehouse.writing() as connection:
        for row in [*rows, child]:
            connection.execute(insert(documents), row)
        connection.execute(
            insert(documents_files),
            [
                {"path": path, "byte_count": 1, "document_id": MAIL, "state": "loaded", **times}
                for path in ("in/b.eml", "in/a.eml")
            ],
        )
        connection.execute(
            insert(documents_pages),
            [
                {**PAGE, "document_id": MAIL, "page_number": number, "text": text}
                for number, text in enumerate(PAGES, start=1)
            ],
        )
        connection.execute(
            insert(documents_chunks),
            [
                {
                    "document_id": MAIL,
                    "chunk_id": f"{9 - place}",
                    "page_number": number,
                    "start_offset": start,
                    "end_offset": start + 2,
                    "section_path": "",
                    "word_count": 1,
                    "text": text,
                }
                for place, (number, start, text) in enumerate(CHUNKS)
            ],
        )
        pair = {"document_id": MAIL, "similar_id": OTHER, "score": 0.75, "group_id": MAIL}
        connection.execute(insert(documents_similarity), pair)
    yield api
    with api.services.warehouse.writing() as connection:
        for table in TABLES:
            connection.execute(delete(table))


def test_a_document_is_shown_with_its_paths_children_and_similar_documents(library):
    found = library.get(f"/documents/{MAIL}")
    assert found["document"]["media_type"] == "message/rfc822"
    assert found["paths"] == ["in/a.eml", "in/b.eml"]
    assert found["children"] == [
        {
            "document_id": PDF,
            "path_in_parent": "x.pdf",
            "media_type": "message/rfc822",
            "state": "loaded",
        }
    ]
    assert found["similar"] == [{"document_id": OTHER, "score": 0.75, "group_id": MAIL}]
    other = library.get(f"/documents/{OTHER}")
    assert other["similar"] == [{"document_id": MAIL, "score": 0.75, "group_id": MAIL}]


def test_pages_and_chunks_come_in_the_order_of_the_text_page_by_page(library):
    first = library.get(f"/documents/{MAIL}/chunks?limit=2")
    assert [row["text"] for row in first["rows"]] == ["zz", "aa"]
    rest = library.get(f"/documents/{MAIL}/chunks?limit=2&cursor={first['next_cursor']}")
    assert [row["text"] for row in rest["rows"]] == ["+1"]
    assert rest["next_cursor"] is None
    pages = library.get(f"/documents/{MAIL}/pages")
    assert [row["text"] for row in pages["rows"]] == PAGES
    with Client(HOME, str(library.keys["viewer"]), transport=library) as client:
        assert [row["text"] for row in client.document_rows(MAIL, "pages")] == PAGES
        assert client.document(MAIL).paths == ["in/a.eml", "in/b.eml"]
        assert client.document_text(MAIL).split(BREAK.decode()) == PAGES


def test_texts_are_sent_as_they_are_and_a_csv_without_formulas(library):
    answer = library.ask("GET", f"/documents/{MAIL}/text", "viewer")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.content.split(BREAK) == [page.encode() for page in PAGES]
    answer = library.ask("GET", f"/documents/{MAIL}/chunks?format=text&limit=2", "viewer")
    assert answer.content == b"zz" + BREAK + b"aa"
    answer = library.ask("GET", f"/documents/{MAIL}/pages?format=csv", "viewer")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))
    assert [row["text"] for row in rows] == [f"'{PAGES[0]}", *PAGES[1:]]
    answer = library.ask("GET", f"/documents/{MAIL}/chunks?format=csv", "viewer")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))
    assert [row["text"] for row in rows] == ["zz", "aa", "'+1"]


def test_a_document_that_is_unknown_and_an_id_or_cursor_that_is_none_are_problems(library):
    for path in ("", "/text", "/pages", "/chunks?format=csv"):
        problem = library.expect_problem("GET", f"/documents/{'d' * 64}{path}", "viewer")
        assert (problem["status"], problem["category"]) == (404, "not_found")
    for path in ("/documents/x", f"/documents/{'A' * 64}"):
        assert library.expect_problem("GET", path, "viewer")["status"] in (404, 422)
    for form in ("json", "csv", "text"):
        path = f"/documents/{MAIL}/pages?cursor=no&format={form}"
        assert library.expect_problem("GET", path, "viewer")["status"] == 422
    assert (
        library.expect_problem("GET", f"/documents/{MAIL}/pages?format=pdf", "viewer")["status"]
        == 422
    )
    assert library.get(f"/documents/{OTHER}/pages")["rows"] == []
    assert library.ask("GET", f"/documents/{OTHER}/text", "viewer").content == b""
