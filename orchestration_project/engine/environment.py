"""Resources that the settings name, opened at first use: folders, clock, store, database.

Dagster opens a run's resources before its first step: what fails there ends the run, without
another attempt and without a word of what was to be done. In the step, the runner sees it.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import datetime
from functools import cache, partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Unpack

from sqlalchemy.engine import URL

from orchestration_project.engine.connections.artifacts import ArtifactStore, open_artifacts
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.connections.files import ensure_secret, ensure_state_folder
from orchestration_project.engine.contracts.chain import (
    ChainKey,
    generate_key,
    read_key,
    read_public_keys,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.connecting import find_database_url, parse_url
from orchestration_project.engine.warehouse.migrating import format_names
from orchestration_project.redaction import hide
from orchestration_project.settings import Settings
from orchestration_project.settings.project import own_files

if TYPE_CHECKING:  # commands that request nothing import no HTTP
    from orchestration_project.engine.http import HttpClient, Network, Policies
    from orchestration_project.engine.http.addresses import AddressGuard
    from orchestration_project.engine.http.shared_state import SharedState, SystemState

CHAIN_KEY_FILE = "chain_key"
"""File of STATE_DIR with the key that signs load records, where CHAIN_KEY is not set."""

LOG = logging.getLogger(__name__)


class Lazy:
    """Stands for a resource, which is opened when anything of it is first asked for.

    Where that fails, the next use tries again. What is ``known`` of it, by name, opens nothing.
    """

    def __init__(self, opening: Callable[[], Any], **known: object) -> None:
        vars(self).update(known)
        self._opening = opening
        self._lock = Lock()
        self._opened: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # a look at what kind of thing this is, and no use
            raise AttributeError(name)
        return getattr(self.open_it(), name)

    def open_it(self) -> Any:
        """Return the resource, opened once."""
        with self._lock:
            if not self._opened:
                self._opened.append(self._opening())
            return self._opened[0]


@contextmanager
def open_lazily(
    opening: Callable[[], AbstractContextManager[Any]], **known: object
) -> Iterator[Any]:
    """Yield a lazy proxy of the resource of ``opening``; close it at the end, if it was opened."""
    with ExitStack() as stack:
        yield Lazy(lambda: stack.enter_context(opening()), **known)


def open_all(*resources: object) -> None:
    """Open those of ``resources`` that wait for their first use, in this order."""
    for resource in resources:
        if isinstance(resource, Lazy):
            resource.open_it()


def open_clock(settings: Settings) -> Clock:
    """Return the clock of these settings, the same in all of a process: a given time advances."""
    return _build_clock(settings.demo_clock_now)


@cache
def _build_clock(start: datetime | None) -> Clock:
    return Clock(start)


def open_shared_store(settings: Settings) -> ArtifactStore | None:
    """Return the artifact store if other hosts can read it, as a bucket; None: a local folder."""
    url = settings.artifacts_url or ""
    return open_artifacts(url) if url.startswith("s3://") else None


def open_warehouse(settings: Settings) -> Warehouse:
    """Return the database of these settings; the tables of an empty one are made.

    Without DATABASE_URL demo and real data have a database each.

    Raises:
        ConfigurationError: It cannot be reached, its tables are of another version, or it holds
            other data.
    """
    return _prepare_warehouse(settings, Warehouse.prepare)


def open_widened_warehouse(settings: Settings) -> Warehouse:
    """Return the same, after making and widening the tables that the project declares.

    Raises:
        ConfigurationError: As for `open_warehouse`, or a difference is not additive.
    """
    return _prepare_warehouse(settings, partial(Warehouse.prepare, changes_own=True))


def open_checked_warehouse(settings: Settings) -> Warehouse:
    """Return the same for a program that runs for long, after comparing all tables.

    Additional tables, columns and indexes are logged.

    Raises:
        ConfigurationError: As for `open_warehouse`, or a table is not the declared one.
    """
    warehouse = open_warehouse(settings)
    try:
        additions = warehouse.compare_tables()
    except BaseException:
        warehouse.close()
        raise
    if additions:
        LOG.info(
            "not of this project, and left as they are: %s",
            format_names(additions),
            extra={"event": "additional_tables"},
        )
    return warehouse


def open_upgraded_warehouse(settings: Settings) -> Warehouse:
    """Return the database of these settings after migrating its tables to the present version.

    Raises:
        ConfigurationError: It cannot be reached, its tables are of a newer version, or it holds
            other data.
    """
    return _prepare_warehouse(settings, Warehouse.upgrade)


def _prepare_warehouse(settings: Settings, make_tables: Callable[..., None]) -> Warehouse:
    warehouse = open_unprepared_warehouse(settings)
    try:
        make_tables(warehouse, holds="demo" if settings.is_demo else "real")
    except BaseException:
        warehouse.close()
        raise
    return warehouse


def open_unprepared_warehouse(settings: Settings) -> Warehouse:
    """Return the database of these settings as it is, perhaps without tables.

    Raises:
        ConfigurationError: A source that the project declares is wrong.
    """
    if own_files():
        from orchestration_project.engine.own_sources import load_declarations

        load_declarations()
    return Warehouse(
        find_database_url(settings),
        clock=open_clock(settings),
        schema=settings.database_schema,
        chain_key=lambda: open_chain_key(settings),
    )


def open_chain_key(settings: Settings) -> ChainKey:
    """Return the key that signs load records: CHAIN_KEY, else the one of STATE_DIR, made once.

    Raises:
        ConfigurationError: The key is invalid, or others than the owner may read its file.
    """
    if settings.chain_key is not None:
        return read_key(settings.chain_key.get_secret_value(), "CHAIN_KEY")
    file = ensure_state_folder(settings) / CHAIN_KEY_FILE
    remedy = f"make it private by chmod 600 {file}, or set CHAIN_KEY"
    text = ensure_secret(file, generate_key, "key of the chain", remedy)
    hide(text)
    return read_key(text, str(file))


def read_trusted_keys(settings: Settings) -> frozenset[str]:
    """Return the public keys whose signatures of load records count.

    Raises:
        ConfigurationError: A key is invalid.
    """
    earlier = read_public_keys(settings.chain_trusted_keys, "CHAIN_TRUSTED_KEYS")
    return earlier | {open_chain_key(settings).public_key}


def open_shared_state(settings: Settings) -> "SharedState":
    """Return the state that requests to sources share: in PostgreSQL, or else a file of STATE_DIR.

    The embedded demo answers one STATE_DIR, so its state stays there. A connection is made at the
    first use, and tables that are missing then are made as a load makes them.

    Raises:
        ConfigurationError: The file cannot be used, or DATABASE_URL is none.
    """
    url = _find_shared_state_url(settings)
    if url is None:
        from orchestration_project.engine.http.shared_state import SqliteState

        return SqliteState(settings.state_path)
    from orchestration_project.engine.http_state import PostgresqlState

    return PostgresqlState(
        url, settings.database_schema, prepare=lambda: open_warehouse(settings).close()
    )


def select_network(settings: Settings) -> "Network":
    """Return how a source is reached; the demo, on this machine, without the environment."""
    from orchestration_project.engine.http.client import INSIDE, OUTSIDE

    return INSIDE if settings.is_demo else OUTSIDE


def open_client(
    settings: Settings, system: str, *, agent: str = "", **policies: Unpack["Policies"]
) -> "HttpClient":
    """Return the client of a system; it shares its state with all processes of the settings.

    Args:
        settings: Where the shared state is.
        system: Short name in logs, errors and state, such as `finra_api`.
        agent: How we introduce ourselves, where it is not by name and version.
        policies: How the system is asked.

    Raises:
        ConfigurationError: The state, a proxy's address or the certificates are unusable.
    """
    from orchestration_project.engine.http.client import HttpClient
    from orchestration_project.engine.http.connecting import build_user_agent

    return HttpClient(
        system=system,
        state=open_shared_state(settings),
        now=Clock().now,
        user_agent=agent or build_user_agent(),
        **policies,
    )


def read_systems(settings: Settings) -> Mapping[str, "SystemState"]:
    """Return the state of each system that was requested, by name; make nothing.

    Raises:
        ConfigurationError: It cannot be read.
        TransientError: The database is away for now.
    """
    url = _find_shared_state_url(settings)
    if url is None:
        from orchestration_project.engine.http import shared_state

        return shared_state.read_systems(settings.state_path)
    from orchestration_project.engine.http_state import PostgresqlState

    with closing(PostgresqlState(url, settings.database_schema)) as state:
        return state.systems()


def build_address_guard(
    settings: Settings,
    *,
    ports: Collection[int] | None = None,
    ports_setting: str = "",
    demo_server: str | None = None,
    proxies: Collection[str] = (),
) -> "AddressGuard":
    """Return the guard of requests to URLs that users declare; only the demo may be on loopback.

    Args:
        settings: Their HTTP_ALLOWED_NETWORKS may be requested although they are not global.
        ports: Ports that may be requested; None: all.
        ports_setting: Setting that allows further ports.
        demo_server: The one server on loopback that the demo may request, as host:port. None: it
            may request any.
        proxies: Proxies, as host:port, by way of which a user allows requests to the declared URLs,
            beside those of HTTP_FILTERING_PROXIES.
    """
    from orchestration_project.engine.http.addresses import AddressGuard

    if demo_server is not None:
        return AddressGuard(
            allow=settings.http_allowed_networks,
            ports=ports,
            ports_setting=ports_setting,
            endpoints=(demo_server,) if settings.is_demo else (),
            proxies=(*settings.http_filtering_proxies, *proxies),
        )
    demo = ("127.0.0.0/8", "::1") if settings.is_demo else ()
    return AddressGuard(
        allow=(*settings.http_allowed_networks, *demo),
        ports=ports,
        ports_setting=ports_setting,
        proxies=(*settings.http_filtering_proxies, *proxies),
    )


def _find_shared_state_url(settings: Settings) -> URL | None:
    if settings.database_url is None or settings.is_demo:
        return None
    url = parse_url(settings.database_url.get_secret_value())
    return url if url.get_backend_name() == "postgresql" else None
