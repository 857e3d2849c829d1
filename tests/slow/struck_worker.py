"""Runs ``python -m`` its arguments, with hurried heartbeats, as a worker that STRIKE strikes.

`claim`: it is killed between its claim of a run and the start of the run. `release`: it is of
another release.
"""

import os
import runpy
import signal
from collections.abc import Mapping

from dagster import DagsterInstance

import orchestration_project
from orchestration_project.instance.launcher import MACHINE_TAG

OTHER_RELEASE = "0.0.7"


tag_run = DagsterInstance.add_run_tags


def kill_instead(self: DagsterInstance, run_id: str, new_tags: Mapping[str, str]) -> None:
    """Tag a run; in the place of the tag of the machine that executes it, kill this worker."""
    if MACHINE_TAG in new_tags:
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    tag_run(self, run_id, new_tags)


if __name__ == "__main__":
    if os.environ["STRIKE"] == "claim":  # noqa: TID251 - of the test
        DagsterInstance.add_run_tags = kill_instead
    else:
        orchestration_project.RELEASE = OTHER_RELEASE
    runpy.run_module("tests.slow.hurried_beats", run_name="__main__", alter_sys=True)
