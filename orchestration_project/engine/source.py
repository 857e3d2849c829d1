"""Protocol of a source of partitions, and its implementations for files and for paged queries."""

import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from orchestration_project.engine.captures import Capture, Captures, compute_version
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.files import read_file_bytes
from orchestration_project.engine.contracts.delimited import (
    count_data_rows,
    find_unfinished_line,
    read_header,
)
from orchestration_project.engine.contracts.partitioning import (
    Partition,
    Partitioning,
    fill_json,
)
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.contracts.queries import FieldList, Listing, Paging
from orchestration_project.engine.contracts.rules import escape_bytes
from orchestration_project.errors import (
    ConfigurationError,
    MovedError,
    SourceError,
    TransientError,
    UnavailableError,
)

if TYPE_CHECKING:
    from orchestration_project.engine.http.client import Response


class PartitionList(NamedTuple):
    """The partitions that a source has now, oldest first, and values that are not known."""

    known: Sequence[Partition]
    unknown_values: Sequence[str] = ()


@dataclass(frozen=True)
class SourceVersion:
    """The state in which a source has a partition; an equal ``text`` is an equal state.

    Attributes:
        text: Identifies the state.
        dataset: What the source calls the dataset that has the partition.
        record_total: How many rows the source promises; None: it promises none.
        scope: Further conditions, where the source has a part of the partition only.
    """

    text: str
    dataset: str
    record_total: int | None = None
    scope: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Extraction:
    """A partition as it was read from its source.

    Attributes:
        captures: What makes it up, in order.
        version: Identifies this state of the source, such as a hash of the rows.
        record_total: How many rows the source promised; None: it promises none.
    """

    captures: Sequence[Capture]
    version: str
    record_total: int | None = None


class Source(Protocol):
    """Source of a dataset's partitions; a class of a domain implements it."""

    @property
    def name(self) -> str:
        """Source name in captures and loads, such as api, files or demo."""
        ...

    def partitions(self, since: date | None = None) -> PartitionList:
        """Return the partitions that can be read now.

        Args:
            since: The first day of interest: a source need not list what is older. None: the
                latest partitions will do.

        Raises:
            OrchestrationError: The source does not answer, or cannot be used.
        """
        ...

    def fields(self) -> Mapping[str, str] | None:
        """Return the type of each field that it lists, by name; None: it lists none."""
        return None

    def version(self, partition: Partition) -> SourceVersion | None:
        """Return the present state of a partition, cheaply; None: only reading it shows that.

        Raises:
            OrchestrationError: As `extract`.
        """
        return None

    def extract(self, partition: Partition, captures: list[Capture]) -> Extraction:
        """Read a partition; append all that was fetched to ``captures``, usable or not.

        Raises:
            MovedError: The source changed meanwhile: the read is repeated.
            TransientError: It did not answer in full: another attempt may help.
            SourceError: The source lacks the partition, it is empty, or it cannot be used.
        """
        ...

    def extract_version(
        self, partition: Partition, version: SourceVersion, captures: list[Capture]
    ) -> Sequence[Capture]:
        """Read a partition in the state that `version` returned; return what makes it up.

        Raises:
            MovedError: It is in another state by now: the read is repeated with that one.
            OrchestrationError: As `extract`.
        """
        return self.extract(partition, captures).captures


class Folder:
    """The folder that ``setting`` names."""

    def __init__(self, path: Path, setting: str) -> None:
        self.path = path
        self.setting = setting

    def names(self) -> list[str]:
        """Return the names of what is in it, sorted.

        Raises:
            ConfigurationError: It cannot be read.
        """
        try:
            return sorted(path.name for path in self.path.iterdir())
        except OSError as error:
            raise self.unusable(error) from error

    def unusable(self, error: Exception) -> ConfigurationError:
        """Return the error that the folder cannot be read."""
        return ConfigurationError(
            f"{self.setting} cannot be read",
            expected=f"a readable folder at {self.path}",
            found=str(error),
            remedy=f"correct {self.setting} or the folder's permissions",
        )

    def read(self, name: str) -> bytes:
        """Return the bytes of a file, as `file_bytes`."""
        return read_file_bytes(self.path, name, setting=self.setting)


