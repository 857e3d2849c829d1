"""When messages are mirrored: some wait, or the items of dead letters were made ready."""

from functools import partial

import dagster as dg

from orchestration_project.assets.mqtt import (
    HOURS,
    MIRROR_JOB,
    REPLAY_OP,
    flow_job,
    mirror_job,
    replay_job,
)
from orchestration_project.domains.mqtt.judging import hour_of
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.leases import is_at_work
from orchestration_project.engine.options import not_dry
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.mqtt.ranges import TOPIC, range_items, waiting
from orchestration_project.resources.mqtt.replaying import requested_ids
from orchestration_project.sensors.definitions import cron_schedule, sensor, while_under_way

SECONDS_BETWEEN_LOOKS = 4
"""A tick is a few reads of indexes."""

PROFILE, NEEDS = "mqtt", "MQTT_SOURCE"


@sensor(
    jobs=[mirror_job, replay_job],
    minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
    profile=PROFILE,
    needs=NEEDS,
)
def mqtt_on_arrival(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.SensorResult | dg.SkipReason:
    """Request one run for all messages that wait, and one for dead letters to replay."""
    range_items(warehouse, clock).end_leases(TOPIC, partial(is_at_work, context.instance))
    found = waiting(warehouse)
    requests: list[dg.RunRequest] = []
    running = while_under_way(context.instance, MIRROR_JOB)
    if found.newest_at is not None and running is None:
        hour = hour_of(found.newest_at)
        key = hour if HOURS.has_partition_key(hour) else hour_of(clock.now())
        requests.append(dg.RunRequest(job_name=MIRROR_JOB, partition_key=key))
    if requested_ids(warehouse) and while_under_way(context.instance, replay_job.name) is None:
        requests.append(dg.RunRequest(job_name=replay_job.name, run_config=not_dry(REPLAY_OP)))
    if not requests:
        return running or dg.SkipReason("No message waits.")
    return dg.SensorResult(run_requests=requests)


mqtt_flow_check = cron_schedule(
    profile=PROFILE,
    needs=NEEDS,
    name="mqtt_flow_check",
    job=flow_job,
    cron_schedule="*/5 * * * *",
    execution_timezone="UTC",
    what="Check bridges, outbox, waiting messages and dead letters.",
)
