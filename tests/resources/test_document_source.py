"""Documents of a source over HTTP: fetched once, captured, and named where they cannot be used."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from orchestration_project.catalog.factory import documents_of
from orchestration_project.catalog.fx import SOURCE
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.document_source import DocumentSource
from orchestration_project.errors import SourceError
from tests.faulty_server import FaultyServer, Reply, Request
from tests.http_clients import make_client
from tests.resources.weeks import StoppedClock

FRIDAY, MONDAY = Partition(date(2026, 1, 2)), Partition(date(2026, 1, 5))
XML = (
    b"<Envelope><Cube><Cube time='2026-01-05'><Cube currency='USD' rate='1.1'/></Cube>"
    b"<Cube time='2026-01-02'><Cube currency='USD' rate='1.2'/></Cube></Cube></Envelope>"
)


class Documents:
    """Response of the server, the same for every document."""

    reply = Reply(body=XML)

    def __call__(self, _: Request) -> Reply:
        """Answer a request."""
        return self.reply


@pytest.fixture
def documents() -> Documents:
    return Documents()


@pytest.fixture
def server(documents: Documents) -> Iterator[FaultyServer]:
    with FaultyServer(documents) as server:
        yield server


@pytest.fixture
def source(server: FaultyServer, tmp_path: Path) -> Iterator[DocumentSource]:
    clock = StoppedClock(datetime(2026, 1, 12, 12, tzinfo=UTC))
    with make_client(tmp_path, "documents_test", now=clock.now, max_attempts=1) as http:
        yield DocumentSource(
            http,
            Captures(FolderStore(tmp_path / "artifacts")),
            clock,
            documents_of(SOURCE.declared),
            source_name="api",
            base_url=f"{server.url}/rates/",
            label="The ECB",
        )


def test_partitions_of_one_document_share_one_request_and_one_capture(source, server):
    captures: list[Capture] = []
    friday, monday = (source.extract(day, captures) for day in (FRIDAY, MONDAY))
    assert source.partitions().known == [FRIDAY, MONDAY]
    assert [request.target for request in server.requests] == ["/rates/eurofxref-hist-90d.xml"]
    assert friday.captures == monday.captures
    assert friday.version != monday.version


def test_a_document_that_cannot_be_read_is_captured_and_its_address_is_named(
    source, server, documents
):
    documents.reply = Reply(body=b"<html>Maintenance</html>")
    captures: list[Capture] = []
    with pytest.raises(SourceError, match="not a document of euro reference rates") as refused:
        source.extract(MONDAY, captures)
    url = f"{server.url}/rates/eurofxref-hist-90d.xml"
    assert refused.value.context["url"] == url
    assert [capture.body for capture in captures] == [b"<html>Maintenance</html>"]
    with pytest.raises(SourceError) as listed:
        source.partitions()
    assert listed.value.context["url"] == url


def test_a_document_that_is_missing_is_refused_with_status_and_address(source, server, documents):
    documents.reply = Reply(404, body=b"not here")
    with pytest.raises(SourceError, match="The ECB did not answer with a document") as refused:
        source.extract(MONDAY, [])
    assert "HTTP 404: 'not here'" in refused.value.found
    assert refused.value.context["url"] == f"{server.url}/rates/eurofxref-hist-90d.xml"


def test_a_day_that_no_document_has_is_refused_and_the_documents_that_were_read_are_captured(
    source,
):
    captures: list[Capture] = []
    with pytest.raises(SourceError, match="The ECB has nothing for 2026-01-12") as refused:
        source.extract(Partition(date(2026, 1, 12)), captures)
    assert refused.value.expected == "2026-01-12 in eurofxref-daily.xml or eurofxref-hist-90d.xml"
    names = [capture.url.rpartition("/")[2] for capture in captures]
    assert names == ["eurofxref-daily.xml", "eurofxref-hist-90d.xml"]
