"""Add schedules."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0043"
down_revision = "0042"

# fmt: off
CHANGES = [
    CreateTable(Table("operations_schedules", "One row per schedule that the job operations_edit_schedules or the API made.", [
        Column("name", "text", "Name of the schedule", key=True),
        Column("job", "text", "Job that it starts"),
        Column("cron", "text", "Cron expression of five fields"),
        Column("timezone", "text", "Time zone of the cron expression"),
        Column("partitions", "text", "Partition rule: none, latest (the last complete period), previous (the one before) or days_before"),
        Column("days_before", "bigint", "Days between the partition and the due time, of the rule days_before"),
        Column("partition_values", "text", "Values of the other dimensions of a partition, a JSON object"),
        Column("run_config", "text", "Run config, a JSON object; NULL: none", optional=True),
        Column("preset", "text", "Preset whose run config the runs have; NULL: none", optional=True),
        Column("catch_up", "text", "Rule for due times that no tick saw in time: none, latest (the last one starts a run) or all (the last max_catch_up)"),
        Column("max_catch_up", "bigint", "Most runs that one tick starts"),
        Column("is_enabled", "boolean", "Whether it starts runs; false: paused, or disabled"),
        Column("owner", "text", "Person or team that answers for it; empty: none"),
        Column("version_number", "bigint", "Version of the schedule, from 1"),
        Column("edited_by", "text", "User of the latest version"),
        Column("edited_at", "timestamp", "UTC time of the latest version"),
        Column("disabled_reason", "text", "Problem of its job or run config, for which it is disabled; NULL: it is valid", optional=True),
        Column("next_due_at", "timestamp", "UTC time at which it is due next; NULL: never", optional=True),
    ], indexes=[
        Index("operations_schedules_by_due", ["next_due_at"]),
    ])),
    CreateTable(Table("operations_schedule_versions", "One row per version of a schedule; rows are added and never changed.", [
        Column("name", "text", "Name of the schedule", key=True),
        Column("version_number", "bigint", "Version of the schedule, from 1", key=True),
        Column("action", "text", "Cause: create, change, pause, resume, delete or disable"),
        Column("definition", "text", "The schedule as of this version, a JSON object"),
        Column("reason", "text", "Why it was disabled; NULL: another cause", optional=True),
        Column("edited_by", "text", "User, or the sensor that disabled it"),
        Column("edited_at", "timestamp", "UTC time of the edit"),
        Column("run_id", "text", "Dagster run of the edit; NULL: the API, or a sensor", optional=True),
    ])),
    CreateTable(Table("operations_schedule_launches", "One row per due time of a schedule that started a run, or was skipped.", [
        Column("name", "text", "Name of the schedule", key=True),
        Column("due_at", "timestamp", "UTC time at which it was due", key=True),
        Column("version_number", "bigint", "Version of the schedule that was due"),
        Column("job", "text", "Job to start"),
        Column("partition_key", "text", "Partition of the run; NULL: none", optional=True),
        Column("state", "text", "State: requested, launched or skipped"),
        Column("reason", "text", "Why it was skipped; NULL: it was not", optional=True),
        Column("run_config", "text", "Run config of the run, a JSON object; NULL: none", optional=True),
        Column("requested_at", "timestamp", "UTC time of the latest request to Dagster"),
        Column("run_id", "text", "Dagster run; NULL: no run was seen yet", optional=True),
    ], indexes=[
        Index("operations_schedule_launches_by_state", ["state", "requested_at"]),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
