"""Dagster's code server, whose runs are forked from a process that has loaded the code already.

Dagster (1.13) starts each run in a new interpreter, two to three seconds of imports, and has no
setting for another way. Here each is a fork of a process that did nothing but these imports
(`multiprocessing`'s fork server). The arguments are those of Dagster's own command:
``python -m orchestration_project.instance.code_server code-server start ...``.
"""

import multiprocessing
import sys
from collections.abc import Sequence
from multiprocessing import forkserver

from dagster._cli import main
from dagster._grpc import server

from orchestration_project.instance.logs import keep_log_lines
from orchestration_project.services.hosts import HostReport
from orchestration_project.settings import load_shared_settings

LOADED = [
    *("dagster._cli", "dagster._grpc.impl", "orchestration_project.definitions"),
    "pyarrow.parquet",  # most runs read or write rows by it; who only looks at definitions does not
]
"""Modules that a run's process would import.

The import opens no connection and computes nothing: the pools of polars and Arrow start at their
first use, after the fork. The allocators and OpenBLAS, whose threads are there, know of forks.
"""


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


def _entry_point(executable: str) -> Sequence[str]:
    """Return the command of the serving child, which a reload in the UI restarts."""
    return [executable, "-m", __spec__.name]


if __name__ == "__main__":
    server.DagsterApiServer = ForkingServer
    server.get_python_environment_entry_point = _entry_point  # pyright: ignore[reportPrivateImportUsage] - the name that it calls
    sys.exit(main())
