"""A launcher that does a run in this process, and returns when it is over."""

from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from dagster._core.launcher import LaunchRunContext
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher

ONE_AT_A_TIME = Lock()
"""Runs side by side in one process would capture each other's output, and wait for ever."""


class ThreadLauncher(SyncInMemoryRunLauncher):
    """Does a run in a thread, as the one that serves requests has an event loop."""

    def launch_run(self, context: LaunchRunContext) -> None:
        """Do the run."""
        with ONE_AT_A_TIME, ThreadPoolExecutor(1) as pool:
            pool.submit(super().launch_run, context).result()
