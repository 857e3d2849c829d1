"""Dagster's resources: each made from the settings when a run or a tick asks for it.

They have no config, so that no secret can show up in a config view. Those that reach outside are
opened at first use, within the step or tick.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
from sqlalchemy.engine import URL

from orchestration_project.domains.operations.channels import channels
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.alerts import Alerts, Condition, Links, read_policy
from orchestration_project.resources.artifacts import (
    ArtifactStore,
    FolderStore,
    open_artifacts,
)
from orchestration_project.resources.captures import Captures
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.effective_config import effective_config
from orchestration_project.resources.finra import FinraApi, FinraFiles, FinraSource
from orchestration_project.resources.finra.api import CURRENT, GROUP
from orchestration_project.resources.finra.dataset_sources import (
    DatasetApi,
    DatasetFiles,
    DatasetSource,
    FinraDatasets,
)
from orchestration_project.resources.finra.demo import demo_url
from orchestration_project.resources.finra.folder import Folder
from orchestration_project.resources.finra.query_api import QueryApi
from orchestration_project.resources.finra.readiness import finra_probe
from orchestration_project.resources.gate import Gate, Probe, Register, Run
from orchestration_project.resources.gate.clock_skew import (
    clock_probe,
    time_of_database,
    time_of_server,
)
from orchestration_project.resources.gate.queue import queue_probe
from orchestration_project.resources.gate.services import (
    alerts_probe,
    code_server_probe,
    daemon_probe,
)
from orchestration_project.resources.gate.storage import (
    artifacts_probe,
    database_probe,
    disk_probe,
)
from orchestration_project.resources.http import HttpClient
from orchestration_project.resources.http.agent import user_agent
from orchestration_project.resources.opening import at_first_use
from orchestration_project.resources.prices import PriceSource
from orchestration_project.resources.prices.opening import in_second_place, opened_prices
from orchestration_project.resources.prices.readiness import prices_probe
from orchestration_project.resources.saas.opening import (
    opened_jira,
    opened_peopleforce,
    saas_probes,
)
from orchestration_project.resources.saas.systems import SourceSystem, TargetSystem
from orchestration_project.resources.state import state_folder
from orchestration_project.resources.warehouse import Warehouse
from orchestration_project.resources.warehouse.connecting import parsed_url
from orchestration_project.settings import Settings, load_settings, without_secrets

LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
"""FINRA's answers end at 3 MB; so much more is taken before one counts as endless, of each of those
that are in flight together."""

CONFIG_TAG = "config_hash"
"""Run tag: the hash of the settings and presets under which the run opened the database."""

FORCED_TAG = "forced_past"
"""Run tag: the dependencies that were not ready when the run went on all the same."""


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
    """Return who is told of alerts, and where they are kept; opens nothing yet."""
    return Alerts(
        read_policy(
            settings.alert_rules_path,
            *channels(settings.every_alert_url, settings.named_alert_urls),
            window=timedelta(hours=settings.alert_window_hours),
        ),
        lambda: open_warehouse(settings),
        clock=open_clock(settings),
        links=Links(without_secrets(settings.ui_url)),  # they go to people
        conditions=partial(_conditions, settings),
    )


def _conditions(settings: Settings, instance: dg.DagsterInstance) -> Sequence[Condition]:
    """Return what alerts tell of though no run ends by it."""
    real_time = Clock()
    return [
        Condition("daemon_silent", daemon_probe(lambda: instance, real_time, is_missed=True)),
        Condition("queue_stuck", queue_probe(lambda: instance, real_time)),
        Condition("disk_low", open_disk_probe(settings)),
    ]


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


def open_finra(settings: Settings, http: HttpClient) -> FinraSource:
    """Return the source that FINRA_SOURCE names."""
    if settings.finra_source == "files" and settings.finra_files_dir is not None:
        captures = Captures(open_store(settings))
        return FinraFiles(settings.finra_files_dir, captures, open_clock(settings))
    return open_api(FinraApi, settings, http)


Api = TypeVar("Api", bound=QueryApi)


def open_api(kind: type[Api], settings: Settings, http: HttpClient) -> Api:
    """Return what asks FINRA's Query API, or the demo of it."""
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


