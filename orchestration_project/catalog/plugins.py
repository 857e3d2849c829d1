"""Plugins: of each enabled one an asset, a job and a schedule, as the database says at the load."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from threading import Thread

from sqlalchemy.exc import SQLAlchemyError

from orchestration_project.domains.plugins.tables import plugins_rows
from orchestration_project.engine.environment import open_unprepared_warehouse
from orchestration_project.engine.warehouse.connecting import find_database_url, parse_url
from orchestration_project.engine.warehouse.frames import Scope
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.registry import (
    Connection,
    ConnectionMaker,
    DefinitionsMaker,
    Domain,
    DomainDefinitions,
    Environment,
    Job,
    MadeDefinitions,
    PartitionedTable,
    Registry,
)
from orchestration_project.resources.plugins.conditions import disabled_plugins, plugin_conditions
from orchestration_project.resources.plugins.isolation import isolation_status
from orchestration_project.resources.plugins.metrics import PluginMetrics
from orchestration_project.resources.plugins.state import StoredPlugin, read_plugins
from orchestration_project.resources.plugins.store import FOLDER
from orchestration_project.services.metrics.families import MetricsReader
from orchestration_project.services.objectives.conditions import RowConditions
from orchestration_project.services.status import Deadlines
from orchestration_project.settings import Settings

MAX_SECONDS = 2.0
"""Longest wait for the database while definitions are loaded."""

_log = logging.getLogger(__name__)


def stored_definitions(_: Registry, settings: Settings) -> MadeDefinitions:
    """Return the definitions of enabled plugins; none if the database does not answer."""
    from orchestration_project.assets.plugins import build_plugin_asset, build_plugin_job
    from orchestration_project.sensors.plugins import plugin_schedule

    enabled = [
        stored_plugin for stored_plugin in _read_added(settings) if stored_plugin.state == "enabled"
    ]
    jobs = [build_plugin_job(stored_plugin) for stored_plugin in enabled]
    schedules = [plugin_schedule(item, job) for item, job in zip(enabled, jobs, strict=True)]
    return MadeDefinitions(
        assets=[build_plugin_asset(stored_plugin) for stored_plugin in enabled],
        jobs=jobs,
        schedules=[schedule for schedule in schedules if schedule is not None],
    )


def _read_added(settings: Settings) -> Sequence[StoredPlugin]:
    """Return the plugins in the database; none if it does not answer in time or has no tables."""
    stored: list[StoredPlugin] = []
    problems: list[str] = []

    def read() -> None:
        try:
            if _is_missing(settings):
                return
            with (
                open_unprepared_warehouse(settings) as warehouse,
                warehouse.reading(seconds=MAX_SECONDS) as connection,
            ):
                stored.extend(read_plugins(connection))
        except (OrchestrationError, SQLAlchemyError, OSError) as error:
            problems.append(_format_error(error))

    reader = Thread(target=read, name="plugins", daemon=True)
    reader.start()
    reader.join(MAX_SECONDS)
    if reader.is_alive() or problems:
        _log.warning(
            "No plugin is defined: %s",
            problems[0] if problems else f"no answer in {MAX_SECONDS:g} s",
            extra={"event": "plugins_not_defined"},
        )
        return []
    return stored


def _format_error(error: Exception) -> str:
    """Return an error in one line."""
    return error.line if isinstance(error, OrchestrationError) else str(error).partition("\n")[0]


def _is_missing(settings: Settings) -> bool:
    """Whether the database is a file that does not exist: a look would make it."""
    if settings.database_url is None and not settings.state_path.is_dir():
        return True
    url = parse_url(find_database_url(settings))
    return url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file()


def _explain_unused(settings: Settings) -> str:
    """Return why the isolation is not probed: no plugin is enabled, or the database is away."""
    if _is_missing(settings):
        return "no plugin is added"
    try:
        with open_unprepared_warehouse(settings) as warehouse, warehouse.reading() as connection:
            enabled = [plugin for plugin in read_plugins(connection) if plugin.state == "enabled"]
    except (OrchestrationError, SQLAlchemyError, OSError) as error:
        return f"the database cannot be read: {_format_error(error)}"
    return "" if enabled else "no plugin is enabled"


def _check_isolation(settings: Settings, _: Environment) -> str:
    """Return a description of the limits that the isolation of plugins enforces here."""
    status = isolation_status(settings)
    if not status.is_usable:
        raise ConfigurationError(
            "enabled plugins cannot be started",
            expected="bubblewrap, and namespaces for this user",
            found=status.detail,
            remedy="install bubblewrap and allow user namespaces; or set "
            "PLUGINS_ISOLATION=process, which enforces neither files nor hosts",
        )
    return status.detail


ISOLATION = Connection(
    description="Isolation of the processes of plugins.",
    shown_name="isolation of plugins",
    open=lambda environment: nullcontext(environment.settings),
    preflight=None,
    probe=_check_isolation,
    tried=lambda _: "started a process that does nothing, as plugins are",
    unused=_explain_unused,
)


def _read_scope(key: str) -> Scope:
    """Return the rows of a delivery's key: plugin, row set and, if it has some, partition."""
    plugin, table_name, partition = [*key.split("|"), "", ""][:3]
    return {"plugin": plugin, "table_name": table_name, "partition_key": partition}


def _build_definitions() -> DomainDefinitions:
    from orchestration_project.assets.plugins import edit_job, edit_plugins

    return DomainDefinitions(
        assets=[edit_plugins],
        jobs=[Job(definition=edit_job)],
        registrations=[DefinitionsMaker(stored_definitions)],
    )


PLUGINS = Domain(
    name="plugins",
    define=_build_definitions,
    tables=[
        PartitionedTable(table=plugins_rows, scope_of=_read_scope, partitions_of=lambda *_: None)
    ],
    state_paths=[FOLDER],
    api=[
        "orchestration_project.gateway.api.plugins",
        "orchestration_project.gateway.api.plugins_endpoints",
    ],
    registrations=[
        ConnectionMaker(lambda: {"plugins_isolation": ISOLATION}),
        Deadlines(lambda _settings, warehouse, _clock: disabled_plugins(warehouse)),
        MetricsReader(lambda warehouse: PluginMetrics(warehouse).families),
        RowConditions(plugin_conditions),
    ],
)