def refuse_empty(name: str, capture: Capture, columns: Sequence[str]) -> None:
    """Refuse a file without rows."""
    if not capture.row_count:
        _refuse_what_is_no_text(capture.body, columns)
        raise SourceError(
            f"the file {name} holds no rows",
            expected="a header and at least one row",
            found=f"{len(capture.body)} bytes",
            remedy="download it again",
        )


def _refuse_what_is_no_text(body: bytes, columns: Sequence[str]) -> None:
    """Raise the error of a body without rows that is not delimited text either."""
    if body:
        read_header(Part(1, body), body.removesuffix(b"\n"), columns)


def refuse_cut(name: str, capture: Capture) -> None:
    """Refuse a file that ends within a line, as one does that is still being copied."""
    if remaining_chunk := find_unfinished_line(capture.body):
        raise TransientError(
            f"the file {name} ends within a line",
            expected="a last line with as many fields as the header",
            found=escape_bytes(remaining_chunk, 400),
            remedy="if it is still being copied, wait (better: copy it under another name and "
            "rename it then); otherwise download it again",
        )


@dataclass(frozen=True)
class FolderSource(Source):
    """A folder with a delimited file for each partition, called ``<table>_<value>_<yyyymmdd>.csv``.

    Attributes:
        folder: The folder.
        dataset: What the source calls the dataset.
        partitioning: Which partitions there are, and how their files are called.
        field_names: What each header must name.
    """

    folder: Folder
    captures: Captures
    clock: Clock
    dataset: str
    partitioning: Partitioning
    field_names: Sequence[str]

    @property
    def name(self) -> str:
        """Source name in captures and loads."""
        return "files"

    def partitions(self, since: date | None = None) -> PartitionList:
        """Return the partitions that have a file."""
        return PartitionList(sorted(self.partitioning.partitions_in(self.folder.names())))

    def extract(self, partition: Partition, captures: list[Capture]) -> Extraction:
        """Read the partition's file."""
        name = self.partitioning.file_name(partition)
        if name not in self.folder.names():
            raise UnavailableError(
                f"no file holds {self.partitioning.table_name} of {partition.label}",
                expected=f"{name} in {self.folder.path}",
                found="none",
                remedy="put the file into the folder",
            )
        body = self.folder.read(name)
        capture = self.captures.keep(
            body,
            url=f"file:{name}",
            request={"file": name},
            row_count=count_data_rows(body),
            fetched_at=self.clock.now(),
        )
        captures.append(capture)
        refuse_empty(name, capture, self.field_names)
        refuse_cut(name, capture)
        return Extraction([capture], compute_version(self.dataset, self.captures, [capture]))


JSON = "application/json"
MAX_COUNT_DIGITS = 18

RECORDS_HELD = 300_000
"""Maximum records in memory; above it only the store has the pages, of more than 60 MiB."""

Send: TypeAlias = "Callable[[str, Mapping[str, object] | None, str], Response]"
"""Sends a request that accepts a media type: a POST of a query in JSON, or of None a GET.

Its answer has HTTP status 200 or 204; others are errors.
"""


class TruncatedResponseError(TransientError):
    """An answer holds fewer rows than it says."""


def build_moved_error(before: str, after: str) -> MovedError:
    """Return the error that a source changed while it was read."""
    return MovedError(
        "the source changed while it was read",
        expected=before,
        found=after,
        remedy="nothing: it is read again; if it goes on, run the partition later",
    )


