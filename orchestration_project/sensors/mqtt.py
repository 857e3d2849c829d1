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
from orchestration_project.domains.mqtt.ticks import MessageJob, WaitingMessages, plan_messages
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.leases import is_at_work
from orchestration_project.engine.options import build_real_config
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.mqtt.ranges import TOPIC, range_items, waiting
from orchestration_project.resources.mqtt.replaying import requested_ids
from orchestration_project.sensors.definitions import (
    build_answer,
    cron_schedule,
    find_run_under_way,
    sensor,
)

SECONDS_BETWEEN_POLLS = 4
"""A tick is a few reads of indexes."""

PROFILE, NEEDS = "mqtt", "MQTT_SOURCE"


@sensor(
    jobs=[mirror_job, replay_job],
    minimum_interval_seconds=SECONDS_BETWEEN_POLLS,
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
    newest_at, now = waiting(warehouse).newest_at, clock.now()
    messages = WaitingMessages(
        newest_at=newest_at,
        is_partition=newest_at is not None and HOURS.has_partition_key(hour_of(newest_at)),
        has_dead_letters=bool(requested_ids(warehouse)),
        now=now,
    )
    mirror = MessageJob(name=MIRROR_JOB, running=find_run_under_way(context.instance, MIRROR_JOB))
    replay = MessageJob(
        name=replay_job.name,
        running=find_run_under_way(context.instance, replay_job.name),
        run_config=build_real_config(REPLAY_OP),
    )
    return build_answer(plan_messages(messages, mirror, replay))


mqtt_flow_check = cron_schedule(
    profile=PROFILE,
    needs=NEEDS,
    name="mqtt_flow_check",
    job=flow_job,
    cron_schedule="*/5 * * * *",
    execution_timezone="UTC",
    what="Check bridges, outbox, waiting messages and dead letters.",
)
