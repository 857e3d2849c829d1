"""Runs ``python -m`` its arguments, with hurried heartbeats, as a worker that STRIKE strikes.

`claim`: it is killed between its claim of a run and the start of the run. `release`: it is of
another release.
"""

import importlib.metadata
import os
import runpy
import signal
from collections.abc import Mapping

from dagster import DagsterInstance

OTHER_RELEASE = "0.0.7"

tag_run = DagsterInstance.add_run_tags
read_version = importlib.metadata.version


def version_of_another(package: str) -> str:
    """Return the version of a package, and another one than it has of ours."""
    return OTHER_RELEASE if package == "orchestration_project" else read_version(package)


def kill_instead(self: DagsterInstance, run_id: str, new_tags: Mapping[str, str]) -> None:
    """Tag a run; in the place of the tag of the machine that executes it, kill this worker."""
    from orchestration_project.instance.launcher import MACHINE_TAG

    if MACHINE_TAG in new_tags:
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    tag_run(self, run_id, new_tags)


if __name__ == "__main__":
    if os.environ["STRIKE"] == "claim":  # noqa: TID251 - of the test
        DagsterInstance.add_run_tags = kill_instead
    else:
        importlib.metadata.version = version_of_another
    runpy.run_module("tests.slow.hurried_beats", run_name="__main__", alter_sys=True)