def open_probes(settings: Settings, instance: Callable[[], dg.DagsterInstance]) -> Sequence[Probe]:
    """Return how each dependency is looked at; opens nothing. A new source adds its probe here."""
    real_time = Clock()
    return [
        database_probe(
            partial(unprepared_warehouse, settings), partial(open_warehouse, settings), real_time
        ),
        open_disk_probe(settings),
        artifacts_probe(partial(open_store, settings)),
        finra_probe(
            partial(_opened_finra, settings, asks_anyway=True),
            open_clock(settings),
            where=_finra_place(settings),
        ),
        prices_probe(
            partial(_opened_prices, settings, asks_anyway=True),
            is_wanted=settings.is_demo or settings.prices_source is not None,
        ),
        *saas_probes(settings, Captures(open_store(settings)), open_clock(settings)),
        clock_probe(_other_clocks(settings), real_time, most_seconds=settings.clock_skew_seconds),
        alerts_probe(partial(open_alerts, settings)),
        daemon_probe(instance, real_time),
        code_server_probe(settings.state_path / "dagster"),
    ]


def open_disk_probe(settings: Settings) -> Probe:
    """Return how the disks that we write to are looked at."""
    return disk_probe(partial(_written_places, settings), settings.disk_headroom_mib)


def _written_places(settings: Settings) -> Sequence[Path]:
    """Return the folders of this machine that we write to."""
    places = [state_folder(settings)]
    url, store = parsed_url(_database_url(settings)), open_store(settings)
    if url.get_backend_name() == "sqlite":
        places.append(Path(str(url.database).removeprefix("file:").partition("?")[0]).parent)
    if isinstance(store, FolderStore):
        places.append(store.folder)
    return list(dict.fromkeys(places))


def _finra_place(settings: Settings) -> str:
    return {
        "demo": "the embedded demo",
        "api": without_secrets(settings.finra_api_url),
        "files": f"the folder {settings.finra_files_dir}",
    }[settings.finra_source]


def _other_clocks(settings: Settings) -> Mapping[str, Callable[[], datetime | None]]:
    """Return who can tell the time, besides this machine."""
    found: dict[str, Callable[[], datetime | None]] = {}
    if settings.database_url is not None:
        found["the database"] = partial(time_of_database, partial(unprepared_warehouse, settings))
    if settings.finra_source == "api":
        once = partial(open_http, settings, max_attempts=1)
        api_url = settings.finra_api_url.rstrip("/")
        listing = f"{api_url}/partitions/group/{GROUP}/name/{CURRENT}"
        found["FINRA"] = partial(time_of_server, once, listing)
    return found


@contextmanager
def _opened_finra(settings: Settings, **options: Any) -> Iterator[FinraSource]:
    with open_http(settings, **options) as http:
        yield open_finra(settings, http)


def _opened_prices(settings: Settings, **http: Any) -> AbstractContextManager[PriceSource]:
    captures = Captures(open_store(settings))
    return opened_prices(settings, captures, open_clock(settings), **http)


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


@dg.resource(description="The user's database.")
def warehouse_resource(context: dg.InitResourceContext) -> Iterator[Warehouse]:
    """The user's database, its tables up to date; a run that opens it is tagged with its config."""

    def opening() -> Warehouse:
        settings = load_settings()
        if context.run is not None:
            tag = {CONFIG_TAG: effective_config(settings).config_hash}
            _instance(context).add_run_tags(context.run.run_id, tag)
        return open_warehouse(settings)

    with at_first_use(opening) as warehouse:
        yield warehouse


@dg.resource(
    description="Lets a run's work through while what it depends on is ready.",
    required_resource_keys={"warehouse"},
    config_schema={
        "force": dg.Field(
            bool,
            default_value=False,
            description="Go on although a dependency is not ready; the run is tagged with which.",
        )
    },
)
def gate_resource(context: dg.InitResourceContext) -> Iterator[Gate]:
    """The gate that whatever a run opens for its work goes through."""
    with at_first_use(lambda: nullcontext(_gate(context))) as gate:
        yield gate


def _gate(context: dg.InitResourceContext) -> Gate:
    settings, instance, run_id = load_settings(), _instance(context), _run_id(context)
    return Gate(
        open_probes(settings, lambda: instance),
        Register(context.resources.warehouse),
        clock=Clock(),
        max_age=timedelta(minutes=settings.readiness_max_age_minutes),
        config_hash=effective_config(settings).config_hash,
        run=Run(
            run_id,
            is_forced=context.resource_config["force"],
            is_queued=partial(_was_queued, instance, run_id),
            note_forced=lambda names: instance.add_run_tags(run_id, {FORCED_TAG: ", ".join(names)}),
        ),
    )


def _instance(context: dg.InitResourceContext) -> dg.DagsterInstance:
    if context.instance is None:
        raise AssertionError("Dagster gives a run's resources its instance")
    return context.instance


