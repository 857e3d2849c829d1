"""Add load chain."""

from orchestration_project.migrations.changes import CreateTable, downgrade_by, upgrade_by
from orchestration_project.migrations.frozen import Column, Index, Table

revision = "0069"
down_revision = "0068"

# fmt: off
CHANGES = [
    CreateTable(Table("load_chain", "One row per record of the chain of a loaded table.", [
        Column("table_name", "text", "Loaded table", key=True),
        Column("number", "bigint", "Number of the record in the chain of its table, from 1", key=True),
        Column("kind", "text", "Kind: start (of the chain), columns (that later records hash), load, quarantine, refusal, erasure or retention (both replace the hashes of an earlier record)"),
        Column("group_id", "text", "Delivery; NULL: the record is of no delivery", optional=True),
        Column("partition_key", "text", "Partition key of Dagster; NULL: of no delivery", optional=True),
        Column("partition", "text", "Partition as column values, JSON; NULL: of no delivery", optional=True),
        Column("amends", "bigint", "Number of the record whose hashes it replaces; NULL: none", optional=True),
        Column("payload", "text", "Hashed and signed fields, JSON"),
        Column("salt", "text", "Salt of its hashes, hex; NULL: replaced by a later record", optional=True),
        Column("record_sha256", "text", "SHA-256 of payload, hex"),
        Column("signature", "text", "Ed25519 signature of record_sha256, Base64; NULL: a later record of its transaction is signed", optional=True),
        Column("public_key", "text", "Public key of the signature, Base64; NULL: not signed", optional=True),
        Column("recorded_at", "timestamp", "UTC time; known_from of the rows that the load wrote"),
    ], indexes=[
        Index("load_chain_by_group", ["table_name", "group_id"]),
        Index("load_chain_by_partition", ["table_name", "partition_key", "number"]),
    ])),
    CreateTable(Table("chain_heads", "One row per loaded table: the newest record of its chain.", [
        Column("table_name", "text", "Loaded table", key=True),
        Column("number", "bigint", "Number of the newest record; 0: none yet"),
        Column("record_sha256", "text", "SHA-256 of its payload, hex; empty: none yet"),
        Column("columns_number", "bigint", "Number of the newest record of kind columns; 0: none yet"),
        Column("columns_sha256", "text", "SHA-256 of the columns that it names, hex; empty: none yet"),
    ])),
]
# fmt: on


def upgrade() -> None:
    """Make the changes."""
    upgrade_by(CHANGES)


def downgrade() -> None:
    """Undo them."""
    downgrade_by(CHANGES)
