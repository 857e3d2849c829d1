"""Add objectives."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0050"
down_revision = "0049"

# fmt: off
CHANGES = [
    CreateTable(Table("operations_slo", "One row per objective of slo.yaml: its error budget, from the latest evaluation.", [
        Column("name", "text", "Name of the objective", key=True),
        Column("window_days", "bigint", "Days of the budget: today so far, and the days before", key=True),
        Column("domain", "text", "Domain that it is about; operations: none"),
        Column("indicator", "text", "Indicator: freshness, loads, gateway_latency, webhook_to_loaded or mirror_lag"),
        Column("target", "double", "Share of good events that is promised, 0-1"),
        Column("state", "text", "State: met, burning, exhausted or no_data"),
        Column("good", "bigint", "Good events in the window"),
        Column("total", "bigint", "Events in the window"),
        Column("budget_left", "double", "Share of the budget that is left: 1 all, 0 none, negative overspent; NULL: no event", optional=True),
        Column("burn_5m", "double", "Burn rate of 5 minutes, 1: as fast as allowed; NULL: no event", optional=True),
        Column("burn_30m", "double", "Burn rate of 30 minutes; NULL: no event", optional=True),
        Column("burn_1h", "double", "Burn rate of an hour; NULL: no event", optional=True),
        Column("burn_6h", "double", "Burn rate of 6 hours; NULL: no event", optional=True),
        Column("events_1h", "bigint", "Events of the last hour"),
        Column("events_6h", "bigint", "Events of the last 6 hours"),
        Column("evaluated_at", "timestamp", "UTC time of the evaluation"),
    ])),
    CreateTable(Table("operations_slo_days", "One row per objective and day: its events, so that an evaluation reads no history.", [
        Column("name", "text", "Name of the objective", key=True),
        Column("day", "date", "Day, UTC", key=True),
        Column("good", "bigint", "Good events"),
        Column("total", "bigint", "Events"),
    ])),
    CreateTable(Table("operations_slo_samples", "One row per objective and 5 minutes: events that no other table has.", [
        Column("name", "text", "Name of the objective", key=True),
        Column("starts_at", "timestamp", "UTC time at which the 5 minutes start", key=True),
        Column("good", "bigint", "Good events"),
        Column("total", "bigint", "Events"),
    ])),
    CreateTable(Table("operations_host_samples", "One row per host, role and 5 minutes, kept for 7 days: what the host and the program use.", [
        Column("host", "text", "Host name", key=True),
        Column("role", "text", "Role: gateway, daemon, code_server, bridge or worker", key=True),
        Column("at", "timestamp", "UTC time at which the 5 minutes start", key=True),
        Column("cpu_share", "double", "Share of the host's CPU time in use since the sample before, 0-1"),
        Column("memory_share", "double", "Share of the host's memory in use, 0-1"),
        Column("disk_share", "double", "Share of the disk of STATE_DIR in use, 0-1"),
        Column("open_files", "bigint", "Open files of the program"),
        Column("open_files_share", "double", "Share of the program's limit of open files, 0-1"),
        Column("process_memory_bytes", "bigint", "Memory of the program, bytes"),
    ], indexes=[
        Index("operations_host_samples_by_time", ["at"]),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
