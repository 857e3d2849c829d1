"""States of incremental sources: each load appends the state that the next starts from."""

from orchestration_project.tables.schema import count, moment, table, text

dlt_states = table(
    "dlt_states",
    "One row per load of an incremental source, written in the transaction of the load.",
    text("table_name", "Table that the source is loaded into", key=True),
    count("state_number", "Number of the state, from 1; the load before has one less", key=True),
    text("partition_key", "Partition that was loaded"),
    text("state", "State of the source after the load, a JSON object; of dlt, as dlt stores it"),
    text("run_id", "Dagster run of the load"),
    moment("saved_at", "UTC time of the load"),
)
