"""What people are told: alerts, their delivery to each channel, and what was looked at."""

from orchestration_project.tables.kinds import count, moment, table, text

operations_alerts = table(
    "operations_alerts",
    "One row per alert: what people are told about a run, a sensor, or what is well again.",
    text("alert_id", "First 128 bits of the SHA-256 of kind and cause, hex", key=True),
    text("kind", "failed, held_back, job_failed, check, tick_failed, recovered or a notice's kind"),
    text("severity", "info, warning or error"),
    text("title", "One line"),
    text("body", "What failed, why, what to do, and links"),
    text("run_id", "Dagster run; NULL where it is not about one", optional=True),
    text("job", "Its job; NULL where it is not about one", optional=True),
    text("assets", "Asset keys, a JSON list"),
    text("partitions", "Partition keys, a JSON list"),
    text("link", "Where the UI shows it; NULL where nothing does", optional=True),
    text(
        "state", "open, recovered, replaced (a later alert tells of it) or told (nothing to mend)"
    ),
    text("open_problems", "What of it is not well yet, a JSON list of kind, subject and detail"),
    count("repeated_count", "How often the same came again within the window, and was not told"),
    moment("raised_at", "UTC time"),
    moment("repeated_at", "UTC time of the latest repetition", optional=True),
    moment("ended_at", "UTC time at which it recovered or was replaced", optional=True),
)

operations_alert_deliveries = table(
    "operations_alert_deliveries",
    "One row per alert and channel that it is for.",
    text("alert_id", "The alert", key=True),
    text("channel", "Scheme and place of the entry in ALERT_URLS, such as mailto-2", key=True),
    text("state", "pending (also after attempts in vain), delivered or failed (given up)"),
    count("attempt_count", "Attempts begun"),
    text("last_error", "Why the latest attempt was in vain, without secrets", optional=True),
    moment("next_attempt_at", "UTC time from which on it is tried (again)"),
    moment("delivered_at", "UTC time at which the channel took it", optional=True),
)

operations_evaluations = table(
    "operations_evaluations",
    "One row per cause that was looked at: it raises alerts once, however often it is read.",
    text("cause", "Such as a run's id and how it ended", key=True),
    moment("evaluated_at", "UTC time"),
)
