"""When plugins run: by the schedule in their manifest, for the partitions of their share."""

from datetime import UTC, timedelta
from typing import Any

import dagster as dg

from orchestration_project.resources.plugins.state import StoredPlugin
from orchestration_project.sensors.definitions import schedule

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
        partition = None
        if manifest.partitions is not None:
            day = context.scheduled_execution_time.astimezone(UTC).date() - timedelta(days=1)
            if day < manifest.partitions.start:
                return dg.SkipReason(f"The first partition is {manifest.partitions.start}.")
            partition = day.isoformat()
        if not stored.runs_for(partition):
            return dg.SkipReason(f"{partition or stored.id} is outside of its share.")
        return dg.RunRequest(partition_key=partition)

    return decide
