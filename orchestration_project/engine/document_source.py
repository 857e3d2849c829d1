"""A source of whole documents over HTTP, each of which holds one partition or many.

What a document is called, which partitions it has and what their state is are pure functions of
the domain (`Documents`); fetching and capturing them is done here, the same for every domain.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from http import HTTPStatus
from typing import TYPE_CHECKING

from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.recovery import RecordedCapture, Recovery, RecoveryEnvironment
from orchestration_project.engine.source import Extraction, PartitionList, Source
from orchestration_project.errors import SourceError, TransientError, UnavailableError
from orchestration_project.settings import Settings

if TYPE_CHECKING:
    from orchestration_project.engine.http import HttpClient, Response


@dataclass(frozen=True, kw_only=True)
class Documents:
    """How the partitions of a dataset are spread over the documents of a source.

    Attributes:
        listings_of: Returns the documents that list the partitions from a day on, by that day and
            today's; of None, the latest partitions.
        names_of: Returns the documents that may have a partition, in the order in which they are
            tried; the day is today's.
        partitions_in: Returns the partitions of a document, oldest first.
        version_in: Returns the state of a partition in a document; None: it is not in it.
        zone: The time zone of the source's days.
    """

    listings_of: Callable[[date | None, date], Sequence[str]]
    names_of: Callable[[Partition, date], Sequence[str]]
    partitions_in: Callable[[bytes], Sequence[Partition]]
    version_in: Callable[[bytes, Partition], str | None]
    zone: str


@dataclass
class DocumentSource(Source):
    """Reads the documents of one source; each is fetched once in a run or tick.

    Attributes:
        source_name: What captures and loads are recorded under: api or demo.
        base_url: Where the documents lie.
        label: What people call the source, for messages.
    """

    http: "HttpClient"
    captures: Captures
    clock: Clock
    documents: Documents
    source_name: str
    base_url: str
    label: str
    _fetched: dict[str, Capture] = field(default_factory=dict, init=False)

    @property
    def name(self) -> str:
        """Source name in captures and loads."""
        return self.source_name

    def partitions(self, since: date | None = None) -> PartitionList:
        """Return the partitions that the listings have, which may be older than ``since``.

        Raises:
            SourceError: A listing cannot be read.
        """
        partitions_read: set[Partition] = set()
        for listing in self.documents.listings_of(since, self.clock.today(self.documents.zone)):
            body = self._body(listing)
            with self._naming(listing):
                partitions_read.update(self.documents.partitions_in(body))
        return PartitionList(sorted(partitions_read))

    def extract(self, partition: Partition, captures: list[Capture]) -> Extraction:
        """Fetch the first document that has the partition.

        Raises:
            SourceError: None has it, or one cannot be read.
        """
        names = self.documents.names_of(partition, self.clock.today(self.documents.zone))
        for name in names:
            body = self._body(name)
            captures.append(self._fetched[name])
            with self._naming(name):
                version = self.documents.version_in(body, partition)
            if version is not None:
                return Extraction([self._fetched[name]], version)
        raise UnavailableError(
            f"{self.label} has nothing for {partition.label}",
            expected=f"{partition.label} in {' or '.join(names)}",
            found="other days",
            remedy="wait for its publication, or request another partition",
        )

    @contextmanager
    def _naming(self, name: str) -> Iterator[None]:
        """Add the address of a fetched document to the error that it cannot be read."""
        try:
            yield
        except SourceError as error:
            error.within(url=self._fetched[name].url)
            raise

    def _body(self, name: str) -> bytes:
        if name not in self._fetched:
            self._fetched[name] = self._capture(name)
        return self._fetched[name].body

    def fetch_again(self, name: str) -> bytes:
        """Fetch a document that was captured, and return its bytes; nothing is stored.

        Raises:
            SourceError: The source does not have it.
            TransientError: It does not answer.
        """
        return self._response(name).body

    def _response(self, name: str) -> "Response":
        response = self.http.request("GET", f"{self.base_url.rstrip('/')}/{name}")
        if response.status != HTTPStatus.OK:
            raise build_status_error(self.label, response)
        return response

    def _capture(self, name: str) -> Capture:
        response = self._response(name)
        return self.captures.keep(
            response.body,
            url=response.url,
            request={"document": name, "method": "GET"},
            response_headers=response.headers,
            http_status=response.status,
            fetched_at=self.clock.now(),
        )


def build_recovery(resource: str, dataset: str) -> Recovery:
    """Return how the documents of a `DocumentSource` are fetched again.

    Args:
        resource: Name of its connection.
        dataset: What its captures call the dataset.
    """

    def applies(capture: RecordedCapture, _: Settings) -> bool:
        return capture.dataset == dataset and isinstance(capture.request.get("document"), str)

    def read(capture: RecordedCapture, given: RecoveryEnvironment) -> bytes | None:
        source = given.open(resource)
        if not isinstance(source, DocumentSource) or source.name != capture.source:
            return None
        return source.fetch_again(capture.request["document"])

    return Recovery(way="source", applies=applies, read=read)


def build_status_error(label: str, response: "Response") -> Exception:
    """Return the error of a status that is not 200; a redirect or a refusal is permanent."""
    is_permanent = response.status < HTTPStatus.INTERNAL_SERVER_ERROR
    kind = SourceError if is_permanent else TransientError
    return kind(
        f"{label} did not answer with a document",
        expected="HTTP 200",
        found=f"HTTP {response.status}: {response.body[:200].decode('utf-8', 'replace')!a}",
        remedy="see what answers at this address; run the partition again later",
        url=response.url,
    )
