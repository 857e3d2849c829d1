"""Documents of a bucket through sensor and job: loaded, changed while read, gone."""

import pytest
from sqlalchemy import select

from orchestration_project.domains.documents.tables import documents, documents_files
from orchestration_project.engine.connections.artifacts import S3Store
from orchestration_project.resources.documents.bucket import DocumentBucket
from orchestration_project.tables.spine import captures
from tests import databases
from tests.assets.test_documents import DAY, failed_items, outcomes, run, tick
from tests.s3 import s3, s3_endpoint  # noqa: F401 - fixtures


@pytest.fixture
def store(url: str, s3: str, monkeypatch: pytest.MonkeyPatch) -> S3Store:  # noqa: F811 - fixture
    """An empty bucket of documents, whose objects are loaded at the first poll."""
    settings = {
        "DATA_PROFILE": "real",
        "DOCUMENTS_SOURCE": "s3",
        "DOCUMENTS_URL": s3,
        "DOCUMENTS_STABLE_SECONDS": "0",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return S3Store(s3)


@pytest.mark.slow
def test_objects_are_loaded_and_one_that_changes_while_read_is_loaded_later(
    url, store, instance, monkeypatch: pytest.MonkeyPatch
):
    store.put("reports/a.txt", b"alpha")
    store.put("b.txt", b"beta")
    store.put("empty.txt", b"")
    assert tick(instance) == [DAY]
    read = DocumentBucket.read

    def read_late(bucket: DocumentBucket, path: str, *, max_bytes: int) -> bytes:
        """Have somebody replace an object between the listing and the read."""
        if path == "b.txt":
            store.put("b.txt", b"another beta")
        return read(bucket, path, max_bytes=max_bytes)

    monkeypatch.setattr(DocumentBucket, "read", read_late)
    run(instance)
    assert outcomes(url) == {"reports/a.txt": ("loaded", ""), "empty.txt": ("empty", "empty_file")}
    assert failed_items(url) == {"b.txt": ("failed", "changed_while_read")}
    monkeypatch.setattr(DocumentBucket, "read", read)
    assert tick(instance) == [DAY]
    run(instance)
    assert outcomes(url)["b.txt"] == ("loaded", "")
    assert failed_items(url) == {}
    urls = {found for (found,) in databases.rows(url, select(captures.c.url))}
    assert urls == {f"{store.url}/{name}" for name in ("reports/a.txt", "b.txt", "empty.txt")}
    store.delete("b.txt")
    assert tick(instance) == []
    states = dict(databases.rows(url, select(documents_files.c.path, documents_files.c.state)))
    assert states == {"reports/a.txt": "loaded", "b.txt": "gone", "empty.txt": "loaded"}
    assert len(databases.rows(url, select(documents.c.document_id))) == 3
