"""`worker`, `code-server` and `stack`: programs that execute runs, and all others with them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from orchestration_project.cli import console
from orchestration_project.cli.commands import Command

if TYPE_CHECKING:
    from orchestration_project.settings import Settings


@click.command("worker", cls=Command)
@click.option(
    "--queues",
    metavar="NAMES",
    default="",
    help="Comma-separated queues: domains, dagster for runs of several, or those of the tag "
    "dagster-celery/queue. [default: domains and dagster]",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Runs at the same time.",
)
@click.option(
    "--name",
    default="worker",
    show_default=True,
    help="Name in logs, before @HOST, and of its heartbeats; one for each worker of a host.",
)
def worker(queues: str, processes: int, name: str) -> int:
    """Execute runs of RUN_LAUNCHER=celery, until Ctrl-C or SIGTERM.

    Runs in progress end first; a second signal stops at once. Each host may have several workers.
    """
    return work(tuple(filter(None, queues.split(","))), processes, name)


@click.command("code-server", cls=Command)
@click.option(
    "--domains",
    metavar="NAMES",
    default="",
    help="Comma-separated domains. [default: CODE_DOMAINS, or all]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=4266, show_default=True, help="Port."
)
def code_server(domains: str, host: str, port: int) -> int:
    """Serve definitions and execute their runs, for CODE_SERVERS of the daemon's host.

    gRPC has no login: listen on a private network only.
    """
    import os
    import sys

    from orchestration_project.cli.ui import CODE_SERVER
    from orchestration_project.settings import child_environment, load_settings
    from orchestration_project.settings.project import DEFINITIONS

    settings = load_settings()
    form = "json" if settings.log_format == "json" else "colored"
    command = f"{CODE_SERVER} code-server start -m {DEFINITIONS} --host {host} --port {port}"
    logs = ["--log-level", settings.log_level.lower(), "--log-format", form]
    chosen = {"CODE_DOMAINS": domains} if domains else {}
    environment = child_environment(**chosen)
    arguments = [sys.executable, "-m", *command.split(), *logs]
    os.execve(sys.executable, arguments, environment)  # noqa: S606 - our own code server


@click.command("stack", cls=Command)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="Workers, each of which executes a run at a time.",
)
def stack(workers: int) -> int:
    """Start proxy with TLS, PostgreSQL, RabbitMQ, workers, mosquitto and Prometheus, until Ctrl-C.

    Their configuration is that of deploy/, their state is below STATE_DIR, their ports are those of
    STACK_PORTS on the loopback address.
    """
    console.note("checking settings, programs and ports")
    from orchestration_project.cli.stack import serve_stack

    return serve_stack(workers)


def work(queues: Sequence[str], processes: int, name: str) -> int:
    """Execute runs of some queues, all if none is named; return the exit status.

    Raises:
        ConfigurationError: RUN_LAUNCHER is not celery, its extra is missing, or a queue unknown.
    """
    from importlib import import_module

    from orchestration_project.engine.environment import open_checked_warehouse
    from orchestration_project.errors import ConfigurationError
    from orchestration_project.instance.launchers import missing_extra
    from orchestration_project.services.hosts import build_worker_role, open_host_report
    from orchestration_project.settings import load_settings
    from orchestration_project.settings.project import DEFINITIONS

    settings = load_settings()
    if settings.run_launcher != "celery":
        raise ConfigurationError(
            "a worker has nothing to execute",
            expected="RUN_LAUNCHER=celery, and BROKER_URL of the daemon",
            found=f"RUN_LAUNCHER={settings.run_launcher}",
            remedy="set both as the daemon has them",
        )
    try:
        from orchestration_project.instance.celery_launcher import CeleryLauncher
        from orchestration_project.instance.celery_worker import serve
    except ModuleNotFoundError as error:
        raise missing_extra("celery", error) from error
    from orchestration_project.services.queues import DEFAULT_QUEUE, QUEUE_NAME

    if invalid := [queue for queue in queues if not QUEUE_NAME.fullmatch(queue)]:
        raise ConfigurationError(
            f"invalid --queues {invalid[0]!r}: expected names such as documents or {DEFAULT_QUEUE}"
        )
    _log(settings)
    open_checked_warehouse(settings).close()
    import_module(DEFINITIONS)  # before the forks, which have it then
    from orchestration_project.catalog import REGISTRY

    pair = (DEFAULT_QUEUE, *(domain.name for domain in REGISTRY.domains))
    console.progress(f"Executing runs of the queues {', '.join(queues or pair)}")
    launcher = CeleryLauncher.of(settings, None)
    with open_host_report(settings, build_worker_role(name)) as report:
        return serve(launcher, queues or pair, processes, name, report)


def _log(settings: "Settings") -> None:
    import logging

    from orchestration_project.instance.logs import in_log_format, keep_log_lines

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[in_log_format(handler)], level=logging.WARNING)
    logging.getLogger("orchestration_project").setLevel(settings.log_level)
    keep_log_lines(settings, "worker")
