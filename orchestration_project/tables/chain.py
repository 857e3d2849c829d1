"""Chains of load records, one for each table, and their heads."""

from sqlalchemy import Index

from orchestration_project.tables.schema import count, moment, table, text

load_chain = table(
    "load_chain",
    "One row per record of the chain of a loaded table.",
    text("table_name", "Loaded table", key=True),
    count("number", "Number of the record in the chain of its table, from 1", key=True),
    text(
        "kind",
        "Kind: start (of the chain), columns (that later records hash), load, quarantine, refusal, "
        "erasure or retention (both replace the hashes of an earlier record)",
        values=("start", "columns", "load", "quarantine", "refusal", "erasure", "retention"),
    ),
    text("group_id", "Delivery; NULL: the record is of no delivery", optional=True),
    text("partition_key", "Partition key of Dagster; NULL: of no delivery", optional=True),
    text("partition", "Partition as column values, JSON; NULL: of no delivery", optional=True),
    count("amends", "Number of the record whose hashes it replaces; NULL: none", optional=True),
    text("payload", "Hashed and signed fields, JSON"),
    text("salt", "Salt of its hashes, hex; NULL: replaced by a later record", optional=True),
    text("record_sha256", "SHA-256 of payload, hex"),
    text(
        "signature",
        "Ed25519 signature of record_sha256, Base64; NULL: a later record of its transaction is "
        "signed",
        optional=True,
    ),
    text("public_key", "Public key of the signature, Base64; NULL: not signed", optional=True),
    moment("recorded_at", "UTC time; known_from of the rows that the load wrote"),
    internal=True,
)

Index(
    "load_chain_by_partition",
    load_chain.c.table_name,
    load_chain.c.partition_key,
    load_chain.c.number,
)
Index("load_chain_by_group", load_chain.c.table_name, load_chain.c.group_id)

chain_heads = table(
    "chain_heads",
    "One row per loaded table: the newest record of its chain.",
    text("table_name", "Loaded table", key=True),
    count("number", "Number of the newest record; 0: none yet"),
    text("record_sha256", "SHA-256 of its payload, hex; empty: none yet"),
    count("columns_number", "Number of the newest record of kind columns; 0: none yet"),
    text("columns_sha256", "SHA-256 of the columns that it names, hex; empty: none yet"),
    internal=True,
)
