"""Dagster's code server, whose runs are forked from a process that has loaded the code already.

Dagster (1.13) starts each run in a new interpreter, two to three seconds of imports, and has no
setting for another way. Here each is a fork of a process that did nothing but these imports
(`multiprocessing`'s fork server). The arguments are those of Dagster's own command:
``python -m orchestration_project.instance.code_server code-server start ...``.
"""

import multiprocessing
import sys
import time
from collections.abc import Sequence
from multiprocessing import forkserver

from dagster._cli import main
from dagster._grpc import server

from orchestration_project.engine.environment import compared_warehouse
from orchestration_project.errors import OrchestrationError, TransientError
from orchestration_project.instance.claim_monitoring import monitor_runs_of_this_host
from orchestration_project.instance.logs import keep_log_lines
from orchestration_project.services.hosts import HostReport
from orchestration_project.settings import Settings, load_shared_settings

LOADED = [
    *("dagster._cli", "dagster._grpc.impl", "orchestration_project.definitions"),
    "pyarrow.parquet",  # most runs read or write rows by it; who only looks at definitions does not
]
"""Modules that a run's process would import.

The import opens no connection and computes nothing: the pools of polars and Arrow start at their
first use, after the fork. The allocators and OpenBLAS, whose threads are there, know of forks.
"""


DATABASE_WAIT_SECONDS = 120.0
"""Longest wait for a database that does not answer; the code server ends after it."""

SECONDS_BETWEEN_ATTEMPTS = 1.0


class ForkingServer(server.DagsterApiServer):
    """Dagster's server of definitions; the process that its runs are forked from is started too."""

    def __init__(self, *arguments: object, **options: object) -> None:
        """Accept the arguments of Dagster's server; report load errors as it does."""
        super().__init__(*arguments, **options)  # pyright: ignore[reportArgumentType] - passed on
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(LOADED)
        forkserver.ensure_running()
        self._mp_ctx = context
        settings = load_shared_settings()
        keep_log_lines(settings, "code_server")
        HostReport(settings, "code_server").start()
        monitor_runs_of_this_host()


def _entry_point(executable: str) -> Sequence[str]:
    """Return the command of the serving child, which a reload in the UI restarts."""
    return [executable, "-m", __spec__.name]


def require_tables(settings: Settings, seconds: float = DATABASE_WAIT_SECONDS) -> None:
    """Wait until the database answers, and refuse tables that are not the declared ones.

    Definitions that were loaded without the tables would lack what these add, such as plugins.

    Raises:
        ConfigurationError: The tables are not the declared ones.
        TransientError: The database does not answer for ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            compared_warehouse(settings).close()
            return
        except TransientError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(SECONDS_BETWEEN_ATTEMPTS)


def _start(arguments: Sequence[str]) -> int:
    """Run Dagster's command with ``arguments``; return the exit status."""
    if "start" in arguments and "--help" not in arguments:
        try:
            require_tables(load_shared_settings())
        except OrchestrationError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    main()
    return 0


if __name__ == "__main__":
    server.DagsterApiServer = ForkingServer
    server.get_python_environment_entry_point = _entry_point  # pyright: ignore[reportPrivateImportUsage] - the name that it calls
    sys.exit(_start(sys.argv[1:]))
