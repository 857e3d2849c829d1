"""Evidence of documents: from a chunk to the captured bytes, and an archive of it."""

from datetime import timedelta
from io import BytesIO
from zipfile import ZipFile

import pytest
from orchestration_demo.documents.packages import archive
from sqlalchemy import select

from orchestration_project.__main__ import main
from orchestration_project.catalog import REGISTRY
from orchestration_project.domains.documents.tables import documents_chunks, documents_pages
from orchestration_project.engine.captures import Captures
from orchestration_project.services.evidence.exporting import Sources, export_evidence
from orchestration_project.services.evidence.subjects import EvidenceRequest
from orchestration_project.services.presets import Presets, read_applied, resolve_config
from orchestration_project.settings import load_settings
from orchestration_project.tables.spine import captures
from tests.document_loader import BOTH
from tests.document_loader import document_loader as document_loader
from tests.document_loader import folder as folder
from tests.resources.test_evidence import contents, lines


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
@BOTH
def test_a_chunk_leads_to_the_bytes_that_it_was_read_from(document_loader, tmp_path):
    document_loader.write(a_txt="alpha and omega", b_zip=archive([("in.txt", b"within a zip")]))
    document_loader.load()
    chunk, page = documents_chunks.c, documents_pages.c
    wanted = (
        select(chunk.text, page.capture_id, captures.c.sha256)
        .join(
            documents_pages,
            (page.document_id == chunk.document_id) & (page.page_number == chunk.page_number),
        )
        .join(captures, captures.c.capture_id == page.capture_id)
    )
    with document_loader.warehouse.reading() as connection:
        found = {text: (capture_id, sha) for text, capture_id, sha in connection.execute(wanted)}
    assert found["alpha and omega"][1] == document_loader.id_of("a.txt")
    assert found["within a zip"][1] == document_loader.id_of("b.zip")
    for text, (capture_id, _) in found.items():
        file = tmp_path / "bytes"
        assert main(["artifacts", "get", str(capture_id), "--output", str(file), "--force"]) == 0
        content = file.read_bytes()
        if content.startswith(b"PK"):
            with ZipFile(BytesIO(content)) as opened:
                content = opened.read("in.txt")
        assert content == text.encode()


@pytest.mark.slow
def test_an_archive_of_a_document_has_its_pages_captures_and_bytes(document_loader):
    document_loader.write(a_txt="alpha and omega", other_txt="another one")
    document_loader.load()
    document_id, now = (
        document_loader.id_of("a.txt"),
        document_loader.clock.now() + timedelta(hours=1),
    )
    settings = load_settings()
    sources = Sources(
        document_loader.warehouse,
        document_loader.instance,
        resolve_config(settings),
        read_applied(Presets(document_loader.warehouse, document_loader.clock)),
        REGISTRY.tables,
        Captures(document_loader.artifacts),
    )
    request = EvidenceRequest(partition=document_id, at=now)
    found = export_evidence(sources, request, settings, None, now=now)
    [page] = lines(found.path, "rows/documents_pages")
    assert page["text"] == "alpha and omega"
    [capture] = lines(found.path, "captures")
    assert (capture["sha256"], capture["url"]) == (document_id, "file:a.txt")
    assert b"alpha and omega" in contents(found.path).values()
    assert not any(b"another one" in content for content in contents(found.path).values())
