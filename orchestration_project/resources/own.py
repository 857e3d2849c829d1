"""Sources that a project declares: documents over HTTP with their pages, and files of a folder."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx

from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.files import read_file_bytes
from orchestration_project.engine.contracts.partitioning import Partition, fill_template
from orchestration_project.engine.contracts.queries import FieldList, Listing, Paging
from orchestration_project.engine.dlt_deliveries import DltReader, build_progress
from orchestration_project.engine.dlt_states import STATE, StartState
from orchestration_project.engine.document_source import build_status_error
from orchestration_project.engine.http import HttpClient
from orchestration_project.engine.http.access_tokens import AccessTokens
from orchestration_project.engine.http.client import Response
from orchestration_project.engine.own.contracts import (
    Progress,
    build_partitioning,
    compute_progress,
    compute_version,
    find_day_field,
    iterate_records,
)
from orchestration_project.engine.own.declarations import Dataset
from orchestration_project.engine.own.partitions import Partitions
from orchestration_project.engine.own.records import decode_document, find_member, read_json
from orchestration_project.engine.own.sources import ClientCredentials, FileSource, HttpSource
from orchestration_project.engine.source import (
    JSON,
    Extraction,
    PartitionList,
    QuerySource,
    RecordPages,
    Source,
    parse_fields,
    parse_names,
)
from orchestration_project.errors import (
    ConfigurationError,
    SourceError,
    UnavailableError,
)
from orchestration_project.redaction import hide
from orchestration_project.settings.given import Unusable, named_secret

MISSING = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.NO_CONTENT)
"""Statuses of a partition that the source does not have."""

Query = Mapping[str, str]


def published_partitions(
    declared: Partitions, now: datetime, since: date | None
) -> list[Partition]:
    """Return the partitions that the calendar says are published, oldest first.

    Args:
        declared: The partitions of a dataset.
        now: The present.
        since: The first day of interest; None: the latest ones will do.
    """
    calendar = declared.calendar
    local = now.astimezone(ZoneInfo(calendar.zone))
    last = local.date() - timedelta(days=calendar.delay_days)
    if local.time() < declared.published_at:
        last -= timedelta(days=1)
    first = max(declared.since, since or last - timedelta(days=31))
    days = [day for day in calendar.days_between(first, last) if not calendar.is_holiday(day)]
    return [Partition(day, value) for day in days for value in declared.values or ("",)]


@dataclass
class OwnSource(Source):
    """Base of both kinds: the calendar lists the partitions, and documents have them.

    A document that several partitions share is fetched once in a run or tick.
    """

    dataset: Dataset
    captures: Captures
    clock: Clock

    def partitions(self, since: date | None = None) -> PartitionList:
        """Return the partitions that the calendar says are published."""
        return PartitionList(published_partitions(self.dataset.partitions, self.clock.now(), since))

    def extract(self, partition: Partition, captures: list[Capture]) -> Extraction:
        """Fetch the documents of a partition.

        Raises:
            UnavailableError: The source does not have the partition.
            SourceError: A document cannot be read.
        """
        documents = self._documents(partition, captures)
        version = compute_version(
            self.dataset, [document.body for document in documents], partition
        )
        if version is None:
            raise _build_absence_error(
                self.dataset, partition, documents[0].url if documents else ""
            )
        return Extraction(documents, version)

    def _documents(self, partition: Partition, captures: list[Capture]) -> Sequence[Capture]:
        raise NotImplementedError


def _build_absence_error(dataset: Dataset, partition: Partition, place: str) -> UnavailableError:
    return UnavailableError(
        f"the source of {dataset.name} has nothing for {partition.label}",
        expected=f"records of {partition.label}",
        found=f"none at {place}" if place else "none",
        remedy="wait for its publication, or request another partition",
    )


@dataclass
class OwnHttpSource(OwnSource):
    """Documents over HTTP."""

    declared: HttpSource
    http: HttpClient
    start_of: Callable[[Partition], StartState] = lambda _: StartState()
    _fetched: dict[str, Sequence[Capture]] = field(default_factory=dict, init=False)
    _tokens: AccessTokens | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """Source name in captures and loads."""
        return "http"

    def partitions(self, since: date | None = None) -> PartitionList:
        """Return the published partitions; of an incremental source the newest, as it has all."""
        listed = super().partitions(since).known
        return PartitionList(listed[-1:] if self.dataset.is_incremental else listed)

    def extract(self, partition: Partition, captures: list[Capture]) -> Extraction:
        """Fetch the documents of a partition; of an incremental source, what is new.

        Raises:
            UnavailableError: The source does not have the partition, or nothing new.
            SourceError: A document cannot be read.
        """
        if not self.dataset.is_incremental:
            return super().extract(partition, captures)
        start = self.start_of(partition)
        before = build_progress(self.declared, start.state)
        documents = list(self._documents(partition, captures, before))
        bodies = [document.body for document in documents]
        version = compute_version(self.dataset, bodies, partition, before)
        if version is None:
            raise _build_absence_error(
                self.dataset, partition, documents[0].url if documents else ""
            )
        after = compute_progress(self.dataset, bodies, before)
        state = {"number": start.number, "before": start.state, "after": after._asdict()}
        documents[-1] = captures[-1] = replace(
            documents[-1], request={**documents[-1].request, STATE: state}
        )
        return Extraction(documents, version)

    def _documents(
        self, partition: Partition, captures: list[Capture], before: Progress | None = None
    ) -> Sequence[Capture]:
        place = partial(fill_template, day=partition.day, value=partition.value)
        url = place(self.declared.url)
        query = {name: place(text) for name, text in self.declared.query.items()}
        if self.declared.incremental and before:
            query[self.declared.incremental.parameter] = before.value
        address = str(httpx.URL(url, params=query) if query else url)
        if address not in self._fetched:
            self._fetched[address] = list(self._pages(url, query, partition, captures))
        else:
            captures.extend(self._fetched[address])
        return self._fetched[address]

    def _pages(
        self, url: str, query: Query, partition: Partition, captures: list[Capture]
    ) -> Iterator[Capture]:
        """Yield the pages of an answer; append all that is fetched to ``captures``."""
        paging = self.declared.paging
        fetch = partial(self._page, partition, captures)
        if paging is None:
            yield fetch(url, query)
        elif paging.kind in ("page", "offset"):
            yield from self._numbered_pages(paging, url, query, fetch)
        else:
            yield from self._linked_pages(paging, url, query, fetch)

    def _page(
        self, partition: Partition, captures: list[Capture], url: str, query: Query
    ) -> Capture:
        page = self._capture(url, query, partition)
        captures.append(page)
        return page

    def _numbered_pages(
        self, paging: Paging, url: str, query: Query, fetch: Callable[[str, Query], Capture]
    ) -> Iterator[Capture]:
        """Yield pages up to one that is not full, if the next one has nothing.

        A source may have smaller pages than declared: the first of them is not the last one then.
        """
        step = 1 if paging.kind == "page" else paging.size
        last: Capture | None = None  # the last page, if it was not full
        before = ""
        for position in range(paging.most):
            number = str(paging.start + position * step)
            try:
                page = fetch(url, {**query, paging.parameter: number})
            except UnavailableError as error:
                if last is not None:
                    return
                if position == 0:
                    raise
                raise _build_missing_page_error(url) from error
            if last is not None:
                self._require_end(page, last)
                return
            count = self._count(page)
            if count and page.sha256 == before:
                raise _build_repetition_error(url)
            yield page
            if not count:
                return
            last, before = page if count < paging.size else None, page.sha256
        raise _build_page_count_error(url, paging)

    def _linked_pages(
        self, paging: Paging, url: str, query: Query, fetch: Callable[[str, Query], Capture]
    ) -> Iterator[Capture]:
        """Yield pages of which each names the next one."""
        following: tuple[str, Query] | None = (url, query)
        requested: set[tuple[str, str]] = set()
        while following is not None:
            if len(requested) == paging.most:
                raise _build_page_count_error(url, paging)
            key = (following[0], repr(sorted(following[1].items())))
            if key in requested:
                raise _build_repetition_error(url)
            try:
                page = fetch(*following)
            except UnavailableError as error:
                if not requested:
                    raise
                raise _build_missing_page_error(url) from error
            requested.add(key)
            yield page
            following = self._following(paging, page, following)

    def _count(self, page: Capture) -> int:
        """Return the number of records of a page; a blank one has none."""
        return sum(1 for _ in iterate_records(self.dataset, page.body)) if page.body.strip() else 0

    def _require_end(self, page: Capture, last: Capture) -> None:
        """Make sure that nothing comes after the last page; some sources send that one again.

        Raises:
            SourceError: There are further records.
        """
        if page.sha256 != last.sha256 and (count := self._count(page)):
            raise SourceError(
                "a page that was not full is not the last one",
                expected="pages of as many records as size= of the paging says",
                found=f"{count} records on the next page",
                remedy="set size= to the number of records that the source has on a page",
                url=page.url,
            )

    def _following(
        self, paging: Paging, page: Capture, question: tuple[str, Query]
    ) -> tuple[str, Query] | None:
        """Return the address and query of the next page; None: this is the last one."""
        url, query = question
        match paging.kind:
            case "cursor":
                text = self._next_text(page, paging)
                return (url, {**query, paging.parameter: text}) if text else None
            case "next_url":
                text = self._next_text(page, paging)
                return (self._same_host(url, text), {}) if text else None
            case "link_header":
                text = next_link(page.response_headers.get("link", ""))
                return (self._same_host(url, text), {}) if text else None
            case "page" | "offset":
                return None

    def _next_text(self, page: Capture, paging: Paging) -> str:
        document = decode_document(page.body, self.declared.reading)
        return next_text(document, paging.path, is_optional=paging.optional)

    def _same_host(self, url: str, following: str) -> str:
        """Return the address of the next page; keys are not sent to another host.

        Raises:
            SourceError: It is on another host.
        """
        joined = httpx.URL(url).join(following)
        if (joined.scheme, joined.host, joined.port) != _parse_origin(url):
            raise SourceError(
                "the next page is on another host",
                expected=f"a page of {httpx.URL(url).host}",
                found=joined.host,
                remedy="see the answer among the captures; if that is right, declare its address",
            )
        return str(joined)

    def _capture(self, url: str, query: Query, partition: Partition) -> Capture:
        response = self._response(url, query, partition)
        return self.captures.keep(
            response.body,
            url=response.url,
            request={"method": "GET", "partition": partition.label, "query": dict(query)},
            response_headers=response.headers,
            http_status=response.status,
            fetched_at=self.clock.now(),
        )

    def _response(self, url: str, query: Query, partition: Partition) -> Response:
        response = self._request(url, query)
        if response.status in MISSING:
            raise _build_absence_error(self.dataset, partition, response.url)
        if response.status != HTTPStatus.OK:
            raise build_status_error(f"the source of {self.dataset.name}", response)
        return response

    def send(self, url: str, body: Mapping[str, object] | None, accept: str) -> Response:
        """Send a query in JSON, or of None a request without one.

        Raises:
            OrchestrationError: The answer has neither status 200 nor 204.
        """
        response = self._request(url, {}, body, accept)
        if response.status not in (HTTPStatus.OK, HTTPStatus.NO_CONTENT):
            raise build_status_error(f"the source of {self.dataset.name}", response)
        return response

    def list_names(self, listing: Listing) -> frozenset[tuple[str, ...]]:
        """Return the names of each partition in a list of the source.

        Raises:
            SourceError: The answer is none.
        """
        columns = build_partitioning(self.dataset).columns
        response = self.send(listing.url, None, JSON)
        names = parse_names(read_json(response.body), listing)
        if names is None or any(len(name) != len(columns) for name in names):
            raise _build_answer_error(
                response, f"a list of partitions, each with {' and '.join(columns)}"
            )
        return names

    def list_fields(self, listed: FieldList) -> Mapping[str, str]:
        """Return the type of each field, by name, in a list of the source.

        Raises:
            SourceError: The answer is none.
        """
        response = self.send(listed.url, None, JSON)
        fields = parse_fields(read_json(response.body), listed)
        if not fields:
            raise _build_answer_error(
                response, f"a list of fields, with {listed.name} and {listed.type}"
            )
        return fields

    def count_rows(self, response: Response) -> int | None:
        """Return the number of records of a page; None: it is none."""
        try:
            return sum(1 for _ in iterate_records(self.dataset, response.body))
        except SourceError:
            return None

    def version_of_pages(self, pages: Sequence[Capture], partition: Partition) -> str:
        """Return the state of a partition in pages.

        Raises:
            UnavailableError: They have no record of it.
        """
        bodies = [part.body for piece in self.captures.pieces(pages) for part in piece]
        version = compute_version(self.dataset, bodies, partition)
        if version is None:
            raise _build_absence_error(self.dataset, partition, self.declared.url)
        return version

    def _request(
        self,
        url: str,
        query: Query,
        body: Mapping[str, object] | None = None,
        accept: str = "",
    ) -> Response:
        declared = self.declared
        secret_query = {name: secret(setting) for name, setting in declared.secret_query.items()}
        headers = {**declared.headers, **({"Accept": accept} if accept else {})}
        headers |= {name: secret(setting) for name, setting in declared.secret_headers.items()}
        if declared.bearer:
            headers["Authorization"] = f"Bearer {secret(declared.bearer)}"
        basic = None
        if declared.basic is not None:
            basic = (secret(declared.basic[0]), secret(declared.basic[1]))
        requested_url = httpx.URL(url)
        requested_url = (
            requested_url.copy_merge_params({**query, **secret_query})
            if query or secret_query
            else requested_url
        )
        return self._answer(str(requested_url), headers, basic, body)

    def _answer(
        self,
        url: str,
        headers: Mapping[str, str],
        basic: tuple[str, str] | None,
        body: Mapping[str, object] | None,
    ) -> Response:
        """Send a request; if its token is refused, repeat it with a new one."""
        if self.declared.oauth is not None and self._tokens is None:
            self._tokens = self._token_service(self.declared.oauth)
        send = partial(self.http.request, "GET" if body is None else "POST", url, json=body)
        if self._tokens is None:
            return send(headers=headers, basic_auth=basic)
        token = self._tokens.header()
        response = send(headers={**headers, **token})
        if response.status == HTTPStatus.UNAUTHORIZED:
            self._tokens.forget(token["Authorization"])
            response = send(headers={**headers, **self._tokens.header()})
        return response

    def _token_service(self, client: ClientCredentials) -> AccessTokens:
        return AccessTokens(
            self.http,
            client.token_url,
            lambda: (secret(client.client_id), secret(client.client_secret)),
            label=f"the source of {self.dataset.name}",
            settings=(client.client_id, client.client_secret, "token_url of the declaration"),
            form={"scope": client.scope} if client.scope else {},
        )


def query_source(own: OwnHttpSource) -> QuerySource:
    """Return the source of a declared query in JSON."""
    declared, dataset = own.declared, own.dataset
    listing, field_list = declared.listing, declared.field_list
    assert declared.paging and declared.json_query  # noqa: S101, PT018 - as declared
    return QuerySource(
        own.name,
        dataset.name,
        build_partitioning(dataset),
        find_day_field(dataset),
        RecordPages(
            send=own.send,
            captures=own.captures,
            clock=own.clock,
            paging=declared.paging,
            accept=declared.headers.get("Accept", "*/*"),
            concurrent_requests=declared.concurrent_requests,
            count_rows=own.count_rows,
            unusable=partial(_build_answer_error, expected="a page of records, as declared"),
        ),
        declared.url,
        declared.json_query,
        version_of=own.version_of_pages,
        published=cache(partial(own.list_names, listing)) if listing else None,
        scheduled=lambda since: published_partitions(dataset.partitions, own.clock.now(), since),
        list_fields=partial(own.list_fields, field_list) if field_list else lambda: None,
    )


def _build_answer_error(response: Response, expected: str) -> SourceError:
    return SourceError(
        "the answer cannot be used",
        expected=expected,
        found=f"HTTP {response.status}: {response.body[:200].decode('utf-8', 'replace')!a}",
        remedy="see what answers at this address; correct the declaration",
        url=response.url,
    )


def _parse_origin(url: str) -> tuple[str, str, int | None]:
    parsed = httpx.URL(url)
    return parsed.scheme, parsed.host, parsed.port


def secret(name: str) -> str:
    """Return the secret that an environment variable has; it is hidden from then on.

    Raises:
        ConfigurationError: The variable is not set.
    """
    found = named_secret(name)
    if found is None or isinstance(found, Unusable):
        raise ConfigurationError(
            f"the secret {name} cannot be read",
            expected=f"the variable {name}, which the declaration of a source names",
            found="no value" if found is None else repr(found),
            remedy=f"set {name} in the environment or in .env, or {name}_FILE to a file with it",
        )
    hide(found)
    return found


def next_text(body: bytes, path: str, *, is_optional: bool = False) -> str:
    """Return the cursor or address of the next page; blank: this is the last one.

    Raises:
        SourceError: The answer has nothing at the path, unless it is optional, or neither a text
            nor a number.
    """
    document = read_json(body)
    is_name = isinstance(document, dict) and path in document  # such as @odata.nextLink
    found = (
        document[path]
        if is_name
        else find_member(document, path, "the next page", is_optional=is_optional)
    )
    if found in (None, False, ""):
        return ""
    if not isinstance(found, str):
        raise SourceError(
            "the next page cannot be read",
            expected=f"a text, a number or null at {path}",
            found=type(found).__name__,
            remedy="see the answer among the captures, and correct the path of the paging",
        )
    return str(found)


LINK = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')


def next_link(header: str) -> str:
    """Return the address that a header Link has for the next page; blank: there is none."""
    match = LINK.search(header)
    return match[1] if match else ""


def _build_missing_page_error(url: str) -> SourceError:
    return SourceError(
        "a page of the answer is missing",
        expected="each page that the one before leads to",
        found="none",
        remedy="load the partition again; if it stays so, correct the paging",
        url=url,
    )


def _build_page_count_error(url: str, paging: Paging) -> SourceError:
    return SourceError(
        "the answer has too many pages",
        expected=f"at most {paging.most}",
        found="a further one",
        remedy="raise most= of the paging, or request smaller partitions",
        url=url,
    )


def _build_repetition_error(url: str) -> SourceError:
    return SourceError(
        "a page of the answer was read before",
        expected="another page, or none",
        found="the same one",
        remedy="see the answers among the captures, and correct the paging",
        url=url,
    )


@dataclass
class OwnFileSource(OwnSource):
    """Files of a folder."""

    declared: FileSource
    folder: Path

    @property
    def name(self) -> str:
        """Source name in captures and loads."""
        return "files"

    def partitions(self, since: date | None = None) -> PartitionList:
        """Return the published partitions whose file is there."""
        listed = super().partitions(since).known
        return PartitionList([partition for partition in listed if self._path(partition).is_file()])

    def _path(self, partition: Partition) -> Path:
        return self.folder / fill_template(self.declared.path, partition.day, partition.value)

    def _documents(self, partition: Partition, captures: list[Capture]) -> Sequence[Capture]:
        path = self._path(partition)
        if not path.is_file():
            raise _build_absence_error(self.dataset, partition, str(path))
        capture = self.captures.keep(
            read_file_bytes(path.parent, path.name, setting="path of file_source"),
            url=f"file:{path.name}",
            request={"file": path.name},
            fetched_at=self.clock.now(),
        )
        captures.append(capture)
        return [capture]


@dataclass
class OwnDltSource(OwnSource):
    """A resource of dlt."""

    reader: DltReader

    @property
    def name(self) -> str:
        """Source name in captures and loads."""
        return "dlt"

    def partitions(self, since: date | None = None) -> PartitionList:
        """Return the published partitions; of an incremental resource the newest, as it has all."""
        listed = super().partitions(since).known
        return PartitionList(listed[-1:] if self.reader.source.is_incremental else listed)

    def extract(self, partition: Partition, captures: list[Capture]) -> Extraction:
        """Read a partition of the resource, as `DltReader`."""
        return self.reader.extract(partition, captures)
