"""Opens FINRA, or what stands in for it, as the settings name it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import cache, partial
from typing import Any, TypeVar

from orchestration_project.connections.clock import Clock
from orchestration_project.connections.http import HttpClient
from orchestration_project.connections.http.connecting import user_agent
from orchestration_project.connections.simulator import demo_url
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.environment import open_clock, open_store
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.finra import FinraApi, FinraFiles, FinraSource
from orchestration_project.resources.finra.api import CURRENT, GROUP
from orchestration_project.resources.finra.dataset_sources import (
    DatasetApi,
    DatasetFiles,
    DatasetSource,
    FinraDatasets,
)
from orchestration_project.resources.finra.folder import Folder
from orchestration_project.resources.finra.query_api import QueryApi
from orchestration_project.services.gate.dependencies import time_of_server
from orchestration_project.settings import Settings, switched_off, without_query

LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
"""FINRA's answers end at 3 MB; so much more is taken before one counts as endless, of each of those
that are in flight together."""


def open_finra(settings: Settings, http: HttpClient) -> FinraSource:
    """Return the source that FINRA_SOURCE names.

    Raises:
        ConfigurationError: It names none.
    """
    if settings.finra_source == "files" and settings.finra_files_dir is not None:
        captures = Captures(open_store(settings))
        return FinraFiles(settings.finra_files_dir, captures, open_clock(settings))
    return open_api(FinraApi, settings, http)


Api = TypeVar("Api", bound=QueryApi)


def open_api(kind: type[Api], settings: Settings, http: HttpClient) -> Api:
    """Return what asks FINRA's Query API, or the demo of it."""
    if settings.finra_source is None:
        raise switched_off("FINRA", "FINRA_SOURCE", "api or files")
    return kind(
        http,
        Captures(open_store(settings)),
        open_clock(settings),
        name=settings.finra_source,
        api_url=demo_url(settings) if settings.is_demo else settings.finra_api_url,
        token_url=settings.finra_token_url,
        credentials=None if settings.is_demo else _credentials(settings),
        api_key=None if settings.is_demo else settings.finra_api_key,
        concurrent_requests=settings.finra_concurrent_requests,
    )


@contextmanager
def open_datasets(settings: Settings, admit: Callable[[str], None]) -> Iterator[FinraDatasets]:
    """Give the sources of declared datasets, each opened when it is asked for.

    Raises, when a source is asked for:
        ConfigurationError: The settings name none.
    """
    with ExitStack() as stack:

        @cache
        def public() -> DatasetSource:
            if settings.finra_source == "files":
                raise ConfigurationError(
                    "FINRA_SOURCE=files has no public dataset",
                    expected="FINRA_SOURCE=api, or demo",
                    remedy="set FINRA_SOURCE=api with a DATABASE_URL of its own, or leave out "
                    "these jobs",
                )
            admit("finra")
            return open_api(DatasetApi, settings, stack.enter_context(open_http(settings)))

        @cache
        def licensed() -> DatasetSource:
            return public() if settings.is_demo else _open_bonds(settings, stack)

        yield FinraDatasets(public, licensed)


def _open_bonds(settings: Settings, stack: ExitStack) -> DatasetSource:
    captures, clock = Captures(open_store(settings)), open_clock(settings)
    if settings.finra_bonds_files_dir is not None:
        folder = Folder(settings.finra_bonds_files_dir, "FINRA_BONDS_FILES_DIR")
        return DatasetFiles(folder, captures, clock)
    if settings.finra_bonds_api_url is not None:
        return DatasetApi(
            stack.enter_context(open_http(settings, system="finra_bonds")),
            captures,
            clock,
            name="api",
            api_url=settings.finra_bonds_api_url,
            token_url="",
            credentials=None,  # FINRA's are for FINRA alone
            api_key=settings.finra_bonds_api_key,
            concurrent_requests=settings.finra_concurrent_requests,
        )
    raise ConfigurationError(
        "there is no source of bonds by CUSIP: FINRA does not publish them",
        expected="FINRA_BONDS_FILES_DIR, or FINRA_BONDS_API_URL",
        remedy="set one of them to what your licence gives, or leave out this job",
    )


def _credentials(settings: Settings) -> tuple[str, str] | None:
    identity, secret = settings.finra_client_id, settings.finra_client_secret
    return (identity, secret.get_secret_value()) if identity and secret else None


@contextmanager
def opened_finra(settings: Settings, **options: Any) -> Iterator[FinraSource]:
    """Open the source that FINRA_SOURCE names, and close its connections."""
    with open_http(settings, **options) as http:
        yield open_finra(settings, http)


def open_http(settings: Settings, *, system: str = "", **options: Any) -> HttpClient:
    """Return the HTTP client for FINRA, or another ``system``, with the limits of FINRA."""
    return HttpClient(
        system=system or ("finra_api" if settings.finra_source == "api" else "finra_demo"),
        state_dir=settings.state_path,
        requests_per_second=settings.finra_requests_per_second,
        now=Clock().now,
        use_environment=not settings.is_demo,
        user_agent=user_agent(),
        max_body_bytes=LARGEST_ANSWER_BYTES,
        **options,
    )


def shown_source(settings: Settings) -> str:
    """Return where FINRA's weekly data comes from, in words without secrets."""
    return {
        "demo": "the embedded demo",
        "api": without_query(settings.finra_api_url),
        "files": f"the folder {settings.finra_files_dir}",
    }.get(str(settings.finra_source), "no source")


def remote_clock(settings: Settings) -> Callable[[], datetime | None] | None:
    """Return what asks FINRA's server for its time, None where no server of FINRA's is asked."""
    if settings.finra_source != "api":
        return None
    api_url = settings.finra_api_url.rstrip("/")
    listing = f"{api_url}/partitions/group/{GROUP}/name/{CURRENT}"
    return partial(time_of_server, partial(open_http, settings, max_attempts=1), listing)
