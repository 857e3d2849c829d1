"""Processes: the daemon's module, code servers, and whether the process of a run has ended."""

from collections.abc import Callable
from typing import Any

import dagster as dg
from dagster._core.launcher.base import WorkerStatus

DAEMON_MODULE = "dagster._daemon"
"""Run with ``python -m``: the daemon.

No public way: the script `dagster-daemon` stands in a folder that PATH may lack, and may belong to
another interpreter. At an upgrade: ``python -m dagster._daemon run --help`` has ``-w``.
"""


def is_worker_gone(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Return whether the process of an unfinished run has ended; False if unknown.

    Dagster 1.13: `WorkerStatus`. No public way: the run's status follows only when the daemon has
    looked. At an upgrade: a launcher that answers FAILED is understood.
    """
    launcher = instance.run_launcher
    if not launcher.supports_check_run_worker_health:
        return False
    return launcher.check_run_worker_health(run).status == WorkerStatus.FAILED


def ping_code_server(host: str, port: int) -> None:
    """Ask a code server for an answer.

    Dagster 1.13: `DagsterGrpcClient`, imported here as it takes long. No public way: Dagster has
    no command for it. At an upgrade: a port without a listener raises ConnectionError.

    Raises:
        ConnectionError: None came; with the reason in a line.
    """
    _call_code_server(host, port, lambda client: client.ping(""))


def _call_code_server(host: str, port: int, ask: Callable[[Any], object]) -> None:
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._grpc.client import DagsterGrpcClient

    try:
        ask(DagsterGrpcClient(host=host, port=port))
    except DagsterUserCodeUnreachableError as error:
        raise ConnectionError(str(error.__cause__ or error).partition("\n")[0]) from error


RELOAD_SECONDS = 300
"""Longest wait for a code server that imports its definitions again."""


def reload_code_server(host: str, port: int) -> None:
    """Have a code server import its definitions again; runs in progress go on.

    Dagster 1.13: `DagsterGrpcClient`, as above. No public way: only the web server's page has a
    button. At an upgrade: the names of the jobs are those of the new definitions.

    Raises:
        ConnectionError: It does not answer; with the reason in a line.
    """
    _call_code_server(host, port, lambda client: client.reload_code(RELOAD_SECONDS))


SECONDS_BETWEEN_WATCHES = 20.0
"""How often gateway and daemon ask a code server whether it is another one.

Each question is a connection of its own to the server and to its child: asked every second by two
programs, they were a third of what an idle installation costs.
"""


def watch_code_servers_seldom() -> None:
    """Have this process ask its code servers less often than each second.

    Dagster 1.13: `server_watcher.WATCH_INTERVAL`, read when a workspace is loaded. No public way:
    neither workspace.yaml nor a command has it. At an upgrade: `make bench ARGS="--only idle"`.
    """
    from dagster._grpc import server_watcher

    server_watcher.WATCH_INTERVAL = SECONDS_BETWEEN_WATCHES
