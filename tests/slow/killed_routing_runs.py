"""`python -m tests.slow.killed_routing_runs`: ticks of the routing sensor in processes that die.

For each line of the input, a fork of this process ticks the sensor as Dagster's daemon does, until
it is killed. Its process ID is printed first, then -1 when a tick begins, then 0 after it.
"""

import logging
import os
from itertools import count

import dagster as dg
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.sensor import execute_sensor_iteration

from orchestration_project.catalog import REGISTRY
from orchestration_project.definitions import build
from orchestration_project.instance.storage import open_instance
from tests.slow.killed_routing import fork_for_each_line

WHOLE = build(REGISTRY.select("events", "documents"))
SENSOR = next(sensor for sensor in WHOLE.sensors or [] if sensor.name == "events_on_routing")
JOBS = [
    job for job in WHOLE.jobs or [] if job.name in {target.job_name for target in SENSOR.targets}
]


@dg.sensor(
    name=SENSOR.name,
    jobs=JOBS,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    required_resource_keys=SENSOR.required_resource_keys,
)
def hurried(context: dg.SensorEvaluationContext):
    """Tick the sensor each second."""
    os.write(1, b"-1\n")
    return SENSOR(context)


defs = dg.Definitions(
    assets=WHOLE.assets,
    asset_checks=WHOLE.asset_checks,
    jobs=JOBS,
    sensors=[hurried],
    resources=WHOLE.resources,
)


def tick(_: int) -> None:
    """Tick until this process is killed."""
    target = LoadableTargetOrigin(module_name=__spec__.name, attribute="defs")
    origin = InProcessCodeLocationOrigin(target, location_name="orchestration_project.definitions")
    logger = logging.getLogger("tick")
    with (
        open_instance() as instance,
        WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as process,
    ):
        for _ in count():
            list(execute_sensor_iteration(process, logger, None, None))
            os.write(1, b"0\n")


if __name__ == "__main__":
    from tests.slow import killed_routing_runs  # the module whose definitions are loaded

    fork_for_each_line(killed_routing_runs.tick)
