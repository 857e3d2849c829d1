"""Uploads of documents: what the API took is loaded, under the document_id that it answered."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import select

from orchestration_project.domains.documents.tables import (
    documents,
    documents_files,
    documents_pages,
)
from orchestration_project.engine.contracts.uploads import FILE
from orchestration_project.services.erasure.rows import erase_rows
from orchestration_project.services.erasure.rules import Subject
from orchestration_project.tables.spine import uploads, work_items
from tests.expecting import expect_status
from tests.gateway.login_client import running

DAY = "2026-03-02"
CURL = str(shutil.which("curl"))
INBOX = "papers"


@pytest.fixture
def inbox(api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The inbox of documents, beside a source without files."""
    file = tmp_path / "inboxes.yaml"
    file.write_text(f"inboxes: {{{INBOX}: {{}}, other: {{}}}}")
    settings = api.services.settings
    monkeypatch.setitem(vars(settings), "inboxes_file", file)
    monkeypatch.setitem(vars(settings), "documents_inbox", INBOX)
    monkeypatch.setenv("DOCUMENTS_INBOX", INBOX)
    files = settings.state_path / "documents_demo" / "files"
    shutil.rmtree(files, ignore_errors=True)  # another test of the package may have had some made
    files.mkdir(parents=True)
    return INBOX


def rows(api, *columns):
    with api.services.warehouse.reading() as connection:
        return sorted(map(tuple, connection.execute(select(*columns))))


def own_items(api) -> list[tuple[str, str]]:
    """Return topic and state of the work items of these tests."""
    own = (f"documents/{DAY}", f"uploads/{INBOX}", "uploads/other")
    return [
        row for row in rows(api, work_items.c.topic, work_items.c.state) if row[0].startswith(own)
    ]


def upload(api, content: bytes, name: str, inbox: str = INBOX) -> dict[str, str]:
    answer = api.ask("PUT", f"/inbox/{inbox}/files/{name}", content=content)
    expect_status(answer, 202)
    return answer.json()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_uploads_are_loaded_under_the_id_of_their_answer_and_an_erasure_reaches_them(
    api, inbox, tmp_path: Path
):
    report = tmp_path / "report.txt"
    report.write_text("Figures of the quarter")
    key = f"X-API-Key: {api.keys['operator']}"
    with running(api.app) as port:
        url = f"http://127.0.0.1:{port}/api/v1/inbox/{inbox}/files/report.txt"
        arguments = [CURL, "-sS", "-H", key, "-T", str(report), url]
        sent = subprocess.run(arguments, capture_output=True, check=True)  # noqa: S603 - ours
    answer = json.loads(sent.stdout)
    sha256 = hashlib.sha256(report.read_bytes()).hexdigest()
    assert (answer["document_id"], answer["sha256"], answer["is_new"]) == (sha256, sha256, True)
    replaced = upload(api, b"The first version", "plan.txt")["document_id"]
    latest = upload(api, b"The second version", "plan.txt")["document_id"]
    assert upload(api, b"not a document", "x.txt", inbox="other")["document_id"] is None
    assert own_items(api) == [("uploads/other", "ready"), *[("uploads/papers", "ready")] * 3]
    api.run("documents_load", partition=DAY)
    ids = {sha256, replaced, latest}
    found = rows(api, documents.c.document_id, documents.c.state, documents.c.superseded_by)
    assert found == sorted((document_id, "loaded", None) for document_id in ids)
    path = f"/inbox/{inbox}/{answer['upload_id']}/report.txt"
    assert (path, sha256, "loaded") in rows(
        api, documents_files.c.path, documents_files.c.document_id, documents_files.c.state
    )
    assert ("Figures of the quarter",) in rows(api, documents_pages.c.text)
    assert own_items(api) == [*[(f"documents/{DAY}", "done")] * 3, ("uploads/other", "ready")]
    with api.services.warehouse.writing() as connection:
        erase_rows(connection, FILE, Subject(("report.txt",)))
    assert ("report.txt",) not in rows(api, uploads.c.file_name)
    assert not any("report.txt" in path for (path,) in rows(api, documents_files.c.path))
    api.run("documents_load", partition=DAY)
    states = rows(api, documents_files.c.state)
    assert states == [("loaded",)] * 3
