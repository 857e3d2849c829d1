"""`gateway`: Dagster's web server behind its login, in one process."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import dagster as dg

from orchestration_project.cli.address import add_address, refuse_taken
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.dagster_web import dagster_web
from orchestration_project.gateway.place import require_safe
from orchestration_project.gateway.server import opened, serve
from orchestration_project.settings import load_settings


def main(arguments: Sequence[str]) -> int:
    """Serve until a signal ends it; return the exit status."""
    options = _parser().parse_args(arguments)
    settings = load_settings()
    require_safe(settings, options.host)
    refuse_taken(options.host, options.port)
    log_format = "json" if settings.log_format == "json" else "colored"
    with (
        _instance() as instance,
        dagster_web(
            instance, options.workspace, log_level=settings.log_level, log_format=log_format
        ) as dagster,
        opened(settings, dagster, options.host, instance) as app,
    ):
        serve(app, settings, options.host, options.port)
    return 0


def _instance() -> dg.DagsterInstance:
    """Return the instance that DAGSTER_HOME names.

    Raises:
        ConfigurationError: It names none.
    """
    try:
        return dg.DagsterInstance.get()
    except dg.DagsterError as error:
        raise ConfigurationError(
            "there is no instance of Dagster to serve",
            expected="DAGSTER_HOME, the absolute path of a folder with the root's dagster.yaml",
            found=str(error).strip().partition("\n")[0],
            remedy="set DAGSTER_HOME to that of the daemon; after a first `make ui` it may be the "
            "folder dagster in STATE_DIR",
        ) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project gateway",
        description="Serve Dagster's UI behind its login, without daemon and code server: what "
        "`ui` starts, for who runs those by other means. DAGSTER_HOME names the instance.",
    )
    parser.add_argument("-w", "--workspace", type=Path, required=True, help="a workspace.yaml")
    add_address(parser)
    return parser
