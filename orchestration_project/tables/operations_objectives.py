"""Tables of service level objectives and of samples of hosts."""

from sqlalchemy import Index

from orchestration_project.tables.schema import count, day, moment, ratio, table, text

operations_slo = table(
    "operations_slo",
    "One row per objective of slo.yaml: its error budget, from the latest evaluation.",
    text("name", "Name of the objective", key=True),
    count("window_days", "Days of the budget: today so far, and the days before", key=True),
    text("domain", "Domain that it is about; operations: none"),
    text(
        "indicator",
        "Indicator: freshness, loads, gateway_latency, webhook_to_loaded or mirror_lag",
    ),
    ratio("target", "Share of good events that is promised, 0-1"),
    text(
        "state",
        "State: met, burning, exhausted or no_data",
        values=("met", "burning", "exhausted", "no_data"),
    ),
    count("good", "Good events in the window"),
    count("total", "Events in the window"),
    ratio(
        "budget_left",
        "Share of the budget that is left: 1 all, 0 none, negative overspent; NULL: no event",
        optional=True,
    ),
    ratio(
        "burn_5m", "Burn rate of 5 minutes, 1: as fast as allowed; NULL: no event", optional=True
    ),
    ratio("burn_30m", "Burn rate of 30 minutes; NULL: no event", optional=True),
    ratio("burn_1h", "Burn rate of an hour; NULL: no event", optional=True),
    ratio("burn_6h", "Burn rate of 6 hours; NULL: no event", optional=True),
    count("events_1h", "Events of the last hour"),
    count("events_6h", "Events of the last 6 hours"),
    moment("evaluated_at", "UTC time of the evaluation"),
)

operations_slo_days = table(
    "operations_slo_days",
    "One row per objective and day: its events, so that an evaluation reads no history.",
    text("name", "Name of the objective", key=True),
    day("day", "Day, UTC", key=True),
    count("good", "Good events"),
    count("total", "Events"),
)

operations_slo_samples = table(
    "operations_slo_samples",
    "One row per objective and 5 minutes: events that no other table has.",
    text("name", "Name of the objective", key=True),
    moment("starts_at", "UTC time at which the 5 minutes start", key=True),
    count("good", "Good events"),
    count("total", "Events"),
)

operations_host_samples = table(
    "operations_host_samples",
    "One row per host, role and 5 minutes, kept for 7 days: what the host and the program use.",
    text("host", "Host name", key=True),
    text(
        "role",
        "Role: gateway, daemon, code_server, bridge or worker",
        values=("gateway", "daemon", "code_server", "bridge", "worker"),
        key=True,
    ),
    moment("at", "UTC time at which the 5 minutes start", key=True),
    ratio("cpu_share", "Share of the host's CPU time in use since the sample before, 0-1"),
    ratio("memory_share", "Share of the host's memory in use, 0-1"),
    ratio("disk_share", "Share of the disk of STATE_DIR in use, 0-1"),
    count("open_files", "Open files of the program"),
    ratio("open_files_share", "Share of the program's limit of open files, 0-1"),
    count("process_memory_bytes", "Memory of the program, bytes"),
)

Index("operations_host_samples_by_time", operations_host_samples.c["at"])
