"""Add http state."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Table

revision = "0034"
down_revision = "0033"

# fmt: off
CHANGES = [
    CreateTable(Table("http_hosts", "One row per requested host and system: its rate limit and circuit breaker.", [
        Column("host", "text", "Host name of the URLs, lower case, without port", key=True),
        Column("system", "text", "System that requests it, such as finra_api", key=True),
        Column("interval_ms", "bigint", "Interval of the rate limit, ms, with its margin"),
        Column("window_ms", "text", "Times of the latest requests, milliseconds since 1970, oldest first, as {1,2}; of those counted together the latest"),
        Column("batch_count", "bigint", "Requests that are counted together under the latest time"),
        Column("wait_ms", "bigint", "Wait that the latest decision asked for, ms; 0: the request was admitted"),
        Column("failure_count", "bigint", "Failed requests since the latest success"),
        Column("last_failure", "text", "Latest failure, without secrets; NULL: none", optional=True),
        Column("opened_at", "timestamp", "UTC time at which the circuit breaker opened; NULL: closed", optional=True),
        Column("retry_at", "timestamp", "UTC time from which one request may probe it; NULL: closed", optional=True),
    ])),
    CreateTable(Table("http_counts", "One row per requested host, system and outcome: the attempts that ended so.", [
        Column("host", "text", "Host name of the URLs, lower case, without port", key=True),
        Column("system", "text", "System that requests it, such as finra_api", key=True),
        Column("outcome", "text", "Outcome: an HTTP status, or no_answer", key=True),
        Column("request_count", "bigint", "Attempts"),
        Column("retry_count", "bigint", "Attempts that were not the first of a request"),
    ])),
    CreateTable(Table("http_quotas", "One row per system with a daily quota and day: the requests of that day.", [
        Column("system", "text", "System that requests it, such as alpha_vantage", key=True),
        Column("vendor_day", "date", "Day in the vendor's time zone", key=True),
        Column("request_count", "bigint", "Sent requests, of any outcome"),
        Column("is_over", "boolean", "Whether the vendor refuses further requests of that day"),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
