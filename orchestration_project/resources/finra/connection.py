"""Opens FINRA, or what stands in for it, and the sources of declared datasets."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, partial
from typing import Any

from orchestration_project.connections.artifacts import open_store
from orchestration_project.connections.clock import Clock
from orchestration_project.connections.http import HttpClient
from orchestration_project.connections.http.connecting import user_agent
from orchestration_project.connections.simulator import demo_url
from orchestration_project.contracts.delimited import DELIMITER
from orchestration_project.contracts.partitioning import Partition
from orchestration_project.domains.finra.declaration import FinraDataset
from orchestration_project.engine.captures import Capture, Captures, rows_version
from orchestration_project.engine.environment import open_clock, open_shared_state
from orchestration_project.engine.source import (
    Extraction,
    Folder,
    FolderSource,
    PartitionList,
    Source,
)
from orchestration_project.errors import ConfigurationError, SourceError, UnavailableError
from orchestration_project.resources.finra import FinraApi, FinraFiles, FinraSource
from orchestration_project.resources.finra.api import CURRENT, GROUP
from orchestration_project.resources.finra.query_api import QueryApi, compared, moved
from orchestration_project.services.gate.gate import time_of_server
from orchestration_project.settings import Settings, switched_off, without_query
from orchestration_project.settings.domains.finra import FinraSettings


@dataclass(frozen=True)
class DatasetApiSource(Source):
    """A dataset of FINRA's Query API, or of one that speaks it, as a source of its partitions."""

    api: QueryApi
    dataset: FinraDataset

    @property
    def name(self) -> str:
        """Source name in captures and loads: demo or api."""
        return self.api.name

    def partitions(self, since: date | None = None) -> PartitionList:
        """Return the partitions that are listed, oldest first, and values that are not known."""
        return PartitionList(*self.dataset.known_partitions(self._published()))

    def _published(self) -> Sequence[tuple[str, ...]]:
        """Return what names each partition that is listed, oldest first."""
        dataset = self.dataset
        width = len(dataset.partition_fields)
        return sorted(self.api.list_values(dataset.group, dataset.name, width))

    def fields(self) -> Mapping[str, str] | None:
        """Return the type of each field, by name, as they are listed."""
        return self.api.fields_of(self.dataset.group, self.dataset.name)

    def extract(self, partition: Partition, captures: list[Capture]) -> Extraction:
        """Fetch all pages; more than one of them are read again, to be sure that nothing moved."""
        dataset, published = self.dataset, self._published()
        values = dataset.source_values(partition)
        if tuple(values.values()) not in published:
            raise UnavailableError(
                f"{dataset.name} of {partition.label} is not published, or not kept any more",
                expected="a partition that /partitions lists",
                found=f"{len(published)} others",
                remedy="ask for another, or wait for its publication",
            )
        query = _query(dataset, values)
        total = self._total(partition, query)
        pages = self.api.fetch_pages(dataset.group, dataset.name, query, total=total, kept=captures)
        version = rows_version(dataset.name, self.api.captures, pages)
        if len(pages) > 1:
            again = self.api.fetch_pages(dataset.group, dataset.name, query, total=total, kept=[])
            found = rows_version(dataset.name, self.api.captures, again)
            if found != version:
                raise moved(version, found)
        return Extraction(pages, version, total)

    def _total(self, partition: Partition, query: Mapping[str, object]) -> int:
        """Ask how many records there are."""
        dataset = self.dataset
        probe = {**query, "limit": 1, "offset": 0}
        response = self.api.post(dataset.group, dataset.name, probe, accept="application/json")
        if not response.body.strip() or not self.api.rows_of(response):
            raise SourceError(
                f"{dataset.name} is empty for {partition.label}",
                expected="records, as /partitions lists it",
                found=f"HTTP {response.status}, no record",
                remedy="ask again later; if it stays so, ask the source what your access covers",
                url=response.url,
            )
        total = self.api.record_total_of(response)
        if total > self.api.max_records:
            raise SourceError(
                f"{dataset.name} has more records for {partition.label} than one may page to",
                expected=f"at most {self.api.max_records}",
                found=f"Record-Total {total}",
                remedy="report it: a partition of this size needs another way of asking",
            )
        return total


def _query(dataset: FinraDataset, values: Mapping[str, str]) -> Mapping[str, object]:
    """Return the query for a partition, in an order that makes its pages certain."""
    key = [each.name for each in dataset.fields if each.column.primary_key]
    return {
        "fields": [each.name for each in dataset.fields],
        "compareFilters": [
            compared(name, "EQUAL", value)
            for name, value in {**values, **dataset.only_rows}.items()
        ],
        "sortFields": [name for name in key if name not in values],
        "delimiter": DELIMITER,
        "quoteValues": False,
    }


SourceOf = Callable[[FinraDataset], Source]


@dataclass(frozen=True)
class FinraDatasets:
    """Source of each dataset, opened on first use."""

    public: SourceOf
    licensed: SourceOf

    def of(self, dataset: FinraDataset) -> Source:
        """Return the source of a dataset.

        Raises:
            ConfigurationError: The settings name none.
        """
        return self.licensed(dataset) if dataset.is_licensed else self.public(dataset)


LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
"""FINRA's answers end at 3 MB; so much more is taken before one counts as endless, of each of those
that are in flight together."""


