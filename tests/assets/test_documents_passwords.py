"""A password configured later: the encrypted documents are read, and no others."""

import json
from pathlib import Path
from typing import Any

import pytest
from orchestration_demo.documents.packages import archive
from sqlalchemy import select

from orchestration_project.domains.documents.tables import (
    documents,
    documents_pages,
    documents_reader_setups,
)
from orchestration_project.tables.spine import work_items
from tests import databases
from tests.assets.conftest import BOTH
from tests.assets.test_documents import DAY, failed_items, folder, outcomes, run, tick
from tests.domains.test_documents_encrypted import PASSWORD, encrypted_pdf, encrypted_zip

__all__ = ["folder"]


@pytest.mark.slow
@BOTH
def test_a_password_configured_later_makes_exactly_the_encrypted_ones_ready(
    url: str, folder: Path, instance: Any, monkeypatch: pytest.MonkeyPatch, capfd: Any
):
    (folder / "good.txt").write_text("fine words")
    (folder / "bad.pdf").write_bytes(b"%PDF-1.7 and nothing else")
    (folder / "locked.pdf").write_bytes(encrypted_pdf("RC4-128"))
    (folder / "locked.zip").write_bytes(encrypted_zip(b"secret words"))
    (folder / "other.zip").write_bytes(encrypted_zip(b"x", "another password"))
    assert tick(instance) == [DAY]
    run(instance)
    locked = ("dead", "encrypted")
    assert failed_items(url) == {
        "bad.pdf": ("dead", "truncated"),
        **dict.fromkeys(("locked.pdf", "locked.zip", "other.zip"), locked),
    }
    assert tick(instance) == []
    monkeypatch.setenv("DOCUMENTS_PASSWORDS", f"no password of these\n{PASSWORD}")
    assert tick(instance) == [DAY]
    ready = select(work_items.c.item_key).where(work_items.c.state == "ready")
    assert sorted(databases.rows(url, ready)) == [
        ("locked.pdf",),
        ("locked.zip",),
        ("other.zip",),
    ]
    captured = run(instance)["capture"][DAY]
    assert (captured["loaded_document_count"], captured["encrypted_document_count"]) == (2, 1)
    assert captured["refused_document_count"] == captured["unchanged_document_count"] == 0
    assert failed_items(url) == {"bad.pdf": ("dead", "truncated"), "other.zip": locked}
    assert outcomes(url)["locked.pdf"] == ("loaded", "")
    texts = [text for (text,) in databases.rows(url, select(documents_pages.c.text))]
    assert any("secret words" in text for text in texts)
    assert tick(instance) == []
    assert_hidden(url, capfd.readouterr())


def assert_hidden(url: str, output: Any) -> None:
    """No log and no table has the password."""
    tables = (documents, documents_pages, documents_reader_setups, work_items)
    stored = repr([databases.rows(url, select(table)) for table in tables])
    for text in (output.out, output.err, stored):
        assert PASSWORD not in text
        assert json.dumps(PASSWORD)[1:-1] not in text


@pytest.mark.slow
@BOTH
def test_a_file_that_holds_an_encrypted_one_is_read_again_too(
    url: str, folder: Path, instance: Any, monkeypatch: pytest.MonkeyPatch
):
    (folder / "good.zip").write_bytes(archive([("a.txt", b"fine words")]))
    (folder / "part.zip").write_bytes(encrypted_zip(b"secret words", more=b"plain words"))
    inner = archive([("locked.pdf", encrypted_pdf("RC4-128")), ("b.txt", b"other words")])
    (folder / "outer.zip").write_bytes(archive([("inner.zip", inner)]))
    tick(instance)
    run(instance)
    assert failed_items(url) == {}
    monkeypatch.setenv("DOCUMENTS_PASSWORDS", PASSWORD)
    assert tick(instance) == [DAY]
    ready = select(work_items.c.item_key).where(work_items.c.state == "ready")
    assert sorted(databases.rows(url, ready)) == [("outer.zip",), ("part.zip",)]
    captured = run(instance)["capture"][DAY]
    assert (captured["loaded_document_count"], captured["unchanged_document_count"]) == (2, 0)
    states = select(documents.c.state).where(documents.c.state == "encrypted")
    assert databases.rows(url, states) == []
    texts = [text for (text,) in databases.rows(url, select(documents_pages.c.text))]
    assert any("secret words" in text for text in texts)
    assert tick(instance) == []
