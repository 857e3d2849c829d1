"""The spine and FINRA's weekly tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
MOMENT = sa.DateTime().with_variant(postgresql.TIMESTAMP(timezone=True, precision=6), "postgresql")
BIG_INTEGER = sa.BigInteger()
DATE = sa.Date()
DOUBLE = sa.Double()

TABLES = (
    "rejects",
    "landings",
    "finra_venue_week",
    "finra_symbol_week",
    "finra_otc_weekly_history",
    "finra_otc_weekly",
    "fences",
    "database_labels",
    "captures",
    "blobs",
    "audits",
)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "audits",
        sa.Column("group_id", TEXT, nullable=False, comment="The delivery"),
        sa.Column("table_name", TEXT, nullable=False, comment="The table that it was meant for"),
        sa.Column("name", TEXT, nullable=False, comment="The audit"),
        sa.Column("partition_key", TEXT, nullable=False, comment="Dagster's key of the partition"),
        sa.Column("severity", TEXT, nullable=False, comment="error (blocks) or warning"),
        sa.Column("outcome", TEXT, nullable=False, comment="passed, failed or not_applicable"),
        sa.Column("expected", TEXT, nullable=False, comment="What the audit asks for"),
        sa.Column("found", TEXT, nullable=False, comment="What came"),
        sa.Column("offenders", TEXT, nullable=False, comment="The first 20 offenders, a JSON list"),
        sa.Column("run_id", TEXT, nullable=False, comment="Dagster run"),
        sa.Column("audited_at", MOMENT, nullable=False, comment="UTC time"),
        sa.PrimaryKeyConstraint("group_id", "table_name", "name"),
        comment="One row per delivery of a partition and audit; a failed one of severity error held it back.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blobs",
        sa.Column("sha256", TEXT, nullable=False, comment="SHA-256 of the bytes as received, hex"),
        sa.Column("byte_count", BIG_INTEGER, nullable=False, comment="Size as received, bytes"),
        sa.Column(
            "stored_byte_count", BIG_INTEGER, nullable=False, comment="Size as stored (zstd), bytes"
        ),
        sa.Column(
            "storage_uri",
            TEXT,
            nullable=False,
            comment="Where the bytes lie, relative to the artifact store",
        ),
        sa.Column(
            "stored_at",
            MOMENT,
            nullable=False,
            comment="UTC time at which the bytes were first recorded",
        ),
        sa.PrimaryKeyConstraint("sha256"),
        comment="One row per distinct content that was ever fetched.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "captures",
        sa.Column(
            "capture_id",
            BIG_INTEGER,
            nullable=False,
            comment="First 63 bits of the SHA-256 of group and part",
        ),
        sa.Column("sha256", TEXT, nullable=False, comment="The blob"),
        sa.Column("source", TEXT, nullable=False, comment="Where from: demo, api or files"),
        sa.Column("dataset", TEXT, nullable=False, comment="The source's name of the dataset"),
        sa.Column(
            "partition_key",
            TEXT,
            nullable=False,
            comment="Dagster's key of the partition that asked for it",
        ),
        sa.Column("part_number", BIG_INTEGER, nullable=False, comment="Place in the group, from 1"),
        sa.Column(
            "group_id",
            TEXT,
            nullable=False,
            comment="The fetches that make one delivery of a partition",
        ),
        sa.Column("url", TEXT, nullable=False, comment="Address or file, without secrets"),
        sa.Column("request", TEXT, nullable=False, comment="What was asked, JSON"),
        sa.Column(
            "response_headers",
            TEXT,
            nullable=False,
            comment="What the source said of the bytes, JSON",
        ),
        sa.Column(
            "http_status", BIG_INTEGER, nullable=True, comment="HTTP status; NULL for a file"
        ),
        sa.Column(
            "row_count",
            BIG_INTEGER,
            nullable=True,
            comment="Data lines in the bytes; NULL where they could not be read",
        ),
        sa.Column(
            "fetched_at", MOMENT, nullable=False, comment="UTC time at which the last byte came"
        ),
        sa.Column("run_id", TEXT, nullable=False, comment="Dagster run"),
        sa.PrimaryKeyConstraint("capture_id"),
        comment="One row per fetch: the same bytes fetched twice are one blob and two captures.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "database_labels",
        sa.Column("name", TEXT, nullable=False, comment="Name of the label"),
        sa.Column("value", TEXT, nullable=False, comment="Its value, such as demo or real"),
        sa.PrimaryKeyConstraint("name"),
        comment="What this database holds, so that made-up data never mixes with real data.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fences",
        sa.Column("table_name", TEXT, nullable=False, comment="The table"),
        sa.Column(
            "scope_key", TEXT, nullable=False, comment="The coarsest scope, such as T1|2025-11-10"
        ),
        sa.Column(
            "token",
            BIG_INTEGER,
            nullable=False,
            comment="Deliveries recorded so far; one that saw an older token cannot commit",
        ),
        sa.Column(
            "known_from",
            MOMENT,
            nullable=False,
            comment="The latest known_from handed out; the next one is later",
        ),
        sa.Column(
            "source_version",
            TEXT,
            nullable=True,
            comment="Source's state in the latest audited delivery",
        ),
        sa.PrimaryKeyConstraint("table_name", "scope_key"),
        comment="One row per table and coarsest scope: its lock, and the token that a landing must still hold.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "finra_otc_weekly",
        sa.Column("week_start", DATE, nullable=False, comment="Monday of the week"),
        sa.Column("tier", TEXT, nullable=False, comment="T1, T2 or OTCE"),
        sa.Column("market", TEXT, nullable=False, comment="ATS, or NON_ATS for other OTC trading"),
        sa.Column(
            "symbol", TEXT, nullable=False, comment="FINRA's issue symbol, exact to the byte"
        ),
        sa.Column(
            "venue_id",
            TEXT,
            nullable=False,
            comment="MPID; without one CRD:number; without both NAME:name",
        ),
        sa.Column("week_end", DATE, nullable=False, comment="Friday of the week"),
        sa.Column("mpid", TEXT, nullable=True, comment="Market participant identifier"),
        sa.Column(
            "firm_crd_number",
            BIG_INTEGER,
            nullable=True,
            comment="The firm's number in FINRA's registry; 0: De Minimis",
        ),
        sa.Column("participant_name", TEXT, nullable=True, comment="The venue's or firm's name"),
        sa.Column("issue_name", TEXT, nullable=True, comment="The security's name"),
        sa.Column(
            "share_quantity", BIG_INTEGER, nullable=False, comment="Shares traded in the week"
        ),
        sa.Column("trade_count", BIG_INTEGER, nullable=False, comment="Trades in the week"),
        sa.Column(
            "notional_usd",
            BIG_INTEGER,
            nullable=True,
            comment="Traded value, US dollars x 10^6; NULL: not given",
        ),
        sa.Column("product_type", TEXT, nullable=True, comment="FINRA's product type code"),
        sa.Column(
            "initial_published_date",
            DATE,
            nullable=True,
            comment="When FINRA first published the row",
        ),
        sa.Column(
            "last_update_date", DATE, nullable=True, comment="When FINRA last changed the row"
        ),
        sa.Column(
            "last_reported_date",
            DATE,
            nullable=True,
            comment="Day of the last report behind the row",
        ),
        sa.Column(
            "capture_id",
            BIG_INTEGER,
            nullable=False,
            comment="The capture that the row was read from",
        ),
        sa.Column(
            "known_from", MOMENT, nullable=False, comment="UTC time from which we knew the row"
        ),
        sa.PrimaryKeyConstraint("week_start", "tier", "market", "symbol", "venue_id"),
        comment="One row per week, tier, market, symbol and venue: the shares and trades reported to FINRA.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "finra_otc_weekly_history",
        sa.Column("week_start", DATE, nullable=False, comment="Monday of the week"),
        sa.Column("tier", TEXT, nullable=False, comment="T1, T2 or OTCE"),
        sa.Column("market", TEXT, nullable=False, comment="ATS, or NON_ATS for other OTC trading"),
        sa.Column(
            "symbol", TEXT, nullable=False, comment="FINRA's issue symbol, exact to the byte"
        ),
        sa.Column(
            "venue_id",
            TEXT,
            nullable=False,
            comment="MPID; without one CRD:number; without both NAME:name",
        ),
        sa.Column("week_end", DATE, nullable=False, comment="Friday of the week"),
        sa.Column("mpid", TEXT, nullable=True, comment="Market participant identifier"),
        sa.Column(
            "firm_crd_number",
            BIG_INTEGER,
            nullable=True,
            comment="The firm's number in FINRA's registry; 0: De Minimis",
        ),
        sa.Column("participant_name", TEXT, nullable=True, comment="The venue's or firm's name"),
        sa.Column("issue_name", TEXT, nullable=True, comment="The security's name"),
        sa.Column(
            "share_quantity", BIG_INTEGER, nullable=False, comment="Shares traded in the week"
        ),
        sa.Column("trade_count", BIG_INTEGER, nullable=False, comment="Trades in the week"),
        sa.Column(
            "notional_usd",
            BIG_INTEGER,
            nullable=True,
            comment="Traded value, US dollars x 10^6; NULL: not given",
        ),
        sa.Column("product_type", TEXT, nullable=True, comment="FINRA's product type code"),
        sa.Column(
            "initial_published_date",
            DATE,
            nullable=True,
            comment="When FINRA first published the row",
        ),
        sa.Column(
            "last_update_date", DATE, nullable=True, comment="When FINRA last changed the row"
        ),
        sa.Column(
            "last_reported_date",
            DATE,
            nullable=True,
            comment="Day of the last report behind the row",
        ),
        sa.Column(
            "capture_id",
            BIG_INTEGER,
            nullable=False,
            comment="The capture that the row was read from",
        ),
        sa.Column(
            "known_from", MOMENT, nullable=False, comment="UTC time from which we knew the row"
        ),
        sa.Column(
            "known_to",
            MOMENT,
            nullable=False,
            comment="UTC time at which the row was replaced or removed",
        ),
        sa.Column(
            "change_cause",
            TEXT,
            nullable=False,
            comment="Why: source (values), metadata (only its dates), ours (our rules)",
        ),
        sa.Column(
            "rule_version",
            TEXT,
            nullable=False,
            comment="Version of our rules that made the row that followed",
        ),
        sa.PrimaryKeyConstraint("week_start", "tier", "market", "symbol", "venue_id", "known_from"),
        comment="One row per earlier state of a row of finra_otc_weekly: true from known_from to known_to.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "finra_symbol_week",
        sa.Column("week_start", DATE, nullable=False, comment="Monday of the week"),
        sa.Column("tier", TEXT, nullable=False, comment="T1, T2 or OTCE"),
        sa.Column("symbol", TEXT, nullable=False, comment="FINRA's issue symbol"),
        sa.Column(
            "ats_share_quantity", BIG_INTEGER, nullable=False, comment="Shares traded on ATSs"
        ),
        sa.Column(
            "non_ats_share_quantity",
            BIG_INTEGER,
            nullable=False,
            comment="Shares traded OTC outside ATSs",
        ),
        sa.Column(
            "total_share_quantity", BIG_INTEGER, nullable=False, comment="Shares, both markets"
        ),
        sa.Column("ats_trade_count", BIG_INTEGER, nullable=False, comment="Trades on ATSs"),
        sa.Column(
            "non_ats_trade_count", BIG_INTEGER, nullable=False, comment="Trades outside ATSs"
        ),
        sa.Column("total_trade_count", BIG_INTEGER, nullable=False, comment="Trades, both markets"),
        sa.Column(
            "venue_count",
            BIG_INTEGER,
            nullable=False,
            comment="Venues that are known by name: De Minimis Firms are not one",
        ),
        sa.Column(
            "average_trade_size",
            DOUBLE,
            nullable=True,
            comment="Shares for each trade; NULL without trades",
        ),
        sa.Column(
            "top_venue_id",
            TEXT,
            nullable=True,
            comment="The named venue with most shares; ties: the lowest id",
        ),
        sa.Column(
            "top_venue_share",
            DOUBLE,
            nullable=True,
            comment="Its share of the symbol's shares, 0-1",
        ),
        sa.Column(
            "hhi_lower",
            DOUBLE,
            nullable=True,
            comment="Herfindahl index 0-1 if De Minimis Firms are tiny",
        ),
        sa.Column(
            "hhi_upper",
            DOUBLE,
            nullable=True,
            comment="Herfindahl index 0-1 if De Minimis Firms are one",
        ),
        sa.PrimaryKeyConstraint("week_start", "tier", "symbol"),
        comment="One row per week, tier and symbol: its trading over all venues, and how concentrated it was.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "finra_venue_week",
        sa.Column("week_start", DATE, nullable=False, comment="Monday of the week"),
        sa.Column("tier", TEXT, nullable=False, comment="T1, T2 or OTCE"),
        sa.Column("market", TEXT, nullable=False, comment="ATS or NON_ATS"),
        sa.Column("venue_id", TEXT, nullable=False, comment="As in finra_otc_weekly"),
        sa.Column("share_quantity", BIG_INTEGER, nullable=False, comment="Shares"),
        sa.Column("trade_count", BIG_INTEGER, nullable=False, comment="Trades"),
        sa.Column("symbol_count", BIG_INTEGER, nullable=False, comment="Symbols traded"),
        sa.Column(
            "tier_share",
            DOUBLE,
            nullable=True,
            comment="Share of the tier's shares in the week, both markets, 0-1",
        ),
        sa.Column(
            "rank",
            BIG_INTEGER,
            nullable=True,
            comment="Place by shares in the tier, from 1; NULL: De Minimis Firms",
        ),
        sa.PrimaryKeyConstraint("week_start", "tier", "market", "venue_id"),
        comment="One row per week, tier, market and venue: its trading, and its share of the tier.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "landings",
        sa.Column("group_id", TEXT, nullable=False, comment="The delivery"),
        sa.Column("table_name", TEXT, nullable=False, comment="The table"),
        sa.Column(
            "scope",
            TEXT,
            nullable=False,
            comment="The part of the table for which the delivery is complete",
        ),
        sa.Column("partition_key", TEXT, nullable=False, comment="Dagster's key of the partition"),
        sa.Column("source", TEXT, nullable=False, comment="Where from: demo, api or files"),
        sa.Column(
            "source_version",
            TEXT,
            nullable=False,
            comment="What tells this state of the source from another",
        ),
        sa.Column(
            "content_sha256", TEXT, nullable=False, comment="SHA-256 over the landed values, hex"
        ),
        sa.Column("rows_added", BIG_INTEGER, nullable=False, comment="Rows whose key is new"),
        sa.Column(
            "rows_changed",
            BIG_INTEGER,
            nullable=False,
            comment="Rows with other values under the same key",
        ),
        sa.Column(
            "rows_removed",
            BIG_INTEGER,
            nullable=False,
            comment="Rows that the delivery no longer has",
        ),
        sa.Column(
            "rows_unchanged", BIG_INTEGER, nullable=False, comment="Rows that stayed as they were"
        ),
        sa.Column(
            "rows_rejected",
            BIG_INTEGER,
            nullable=False,
            comment="Source lines refused by the contract",
        ),
        sa.Column(
            "change_cause", TEXT, nullable=False, comment="first, source, metadata, ours or none"
        ),
        sa.Column("rule_version", TEXT, nullable=False, comment="Version of our rules"),
        sa.Column("run_id", TEXT, nullable=False, comment="Dagster run"),
        sa.Column(
            "landed_at",
            MOMENT,
            nullable=False,
            comment="UTC time; known_from of the rows that it wrote",
        ),
        sa.PrimaryKeyConstraint("group_id", "table_name"),
        comment="One row per transaction that brought a delivery into a table.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rejects",
        sa.Column(
            "capture_id", BIG_INTEGER, nullable=False, comment="The capture that holds the line"
        ),
        sa.Column("table_name", TEXT, nullable=False, comment="The table that refused it"),
        sa.Column(
            "line_number",
            BIG_INTEGER,
            nullable=False,
            comment="Line in the capture, from 1, the header included",
        ),
        sa.Column(
            "byte_offset",
            BIG_INTEGER,
            nullable=False,
            comment="Where the line starts in the capture, bytes from 0",
        ),
        sa.Column(
            "record",
            TEXT,
            nullable=False,
            comment="The line; bytes outside printable ASCII as backslash escapes",
        ),
        sa.Column("reason_code", TEXT, nullable=False, comment="The rule that it broke, one word"),
        sa.Column("reason", TEXT, nullable=False, comment="The rule that it broke, a sentence"),
        sa.Column("run_id", TEXT, nullable=False, comment="Dagster run"),
        sa.Column("rejected_at", MOMENT, nullable=False, comment="UTC time"),
        sa.PrimaryKeyConstraint("capture_id", "table_name", "line_number"),
        comment="One row per source line that broke the contract.",
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Drop the tables, and with them all that was landed."""
    for name in TABLES:
        op.drop_table(name)