def _run_id(context: dg.InitResourceContext) -> str:
    if context.run is None:
        raise AssertionError("only a run goes through the gate")
    return context.run.run_id


def _was_queued(instance: dg.DagsterInstance, run_id: str) -> bool:
    enqueued = dg.DagsterEventType.RUN_ENQUEUED
    return bool(instance.get_records_for_run(run_id, of_type=enqueued, limit=1).records)


def _admitted(
    context: dg.InitResourceContext, work: str, opening: AbstractContextManager[Any]
) -> AbstractContextManager[Any]:
    """Return ``opening``, of which nothing is open yet, once the gate lets a run through.

    A tick of a sensor or schedule, which only asks what there is, does not go through it.
    """
    _admit(context, work)
    return opening


def _admit(context: dg.InitResourceContext, work: str) -> None:
    if context.run is not None:
        context.resources.gate.admit(work)


@dg.resource(
    description="Where raw bytes and staged files are kept.", required_resource_keys={"gate"}
)
def artifacts_resource(context: dg.InitResourceContext) -> Iterator[ArtifactStore]:
    """Where raw bytes and staged files are kept."""

    def opening() -> AbstractContextManager[ArtifactStore]:
        return _admitted(context, "artifacts", _opened_store())

    with at_first_use(opening) as store:
        yield store


@contextmanager
def _opened_store() -> Iterator[ArtifactStore]:
    yield open_store(load_settings())


@dg.resource(description="Where FINRA's weekly data comes from.", required_resource_keys={"gate"})
def finra_resource(context: dg.InitResourceContext) -> Iterator[FinraSource]:
    """Where FINRA's weekly data comes from."""

    def opening() -> AbstractContextManager[FinraSource]:
        return _admitted(context, "finra", _opened_finra(load_settings()))

    with at_first_use(opening) as finra:
        yield finra


@dg.resource(
    description="Where FINRA's further datasets come from.", required_resource_keys={"gate"}
)
def finra_datasets_resource(context: dg.InitResourceContext) -> Iterator[FinraDatasets]:
    """Where FINRA's further datasets come from."""

    def opening() -> AbstractContextManager[FinraDatasets]:
        return open_datasets(load_settings(), partial(_admit, context))

    with at_first_use(opening) as datasets:
        yield datasets


@dg.resource(description="Where daily prices come from.", required_resource_keys={"gate"})
def prices_resource(context: dg.InitResourceContext) -> Iterator[PriceSource]:
    """Where daily prices come from."""

    def opening() -> AbstractContextManager[PriceSource]:
        return _admitted(context, "prices", _opened_prices(load_settings()))

    with at_first_use(opening) as prices:
        yield prices


@dg.resource(
    description="Another source of daily prices to compare with.", required_resource_keys={"gate"}
)
def prices_second_resource(context: dg.InitResourceContext) -> Iterator[PriceSource]:
    """The source that PRICES_SECOND_SOURCE names; nothing opens it where that is not set."""

    def opening() -> AbstractContextManager[PriceSource]:
        return _admitted(context, "prices", _opened_prices(in_second_place(load_settings())))

    with at_first_use(opening) as prices:
        yield prices


@dg.resource(description="The tasks that issues are made of.", required_resource_keys={"gate"})
def peopleforce_resource(context: dg.InitResourceContext) -> Iterator[SourceSystem]:
    """The tasks that issues are made of."""

    def opening() -> AbstractContextManager[SourceSystem]:
        settings = load_settings()
        captures, clock = Captures(open_store(settings)), open_clock(settings)
        return _admitted(context, "peopleforce", opened_peopleforce(settings, captures, clock))

    with at_first_use(opening) as peopleforce:
        yield peopleforce


@dg.resource(description="The issues made of tasks.", required_resource_keys={"gate"})
def jira_resource(context: dg.InitResourceContext) -> Iterator[TargetSystem]:
    """The issues made of tasks."""

    def opening() -> AbstractContextManager[TargetSystem]:
        return _admitted(context, "jira", opened_jira(load_settings()))

    with at_first_use(opening) as jira:
        yield jira


RESOURCES = {
    "alerts": alerts_resource,
    "artifacts": artifacts_resource,
    "clock": clock_resource,
    "finra": finra_resource,
    "finra_datasets": finra_datasets_resource,
    "gate": gate_resource,
    "jira": jira_resource,
    "peopleforce": peopleforce_resource,
    "prices": prices_resource,
    "prices_second": prices_second_resource,
    "settings": settings_resource,
    "warehouse": warehouse_resource,
}
