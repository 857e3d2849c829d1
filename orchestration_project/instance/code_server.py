"""Dagster's code server, whose runs are forked from a process that has loaded the code already.

Dagster (1.13) starts each run in a new interpreter, two to three seconds of imports, and has no
setting for another way. Here each is a fork of a process that did nothing but these imports
(`multiprocessing`'s fork server). That process is itself a fork of the code server, before this
one listens: they share the memory of what both have imported, some 100 MiB. The arguments are those
of Dagster's own command:
``python -m orchestration_project.instance.code_server code-server start ...``.

That command stays to pass requests on to the child that has loaded the code, and to start another
one at a reload. So that it takes little memory, it starts itself again once it has compared the
tables, for which much is imported. It has no other child: `ui` takes a lost one for an end.
"""

import ctypes
import gc
import importlib
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker, util
from pathlib import Path

from dagster._cli import main
from dagster._grpc import client, proxy_server, server
from grpc import _common as grpc_common  # pyright: ignore[reportAttributeAccessIssue] - not in its stubs

LOADED = [
    *("orchestration_project.instance.code_server", "orchestration_project.definitions"),
    "pyarrow.parquet",  # most runs read or write rows by it; who only looks at definitions does not
]
"""Modules that a run's process would import.

The import opens no connection and computes nothing: the pools of polars and Arrow start at their
first use, after the fork. The allocators and OpenBLAS, whose threads are there, know of forks.
"""


HEARTBEAT_SECONDS = 20
"""Time between two heartbeats of the command to its child.

Each makes a connection, after which gRPC's threads look for work for seconds.
"""

MAX_SILENCE = ("--heartbeat-ttl", "60")
"""Option of the command: seconds without a heartbeat after which its child ends."""

CLEANUP_SECONDS = 2
"""Time between two searches for runs that ended, for which a shutdown waits."""

MAX_SIGNAL_WAIT_SECONDS = 60.0
"""Longest wait of gRPC's for an event; Python runs signal handlers meanwhile."""

DATABASE_WAIT_SECONDS = 120.0
"""Longest wait for a database that does not answer; the code server ends after it."""

SECONDS_BETWEEN_ATTEMPTS = 1.0

COMPARED = "compared"
"""First argument of a process that has compared the tables."""


class ForkingServer(server.DagsterApiServer):
    """Dagster's server of definitions, whose runs are forked."""

    def __init__(self, *arguments: object, **options: object) -> None:
        """Accept the arguments of Dagster's server; report load errors as it does."""
        super().__init__(*arguments, **options)  # pyright: ignore[reportArgumentType] - passed on
        self._mp_ctx = multiprocessing.get_context("forkserver")
        _report_host()


PROCESS_NAME = b"fork-server"
"""Name of the process that runs are forked from, and of theirs, as `ps -o comm` shows it."""

PR_SET_NAME = 15
"""Option of prctl(2)."""


def start_fork_server() -> None:
    """Import the modules that runs need, and fork the process that they will be forked from.

    `multiprocessing` (Python 3.11 to 3.13) would start it in a new interpreter, which it does again
    if this one ends.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(LOADED)
    for module in LOADED:
        with suppress(Exception):  # the code server imports it again, and shows why it cannot
            importlib.import_module(module)
    resource_tracker.ensure_running()
    with socket.socket(socket.AF_UNIX) as listener:
        address = Path(util.get_temp_dir(), "fork-server")  # a folder of this user alone
        listener.bind(str(address))
        listener.listen()
        alive_reader, alive_writer = os.pipe()
        gc.freeze()  # a collection of garbage would write into what both share
        process = os.fork()
        if process == 0:
            os.close(alive_writer)
            prctl = getattr(ctypes.CDLL(None), "prctl", None)
            if prctl is not None:
                prctl(PR_SET_NAME, PROCESS_NAME)
            try:
                forkserver.main(listener.fileno(), alive_reader, preload=())
            finally:
                os._exit(1)
    os.close(alive_reader)
    vars(forkserver._forkserver).update(  # what its `ensure_running` sets
        _forkserver_address=str(address),
        _forkserver_alive_fd=alive_writer,
        _forkserver_pid=process,
    )


def wake_seldom() -> None:
    """Have Dagster's and gRPC's threads of this process wake up less often.

    Dagster 1.13 sends heartbeats each second, and searches for ended runs each half. gRPC wakes the
    main thread ten times a second for the signals of Python 2.
    """
    client.CLIENT_HEARTBEAT_INTERVAL = HEARTBEAT_SECONDS
    proxy_server.CLEANUP_TICK = CLEANUP_SECONDS
    server.CLEANUP_TICK = CLEANUP_SECONDS
    grpc_common.MAXIMUM_WAIT_TIMEOUT = MAX_SIGNAL_WAIT_SECONDS


def _report_host() -> None:
    from orchestration_project.instance.claim_monitoring import monitor_runs_of_this_host
    from orchestration_project.instance.logs import keep_log_lines
    from orchestration_project.services.hosts import HostReport
    from orchestration_project.settings import load_shared_settings

    settings = load_shared_settings()
    keep_log_lines(settings, "code_server")
    HostReport(settings, "code_server").start()
    monitor_runs_of_this_host()


def _build_entry_point(executable: str) -> Sequence[str]:
    """Return the command of the serving child, which a reload in the UI restarts."""
    return [executable, "-m", __spec__.name]


def require_tables(seconds: float = DATABASE_WAIT_SECONDS) -> None:
    """Wait until the database answers, and refuse tables that are not the declared ones.

    Definitions that were loaded without the tables would lack what these add, such as plugins.

    Raises:
        ConfigurationError: The tables are not the declared ones.
        TransientError: The database does not answer for ``seconds``.
    """
    from orchestration_project.engine.environment import open_checked_warehouse
    from orchestration_project.errors import TransientError
    from orchestration_project.settings import load_shared_settings

    settings = load_shared_settings()
    deadline = time.monotonic() + seconds
    while True:
        try:
            open_checked_warehouse(settings).close()
            return
        except TransientError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(SECONDS_BETWEEN_ATTEMPTS)


def _check_tables() -> int:
    """Return 0 if the tables are the declared ones; otherwise write why not, and return 1."""
    from orchestration_project.errors import OrchestrationError

    try:
        require_tables()
    except OrchestrationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _start(arguments: list[str]) -> int:
    """Run Dagster's command with ``arguments``; return the exit status."""
    if arguments[:1] == [COMPARED]:
        del sys.argv[1]  # Dagster's command reads it
    elif "start" in arguments and "--help" not in arguments:
        if _check_tables() != 0:
            return 1
        # The same program again, in this process: what the comparison imported is gone.
        names = sys.orig_argv[: -len(arguments)]
        silence = () if MAX_SILENCE[0] in arguments else MAX_SILENCE
        os.execv(sys.executable, [*names, COMPARED, *arguments, *silence])  # noqa: S606 - itself
    wake_seldom()
    if "grpc" in arguments:
        start_fork_server()
    main()
    return 0


if __name__ == "__main__":
    server.DagsterApiServer = ForkingServer
    server.get_python_environment_entry_point = _build_entry_point  # pyright: ignore[reportPrivateImportUsage] - the name that it calls
    sys.exit(_start(sys.argv[1:]))