@dataclass(frozen=True, kw_only=True)
class RecordPages:
    """Fetches the pages of queries in JSON whose answers say how many records there are.

    A page may be shorter than was requested, so paging goes by the records received.

    Attributes:
        send: Sends a query.
        captures: The store of answers.
        clock: The present.
        paging: How pages are requested.
        accept: Media type of pages.
        concurrent_requests: Pages that are requested at once.
        count_rows: Returns the number of records of a page; None: it is another answer.
        unusable: Returns the error of an answer that is not a page.
        kept_headers: Response headers that a capture keeps; empty: all.
    """

    send: Send
    captures: Captures
    clock: Clock
    paging: Paging
    accept: str
    concurrent_requests: int
    count_rows: "Callable[[Response], int | None]"
    unusable: "Callable[[Response], Exception]"
    kept_headers: Sequence[str] = ()

    @property
    def max_records(self) -> int:
        """Records to which one query can be paged."""
        paging = self.paging
        return paging.max_offset + paging.size if paging.max_offset else sys.maxsize

    def fetch(
        self, url: str, query: Mapping[str, object], *, total: int, kept: list[Capture]
    ) -> list[Capture]:
        """Fetch all pages of a query that has ``total`` rows, several at once, in their order."""
        size = self.paging.size
        slots: dict[int, list[Capture]] = {offset: [] for offset in range(0, total, size)}

        def fill(offset: int) -> None:
            until = min(offset + size, total)
            self._fetch_range(url, query, total, offset, until, slots[offset])

        try:
            with ThreadPoolExecutor(self.concurrent_requests) as pool:
                list(pool.map(fill, slots))  # the first error stops what is not yet under way
        finally:
            pages = [page for slot in slots.values() for page in slot]
            kept += pages  # in the order of the rows, however the answers came
        return pages

    def _fetch_range(
        self,
        url: str,
        query: Mapping[str, object],
        total: int,
        offset: int,
        until: int,
        pages: list[Capture],
    ) -> None:
        """Fetch the rows from ``offset`` to ``until``: one page, or more when they come short."""
        paging = self.paging
        while offset < until:
            values = {**query, paging.parameter: offset, paging.limit: until - offset}
            response = self.send(url, values, self.accept)
            page = self._keep(response, values)
            pages.append(page if total <= RECORDS_HELD else page.without_body())
            rows = self._page_rows(response, page.row_count, total)
            if rows == 0:
                raise TruncatedResponseError(
                    "the pages ended before all records came",
                    expected=f"{paging.total} {total}",
                    found=f"no record at offset {offset}",
                    remedy="it is retried once; if it persists, report it to the source",
                    url=response.url,
                )
            offset += rows

    def _keep(self, response: "Response", requested: Mapping[str, object]) -> Capture:
        headers = response.headers
        if self.kept_headers:
            headers = {name: text for name, text in headers.items() if name in self.kept_headers}
        return self.captures.keep(
            response.body,
            url=response.url,
            request=requested,
            response_headers=headers,
            http_status=response.status,
            row_count=self.count_rows(response),
            fetched_at=self.clock.now(),
        )

    def _page_rows(self, response: "Response", rows: int | None, expected_total: int) -> int:
        """Return how many of its ``rows`` a page holds, having made sure that it is one."""
        if has_no_record(response):
            return 0
        if rows is None:
            raise self.unusable(response)
        total = self.total_of(response)
        if total != expected_total:
            named = self.paging.total
            raise build_moved_error(f"{named} {expected_total}", f"{named} {total}")
        named = self.paging.page_total
        text = response.headers.get(named.lower(), "").strip() if named else ""
        if text and text != str(rows):
            raise TruncatedResponseError(
                "a page was cut short",
                expected=f"{named} {text}",
                found=f"{rows} rows in {len(response.body)} bytes",
                remedy="it is retried once; if it persists, report it to the source",
                url=response.url,
            )
        return rows

    def total_of(self, response: "Response") -> int:
        """Return the number of records that a query has.

        Raises:
            SourceError: The answer does not say it.
        """
        named = self.paging.total
        text = response.headers.get(named.lower(), "")
        if not text.isdecimal() or len(text) > MAX_COUNT_DIGITS:
            raise SourceError(
                "a response has no count of records",
                expected=f"the header {named} with a number",
                found=f"{named} {text[:60]!r}",
                remedy="check its address: something between here and there may drop headers",
                url=response.url,
            )
        return int(text)


def has_no_record(response: "Response") -> bool:
    """Whether an answer is empty: without a body, or an empty list of JSON."""
    return response.status == 204 or response.body.strip() in (b"", b"[]")


