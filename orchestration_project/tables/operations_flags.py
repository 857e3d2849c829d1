"""Tables of flags: those in effect, and every version."""

from orchestration_project.tables.schema import count, moment, ratio, table, text

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
