"""The project's definitions, with its schedule switched on and due every minute."""

import dagster as dg

from orchestration_project.assets.finra import as_new_as_the_calendar, otc_weekly, otc_weekly_job
from orchestration_project.sensors.finra import MONDAYS, backfill_outdated_weeks
from tests.resources.definitions import RESOURCES

due_every_minute = dg.schedule(
    name=MONDAYS,
    job=otc_weekly_job,
    cron_schedule="* * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)(backfill_outdated_weeks)

defs = dg.Definitions(
    assets=[otc_weekly],
    asset_checks=[as_new_as_the_calendar],  # the job leaves it out, so it must be known
    jobs=[otc_weekly_job],
    schedules=[due_every_minute],
    resources=RESOURCES,
    executor=dg.in_process_executor,
)