@dataclass
class QuerySource(Source):
    """A query in JSON for each partition, as a source of them.

    Attributes:
        source_name: Source name in captures and loads.
        dataset: What the source calls the dataset.
        partitioning: Which partitions there are.
        day_field: What the source calls the day of a row.
        pages: What fetches its pages.
        url: Where the query is sent to.
        query: The query, with places of the partition.
        version_of: Returns the state of a partition in its pages.
        published: Returns what names each partition that is listed, once; None: none are.
        scheduled: Returns the partitions by their calendar from a day on, where none are listed.
        list_fields: Returns the type of each field; None: they are not listed.
    """

    source_name: str
    dataset: str
    partitioning: Partitioning
    day_field: str
    pages: RecordPages
    url: str
    query: Mapping[str, object]
    version_of: Callable[[Sequence[Capture], Partition], str]
    published: Callable[[], frozenset[tuple[str, ...]]] | None
    scheduled: Callable[[date | None], Sequence[Partition]] = lambda _: ()
    list_fields: Callable[[], Mapping[str, str] | None] = lambda: None

    @property
    def name(self) -> str:
        """Source name in captures and loads."""
        return self.source_name

    def partitions(self, since: date | None = None) -> PartitionList:
        """Return the partitions that are listed, oldest first, and values that are not known.

        Raises:
            SourceError: A partition of a known value has no day that could name it.
        """
        if self.published is None:
            return PartitionList(self.scheduled(since))
        pair = self.partitioning.known_in(
            self.published(), dataset=self.dataset, day_field=self.day_field
        )
        return PartitionList(*pair)

    def fields(self) -> Mapping[str, str] | None:
        """Return the type of each field, by name, as they are listed."""
        return self.list_fields()

    def extract(self, partition: Partition, captures: list[Capture]) -> Extraction:
        """Fetch all pages; more than one of them are read again, to be sure that nothing moved."""
        texts = self.partitioning.texts_of(partition)
        if self.published is not None and tuple(texts) not in (published := self.published()):
            raise UnavailableError(
                f"{self.dataset} of {partition.label} is not published, or not kept any more",
                expected="a partition that the source lists",
                found=f"{len(published)} others",
                remedy="request another, or wait for its publication",
            )
        query = fill_json(self.query, date.fromisoformat(texts[0]), partition.value)
        total = self._total(partition, query)
        pages = self.pages.fetch(self.url, query, total=total, kept=captures)
        version = self.version_of(pages, partition)
        if len(pages) > 1:
            again = self.pages.fetch(self.url, query, total=total, kept=[])
            text = self.version_of(again, partition)
            if text != version:
                raise build_moved_error(version, text)
        return Extraction(pages, version, total)

    def _total(self, partition: Partition, query: Mapping[str, object]) -> int:
        """Ask how many records there are."""
        paging, max_records = self.pages.paging, self.pages.max_records
        probe = {**query, paging.limit: 1, paging.parameter: 0}
        response = self.pages.send(self.url, probe, JSON)
        if has_no_record(response):
            raise SourceError(
                f"{self.dataset} is empty for {partition.label}",
                expected="records, as it is listed" if self.published else "records",
                found=f"HTTP {response.status}, no record",
                remedy="ask again later; if it stays so, ask the source what your access covers",
                url=response.url,
            )
        total = self.pages.total_of(response)
        if total > max_records:
            raise SourceError(
                f"{self.dataset} has more records for {partition.label} than one may page to",
                expected=f"at most {max_records}",
                found=f"{paging.total} {total}",
                remedy="report it: a partition of this size needs another way of asking",
            )
        return total


def parse_names(answer: Any, listing: Listing) -> frozenset[tuple[str, ...]] | None:
    """Return the names of each partition in an answer in JSON; None: it is another answer."""
    try:
        entries = _list_in(answer, listing)
        names = [entry[listing.member] if listing.member else entry for entry in entries]
        return frozenset(
            (name,) if isinstance(name, str) else tuple(map(str, name)) for name in names
        )
    except (KeyError, TypeError):
        return None


def parse_fields(answer: Any, listed: FieldList) -> Mapping[str, str]:
    """Return name and type of each field that an answer in JSON lists; nothing where it is none.

    A name that is listed twice makes it none: its type would be ambiguous.
    """
    try:
        pairs = [(each[listed.name], each[listed.type]) for each in _list_in(answer, listed)]
    except (KeyError, TypeError):
        return {}
    is_text = all(isinstance(text, str) and text for pair in pairs for text in pair)
    types = {name: listed.types.get(kind, kind) for name, kind in pairs} if is_text else {}
    return types if len(types) == len(pairs) else {}


def _list_in(answer: Any, place: Listing | FieldList) -> Any:
    for name in place.path.split(".") if place.path else ():
        answer = answer[name]
    return answer
