"""Tables of what users edit: schedules, flags and presets with versions, launches, pauses."""

from sqlalchemy import Index

from orchestration_project.tables.schema import count, flag, moment, ratio, table, text

operations_schedules = table(
    "operations_schedules",
    "One row per schedule that the job operations_edit_schedules or the API made.",
    text("name", "Name of the schedule", key=True),
    text("job", "Job that it starts"),
    text("cron", "Cron expression of five fields"),
    text("timezone", "Time zone of the cron expression"),
    text(
        "partitions",
        "Partition rule: none, latest (the last complete period), previous (the one before) or "
        "days_before",
    ),
    count("days_before", "Days between the partition and the due time, of the rule days_before"),
    text("partition_values", "Values of the other dimensions of a partition, a JSON object"),
    text("run_config", "Run config, a JSON object; NULL: none", optional=True),
    text("preset", "Preset whose run config the runs have; NULL: none", optional=True),
    text(
        "catch_up",
        "Rule for due times that no tick saw in time: none, latest (the last one starts a run) or "
        "all (the last max_catch_up)",
    ),
    count("max_catch_up", "Most runs that one tick starts"),
    flag("is_enabled", "Whether it starts runs; false: paused, or disabled"),
    text("owner", "Person or team that answers for it; empty: none"),
    count("version_number", "Version of the schedule, from 1"),
    text("edited_by", "User of the latest version"),
    moment("edited_at", "UTC time of the latest version"),
    text(
        "disabled_reason",
        "Problem of its job or run config, for which it is disabled; NULL: it is valid",
        optional=True,
    ),
    moment("next_due_at", "UTC time at which it is due next; NULL: never", optional=True),
    text("flag", "Flag that must hold for a due time; NULL: each starts a run", optional=True),
)

Index("operations_schedules_by_due", operations_schedules.c.next_due_at)

operations_schedule_versions = table(
    "operations_schedule_versions",
    "One row per version of a schedule; rows are added and never changed.",
    text("name", "Name of the schedule", key=True),
    count("version_number", "Version of the schedule, from 1", key=True),
    text("action", "Cause: create, change, pause, resume, delete or disable"),
    text("definition", "The schedule as of this version, a JSON object"),
    text("reason", "Why it was disabled; NULL: another cause", optional=True),
    text("edited_by", "User, or the sensor that disabled it"),
    moment("edited_at", "UTC time of the edit"),
    text("run_id", "Dagster run of the edit; NULL: the API, or a sensor", optional=True),
)

operations_schedule_launches = table(
    "operations_schedule_launches",
    "One row per due time of a schedule that started a run, or was skipped.",
    text("name", "Name of the schedule", key=True),
    moment("due_at", "UTC time at which it was due", key=True),
    count("version_number", "Version of the schedule that was due"),
    text("job", "Job to start"),
    text("partition_key", "Partition of the run; NULL: none", optional=True),
    text("state", "State: requested, launched or skipped"),
    text("reason", "Why it was skipped; NULL: it was not", optional=True),
    text("run_config", "Run config of the run, a JSON object; NULL: none", optional=True),
    moment("requested_at", "UTC time of the latest request to Dagster"),
    text("run_id", "Dagster run; NULL: no run was seen yet", optional=True),
)

Index(
    "operations_schedule_launches_by_state",
    operations_schedule_launches.c.state,
    operations_schedule_launches.c.requested_at,
)

operations_flags = table(
    "operations_flags",
    "One row per flag that the job operations_edit_flags or the API made.",
    text("name", "Name of the flag", key=True),
    ratio("share", "Share of keys that it holds for, 0 to 1, by a hash of flag and key"),
    text("listed_keys", "Keys that it always holds for, a JSON list"),
    text("owner", "Person or team that answers for it"),
    moment("expires_at", "UTC time from which it holds for no key; NULL: never", optional=True),
    count("version_number", "Version of the flag, from 1"),
    text("edited_by", "User of the latest version"),
    moment("edited_at", "UTC time of the latest version"),
)

operations_flag_versions = table(
    "operations_flag_versions",
    "One row per version of a flag; rows are added and never changed.",
    text("name", "Name of the flag", key=True),
    count("version_number", "Version of the flag, from 1", key=True),
    text("action", "Cause: create, change or delete"),
    text("definition", "The flag as of this version, a JSON object"),
    text("edited_by", "User of the edit"),
    moment("edited_at", "UTC time of the edit"),
    text("run_id", "Dagster run of the edit; NULL: the API", optional=True),
)

operations_pauses = table(
    "operations_pauses",
    "One row per pause of a domain, asset or source; a row stays after its end.",
    text("subject", "Subject: all, a domain, an asset or source:<name>", key=True),
    moment("paused_at", "UTC time from which no run of the subject starts", key=True),
    text("reason", "Reason in words"),
    text("paused_by", "User who paused it"),
    moment("until", "UTC time at which it ends by itself; NULL: when resumed", optional=True),
    moment("resumed_at", "UTC time at which it was resumed; NULL: it was not", optional=True),
    text("resumed_by", "User who resumed or replaced it; NULL: it was not", optional=True),
)

operations_attention = table(
    "operations_attention",
    "One row per entry of the page Attention that a person ignores or has acknowledged.",
    text("entry_id", "Entry ID: first 64 bits of the SHA-256 of kind and unit, hex", key=True),
    text(
        "state",
        "State: ignored (hidden until its end) or acknowledged (somebody works on it)",
        values=("ignored", "acknowledged"),
    ),
    moment("since", "UTC time since which it needed a person; a later problem is not marked"),
    moment("until", "UTC time at which the mark ends; NULL: with the problem", optional=True),
    text("reason", "Reason in words"),
    text("marked_by", "User"),
    moment("marked_at", "UTC time of the mark"),
)

operations_presets = table(
    "operations_presets",
    "One row per application of a preset; the latest one of each job is in force.",
    text("job", "Job whose runs use the preset", key=True),
    count("applied_number", "Number of the application among those of the job, from 1", key=True),
    text("preset", "Name of the preset: its file in presets/, without .yaml"),
    text("content", "Fields that it set at that time, with their values, JSON"),
    text("user_name", "User who applied it"),
    text("reason", "Reason that the user gave"),
    text("run_id", "Dagster run that applied it"),
    moment("applied_at", "UTC time at which the preset was applied"),
)
