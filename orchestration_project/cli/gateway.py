"""`gateway`: Dagster's web server behind its login, in one process."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg

from orchestration_project.cli.execution import repository
from orchestration_project.engine.contracts.job_kinds import require_kind
from orchestration_project.engine.contracts.job_options import require_valid
from orchestration_project.engine.dagster_private.definitions import find_models
from orchestration_project.engine.dagster_private.processes import watch_code_servers_seldom
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.bar import installation_of
from orchestration_project.gateway.bind_address import refuse_taken, require_safe
from orchestration_project.gateway.dagster_web.process import dagster_web
from orchestration_project.gateway.latency import recorded_latency
from orchestration_project.gateway.server import limit_free_memory, opened, serve
from orchestration_project.instance.logs import keep_log_lines
from orchestration_project.instance.run_config import refuse_unused
from orchestration_project.registry import Registry
from orchestration_project.services.attention.reading import AttentionCounter, AttentionReader
from orchestration_project.services.hosts import open_host_report
from orchestration_project.services.pauses import Pauses
from orchestration_project.settings import Settings, load_settings


def serve_gateway(workspace: Path, host: str, port: int) -> int:
    """Serve until a signal ends it; return the exit status."""
    limit_free_memory()  # before there are threads
    settings = load_settings()
    keep_log_lines(settings, "gateway")
    require_safe(settings, host)
    refuse_taken(host, port)
    watch_code_servers_seldom()
    log_format = "json" if settings.log_format == "json" else "colored"
    with (
        open_host_report(settings, "gateway"),
        recorded_latency(settings),
        _open_instance() as instance,
        open_warehouse(settings) as warehouse,
        dagster_web(
            instance,
            workspace,
            check_config,
            Pauses(warehouse).require_unpaused,
            installation_of(settings, warehouse, _build_counter(settings, warehouse).count),
            log_level=settings.log_level,
            log_format=log_format,
        ) as dagster,
        opened(settings, dagster, host, instance, _import_registry) as app,
    ):
        serve(app, settings, host, port)
    return 0


def _build_counter(settings: Settings, warehouse: Warehouse) -> AttentionCounter:
    """Return the counter of what needs a person, for the bar above Dagster's pages."""
    return AttentionCounter(
        lambda: AttentionReader(_import_registry(), settings, warehouse, open_clock(settings))
    )


def check_config(job: str, run_config: Mapping[str, Any]) -> None:
    """Make sure that a job, and the models of our ops, can take a run config.

    Raises:
        ConfigurationError: One of them refuses a value or an option, or it selects no kind.
    """
    require_kind(job, run_config)
    if run_config:  # most launches have none, and the definitions take a second to import
        require_valid(run_config, _collect_models())
        refuse_unused(run_config, _collect_models())


@cache
def _collect_models() -> Mapping[str, type[dg.Config]]:
    return find_models(repository().get_all_jobs())


def _import_registry() -> Registry:
    from orchestration_project.catalog import REGISTRY  # imports the definitions: see above

    return REGISTRY


def _open_instance() -> dg.DagsterInstance:
    """Return the instance that DAGSTER_HOME names.

    Raises:
        ConfigurationError: It names none.
    """
    try:
        return dg.DagsterInstance.get()
    except dg.DagsterError as error:
        raise ConfigurationError(
            "no Dagster instance to serve",
            expected="DAGSTER_HOME, the absolute path of a folder with the project's dagster.yaml",
            found=str(error).strip().partition("\n")[0],
            remedy="set DAGSTER_HOME to that of the daemon; after a first `make ui` it may be the "
            "folder dagster in STATE_DIR",
        ) from error
