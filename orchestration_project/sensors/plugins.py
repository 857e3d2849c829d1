"""When plugins run: by the schedule in their manifest, for the partitions of their share."""

from typing import Any

import dagster as dg

from orchestration_project.engine.contracts.ticks import plan_partition
from orchestration_project.resources.plugins.state import StoredPlugin
from orchestration_project.sensors.definitions import build_run, schedule

PROFILE = "plugins"


def plugin_schedule(stored: StoredPlugin, job: Any) -> dg.ScheduleDefinition | None:
    """Return the schedule of an enabled plugin; None: its manifest has none."""
    manifest = stored.manifest
    if manifest.schedule is None:
        return None

    @schedule(
        profile=PROFILE,
        what=f"Run the plugin {stored.id}, for the latest complete day if it has partitions.",
        name=manifest.job_name,
        job=job,
        cron_schedule=manifest.schedule.cron,
        execution_timezone=manifest.schedule.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    def decide(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Request a run, unless the share of the plugin leaves its partition out."""
        day = manifest.find_day(context.scheduled_execution_time)
        partition = None if day is None else day.isoformat()
        in_share = stored.runs_for(partition)
        reason = manifest.find_reason_not_to_run(day, stored.id, in_share=in_share)
        return build_run(plan_partition(partition, reason))

    return decide