def open_finra(settings: Settings, http: HttpClient) -> FinraSource:
    """Return the source that FINRA_SOURCE names.

    Raises:
        ConfigurationError: It names none.
    """
    settings = FinraSettings.of(settings)
    if settings.finra_source == "files" and settings.finra_files_dir is not None:
        captures = Captures(open_store(settings))
        return FinraFiles(settings.finra_files_dir, captures, open_clock(settings))
    return FinraApi(open_api(settings, http))


def open_api(settings: Settings, http: HttpClient) -> QueryApi:
    """Return what asks FINRA's Query API, or the demo of it."""
    settings = FinraSettings.of(settings)
    if settings.finra_source is None:
        raise switched_off("FINRA", "FINRA_SOURCE", "api or files")
    return QueryApi(
        http,
        Captures(open_store(settings)),
        open_clock(settings),
        name=settings.finra_source,
        api_url=demo_url(settings) if settings.is_demo else settings.finra_api_url,
        token_url=settings.finra_token_url,
        credentials=None if settings.is_demo else _credentials(settings),
        api_key=None if settings.is_demo else settings.finra_access_token,
        concurrent_requests=settings.finra_concurrent_requests,
    )


@contextmanager
def open_datasets(settings: Settings, admit: Callable[[str], None]) -> Iterator[FinraDatasets]:
    """Give the sources of declared datasets, each opened when it is asked for.

    Raises, when a source is asked for:
        ConfigurationError: The settings name none.
    """
    settings = FinraSettings.of(settings)
    with ExitStack() as stack:

        @cache
        def api() -> QueryApi:
            if settings.finra_source == "files":
                raise ConfigurationError(
                    "FINRA_SOURCE=files has no public dataset",
                    expected="FINRA_SOURCE=api, or demo",
                    remedy="set FINRA_SOURCE=api with a DATABASE_URL of its own, or leave out "
                    "these jobs",
                )
            admit("finra")
            return open_api(settings, stack.enter_context(open_http(settings)))

        @cache
        def bonds() -> SourceOf:
            return _open_bonds(settings, stack)

        def public(dataset: FinraDataset) -> Source:
            return DatasetApiSource(api(), dataset)

        def licensed(dataset: FinraDataset) -> Source:
            return public(dataset) if settings.is_demo else bonds()(dataset)

        yield FinraDatasets(public, licensed)


def _open_bonds(settings: Settings, stack: ExitStack) -> SourceOf:
    settings = FinraSettings.of(settings)
    captures, clock = Captures(open_store(settings)), open_clock(settings)
    if settings.finra_bonds_files_dir is not None:
        folder = Folder(settings.finra_bonds_files_dir, "FINRA_BONDS_FILES_DIR")
        return partial(folder_source, folder, captures, clock)
    if settings.finra_bonds_api_url is not None:
        api = QueryApi(
            stack.enter_context(open_http(settings, system="finra_bonds")),
            captures,
            clock,
            name="api",
            api_url=settings.finra_bonds_api_url,
            token_url="",
            credentials=None,  # FINRA's are for FINRA alone
            api_key=settings.finra_bonds_access_token,
            concurrent_requests=settings.finra_concurrent_requests,
        )
        return partial(DatasetApiSource, api)
    raise ConfigurationError(
        "no source of bonds by CUSIP is set: FINRA does not publish them",
        expected="FINRA_BONDS_FILES_DIR, or FINRA_BONDS_API_URL",
        remedy="set one of them to what your licence gives, or leave out this job",
    )


def folder_source(
    folder: Folder, captures: Captures, clock: Clock, dataset: FinraDataset
) -> FolderSource:
    """Return a folder with a file for each partition of a dataset."""
    names = [field.name for field in dataset.fields]
    return FolderSource(folder, captures, clock, dataset.name, dataset.partitioning, names)


def _credentials(settings: Settings) -> tuple[str, str] | None:
    settings = FinraSettings.of(settings)
    identity, secret = settings.finra_client_id, settings.finra_client_secret
    return (identity, secret.get_secret_value()) if identity and secret else None


@contextmanager
def opened_finra(settings: Settings, **options: Any) -> Iterator[FinraSource]:
    """Open the source that FINRA_SOURCE names, and close its connections."""
    with open_http(settings, **options) as http:
        yield open_finra(settings, http)


def open_http(settings: Settings, *, system: str = "", **options: Any) -> HttpClient:
    """Return the HTTP client for FINRA, or another ``system``, with the limits of FINRA."""
    settings = FinraSettings.of(settings)
    return HttpClient(
        system=system or ("finra_api" if settings.finra_source == "api" else "finra_demo"),
        state=open_shared_state(settings),
        requests_per_second=settings.finra_requests_per_second,
        now=Clock().now,
        use_environment=not settings.is_demo,
        user_agent=user_agent(),
        max_body_bytes=LARGEST_ANSWER_BYTES,
        **options,
    )


def shown_source(settings: Settings) -> str:
    """Return where FINRA's weekly data comes from, in words without secrets."""
    settings = FinraSettings.of(settings)
    return {
        "demo": "the embedded demo",
        "api": without_query(settings.finra_api_url),
        "files": f"the folder {settings.finra_files_dir}",
    }.get(str(settings.finra_source), "no source")


def remote_clock(settings: Settings) -> Callable[[], datetime | None] | None:
    """Return what asks FINRA's server for its time, None where no server of FINRA's is asked."""
    settings = FinraSettings.of(settings)
    if settings.finra_source != "api":
        return None
    api_url = settings.finra_api_url.rstrip("/")
    listing = f"{api_url}/partitions/group/{GROUP}/name/{CURRENT}"
    return partial(time_of_server, partial(open_http, settings, max_attempts=1), listing)
