"""Dagster's resources: each made from the settings when a run or a tick asks for it.

They have no config, so that no secret can show up in a config view. Those that reach outside are
opened at first use, within the step or tick.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import dagster as dg
from sqlalchemy.engine import URL

from orchestration_project.domains.operations.channels import channels
from orchestration_project.resources.alerts import Alerts, Links
from orchestration_project.resources.artifacts import ArtifactStore, open_artifacts
from orchestration_project.resources.captures import Captures
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.finra import FinraApi, FinraFiles, FinraSource
from orchestration_project.resources.finra.demo import demo_url
from orchestration_project.resources.http import HttpClient
from orchestration_project.resources.opening import at_first_use
from orchestration_project.resources.state import state_folder
from orchestration_project.resources.warehouse import Warehouse
from orchestration_project.settings import Settings, load_settings

LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
"""FINRA's answers end at 3 MB; so much more is taken before one counts as endless, of each of those
that are in flight together."""


def open_clock(settings: Settings) -> Clock:
    """Return the clock of these settings, the same in all of a process: a given time advances."""
    return _clock_from(settings.clock_now)


@cache
def _clock_from(start: datetime | None) -> Clock:
    return Clock(start)


def open_store(settings: Settings) -> ArtifactStore:
    """Return the artifact store of these settings."""
    return open_artifacts(settings.artifacts_url or str(settings.state_path / "artifacts"))


def open_warehouse(settings: Settings) -> Warehouse:
    """Return the database of these settings, its tables up to date.

    Without DATABASE_URL each source has a database of its own.

    Raises:
        ConfigurationError: It cannot be reached, is of a newer version, or holds other data.
    """
    warehouse = unprepared_warehouse(settings)
    try:
        warehouse.prepare(holds="demo" if settings.is_demo else "real")
    except BaseException:
        warehouse.close()
        raise
    return warehouse


def unprepared_warehouse(settings: Settings) -> Warehouse:
    """Return the database of these settings as it is, perhaps without tables."""
    return Warehouse(
        _database_url(settings), clock=open_clock(settings), schema=settings.database_schema
    )


def _database_url(settings: Settings) -> str | URL:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    file = state_folder(settings) / f"{settings.finra_source}.sqlite"
    return URL.create("sqlite", database=str(file))


def open_alerts(settings: Settings) -> Alerts:
    """Return who is told of alerts, and where they are kept; opens nothing yet.

    Raises:
        ConfigurationError: An entry of ALERT_URLS is malformed.
    """
    urls = settings.alert_urls
    return Alerts(
        channels(urls.get_secret_value() if urls else ""),
        lambda: open_warehouse(settings),
        clock=open_clock(settings),
        window=timedelta(hours=settings.alert_window_hours),
        links=Links(settings.ui_url),
    )


def open_http(settings: Settings) -> HttpClient:
    """Return the HTTP client for FINRA, with the limits that FINRA asks for."""
    return HttpClient(
        system="finra_api" if settings.finra_source == "api" else "finra_demo",
        state_dir=settings.state_path,
        requests_per_second=settings.finra_requests_per_second,
        now=Clock().now,
        use_environment=not settings.is_demo,
        user_agent=f"orchestration_project/{_version()}",
        max_body_bytes=LARGEST_ANSWER_BYTES,
    )


def _version() -> str:
    try:
        return version("orchestration_project")
    except PackageNotFoundError:  # run from a checkout
        return "0"


def open_finra(settings: Settings, http: HttpClient) -> FinraSource:
    """Return the source that FINRA_SOURCE names."""
    clock = open_clock(settings)
    captures = Captures(open_store(settings))
    if settings.finra_source == "files" and settings.finra_files_dir is not None:
        return FinraFiles(settings.finra_files_dir, captures, clock)
    return FinraApi(
        http,
        captures,
        clock,
        name=settings.finra_source,
        api_url=demo_url(settings) if settings.is_demo else settings.finra_api_url,
        token_url=settings.finra_token_url,
        credentials=None if settings.is_demo else _credentials(settings),
        concurrent_requests=settings.finra_concurrent_requests,
    )


def _credentials(settings: Settings) -> tuple[str, str] | None:
    identity, secret = settings.finra_client_id, settings.finra_client_secret
    return (identity, secret.get_secret_value()) if identity and secret else None


@dg.resource(description="The settings of this process.")
def settings_resource() -> Settings:
    """The settings of this process; what its run or tick logs follows LOG_LEVEL."""
    settings = load_settings()
    logging.getLogger("orchestration_project").setLevel(settings.log_level)
    return settings


@dg.resource(description="Who is told of alerts, and where they are kept.")
def alerts_resource() -> Alerts:
    """Who is told of alerts, and where they are kept."""
    return open_alerts(load_settings())


@dg.resource(description="The one clock.")
def clock_resource() -> Clock:
    """The one clock."""
    return open_clock(load_settings())


@dg.resource(description="Where raw bytes and staged files are kept.")
def artifacts_resource() -> Iterator[ArtifactStore]:
    """Where raw bytes and staged files are kept."""
    with at_first_use(lambda: nullcontext(open_store(load_settings()))) as store:
        yield store


@dg.resource(description="The user's database.")
def warehouse_resource() -> Iterator[Warehouse]:
    """The user's database, its tables up to date."""
    with at_first_use(lambda: open_warehouse(load_settings())) as warehouse:
        yield warehouse


@dg.resource(description="Where FINRA's weekly data comes from.")
def finra_resource() -> Iterator[FinraSource]:
    """Where FINRA's weekly data comes from."""
    with at_first_use(_opened_finra) as finra:
        yield finra


@contextmanager
def _opened_finra() -> Iterator[FinraSource]:
    settings = load_settings()
    with open_http(settings) as http:
        yield open_finra(settings, http)


RESOURCES = {
    "alerts": alerts_resource,
    "artifacts": artifacts_resource,
    "clock": clock_resource,
    "finra": finra_resource,
    "settings": settings_resource,
    "warehouse": warehouse_resource,
}
