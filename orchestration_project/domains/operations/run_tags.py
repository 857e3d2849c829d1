"""Tags of runs and backfills that a caller may not set: their origin, and marks of this project."""

from collections.abc import Mapping

ORIGIN_TAGS = frozenset(
    {
        *("dagster/schedule_name", "dagster/sensor_name", "dagster/tick", "dagster/run_key"),
        *("dagster/from_automation_condition", "dagster/auto_materialize", "dagster/auto_observe"),
        *("schedule", "schedule_due_at", "requested_by", "launched_by", "launched_by_job", "user"),
        *("idempotency_key", "idempotency_body", "traceparent_rejected"),
        *("routing_key", "routing_rule", "webhook", "webhook_rejected_by"),
        *("dagster/auto_retry_run_id", "dagster/did_retry", "dagster/will_retry"),
        *("orchestration_project/machine", "orchestration_project/release"),
        *(".dagster/grpc_info", ".dagster/scheduled_execution_time"),
    }
)
"""Tags of one launch: who or what launched the run, and what became of it."""

DESCRIBING_TAGS = frozenset(
    {
        *("domain", "session", "preset", "config_hash", "forced_past", "traceparent", "trace_id"),
        *("requested_range", "loaded_range", "plugin"),
        *("dagster/backfill", "dagster/retry_number"),
    }
)
"""Tags that describe a run, which a re-execution takes over from the run that it repeats."""

RESERVED_TAGS = ORIGIN_TAGS | DESCRIBING_TAGS
"""Tags that no caller may set, by REST or GraphQL."""


def without_reserved_tags(
    tags: Mapping[str, str], job_tags: Mapping[str, str], parent_tags: Mapping[str, str]
) -> dict[str, str]:
    """Return the tags of a launch with the reserved ones of its job and its parent run alone.

    Args:
        tags: Tags of the launch, as a caller gave them.
        job_tags: Tags of the job's definition.
        parent_tags: Tags of the run that is executed again; a describing tag stays if it is equal.
    """
    reserved = {
        name: value
        for name, value in tags.items()
        if name in DESCRIBING_TAGS and parent_tags.get(name) == value
    }
    reserved |= {name: value for name, value in job_tags.items() if name in RESERVED_TAGS}
    return {name: value for name, value in tags.items() if name not in RESERVED_TAGS} | reserved
