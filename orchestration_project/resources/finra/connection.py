"""Opens FINRA, or what stands in for it, and the sources of declared datasets."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from typing import Unpack
from urllib.parse import urlsplit

from orchestration_project.domains.finra.declaration import FinraDataset
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.engine.captures import Captures, compute_version
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_client, open_clock, select_network
from orchestration_project.engine.http import (
    AnswerLimits,
    HttpClient,
    Policies,
    RetryPolicy,
)
from orchestration_project.engine.own.sources import HttpSource
from orchestration_project.engine.source import Folder, FolderSource, QuerySource, Source
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.finra.files import FinraFiles
from orchestration_project.resources.finra.query_api import QueryApi
from orchestration_project.resources.finra.source import FinraSource
from orchestration_project.services.gate.gate import fetch_server_time
from orchestration_project.settings import Settings, switched_off, without_query


def query_source(api: QueryApi, dataset: FinraDataset) -> QuerySource:
    """Return a dataset of FINRA's Query API, or of one that speaks it, as a source."""
    source, columns = dataset.declared.source, dataset.partitioning.columns
    day_field = next(field.name for field in dataset.fields if field.column.key == columns[0])
    assert isinstance(source, HttpSource)  # noqa: S101 - as `finra_dataset` declares it
    listing, field_list = source.listing, source.field_list
    assert source.json_query  # noqa: S101 - as `finra_dataset` declares it
    assert listing and field_list  # noqa: S101, PT018 - as `finra_dataset` declares it
    return QuerySource(
        api.name,
        dataset.name,
        dataset.partitioning,
        day_field,
        api.pages,
        source.url,
        source.json_query,
        version_of=lambda pages, _: compute_version(dataset.name, api.pages.captures, pages),
        published=partial(api.list_values, listing, len(columns)),
        list_fields=partial(api.fields_of, field_list),
    )


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


LIMITS = AnswerLimits(max_body_bytes=16 * 1024 * 1024)
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
    from orchestration_project.resources.finra.api import FinraApi  # a folder needs none

    return FinraApi(open_api(settings, http))


def open_api(settings: Settings, http: HttpClient) -> QueryApi:
    """Return the client of FINRA's Query API, or of its demo."""
    settings = FinraSettings.of(settings)
    if settings.finra_source is None:
        raise switched_off("FINRA", "FINRA_SOURCE", "api or files")
    return QueryApi(
        http,
        Captures(open_store(settings)),
        open_clock(settings),
        name=settings.finra_source,
        api_url=_find_demo_url(settings) if settings.is_demo else settings.finra_api_url,
        token_url=settings.finra_token_url,
        credentials=None if settings.is_demo else _read_credentials(settings),
        api_key=None if settings.is_demo else settings.finra_access_token,
        concurrent_requests=settings.finra_concurrent_requests,
    )


def _find_demo_url(settings: Settings) -> str:
    from orchestration_project.engine.connections.simulator import (
        ensure_demo_url,
    )  # real data have none

    return ensure_demo_url(settings)


@contextmanager
def open_datasets(settings: Settings, admit: Callable[[str], None]) -> Iterator[FinraDatasets]:
    """Give the sources of declared datasets, each opened when it is requested.

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
            return query_source(api(), dataset)

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
        return partial(query_source, api)
    raise ConfigurationError(
        "no source of bonds by CUSIP is set: FINRA does not publish them",
        expected="FINRA_BONDS_FILES_DIR, or FINRA_BONDS_API_URL",
        remedy="set one of them to what your licence gives, or leave out this job",
    )


def folder_source(
    folder: Folder, captures: Captures, clock: Clock, dataset: FinraDataset
) -> FolderSource:
    """Return a folder with a file for each partition of a dataset."""
    names = [field.name for field in dataset.contract.fields]
    return FolderSource(folder, captures, clock, dataset.name, dataset.partitioning, names)


def _read_credentials(settings: Settings) -> tuple[str, str] | None:
    settings = FinraSettings.of(settings)
    identity, secret = settings.finra_client_id, settings.finra_client_secret
    return (identity, secret.get_secret_value()) if identity and secret else None


@contextmanager
def opened_finra(settings: Settings, **policies: Unpack[Policies]) -> Iterator[FinraSource]:
    """Open the source that FINRA_SOURCE names, and close its connections."""
    with open_http(settings, **policies) as http:
        yield open_finra(settings, http)


def open_http(settings: Settings, *, system: str = "", **policies: Unpack[Policies]) -> HttpClient:
    """Return the HTTP client for FINRA, or another ``system``, with the limits of FINRA."""
    settings = FinraSettings.of(settings)
    own: Policies = {
        "requests_per_second": settings.finra_requests_per_second,
        "limits": LIMITS,
        "network": select_network(settings),
    }
    usual = "finra_api" if settings.finra_source == "api" else "finra_demo"
    return open_client(settings, system or usual, **(own | policies))


def shown_source(settings: Settings) -> str:
    """Return where FINRA's weekly data comes from, in words without secrets."""
    settings = FinraSettings.of(settings)
    return {
        "demo": "the embedded demo",
        "api": without_query(settings.finra_api_url),
        "files": f"the folder {settings.finra_files_dir}",
    }.get(str(settings.finra_source), "no source")


def remote_clock(settings: Settings) -> Callable[[], datetime | None] | None:
    """Return a function that asks FINRA's server for its time, None where it is not used."""
    settings = FinraSettings.of(settings)
    if settings.finra_source != "api":
        return None
    from orchestration_project.resources.finra.api import CURRENT, PLACES

    path = urlsplit(PLACES[CURRENT].listing.url).path
    listing = settings.finra_api_url.rstrip("/") + path
    open_once = partial(open_http, settings, retries=RetryPolicy(max_attempts=1))
    return partial(fetch_server_time, open_once, listing)
