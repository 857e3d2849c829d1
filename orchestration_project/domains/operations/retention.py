"""What may be deleted: which lines of a finished run's log nobody needs, and from when on."""

from collections.abc import Mapping
from datetime import datetime

FORGOTTEN_EVENTS = frozenset(
    {
        *("STEP_OUTPUT", "STEP_INPUT", "STEP_FAILURE", "STEP_START", "STEP_SUCCESS"),
        *("STEP_SKIPPED", "STEP_WORKER_STARTING", "STEP_WORKER_STARTED", "STEP_UP_FOR_RETRY"),
        *("STEP_RESTARTED", "STEP_EXPECTATION_RESULT"),
        *("RESOURCE_INIT_STARTED", "RESOURCE_INIT_SUCCESS", "RESOURCE_INIT_FAILURE"),
        *("OBJECT_STORE_OPERATION", "ASSET_STORE_OPERATION", "LOADED_INPUT", "HANDLED_OUTPUT"),
        *("ENGINE_EVENT", "HOOK_COMPLETED", "HOOK_ERRORED", "HOOK_SKIPPED", "LOGS_CAPTURED"),
        *("PIPELINE_DEQUEUED", "ALERT_START", "ALERT_SUCCESS", "ALERT_FAILURE"),
    }
)
"""Dagster's events that tell how a run went, step by step; log lines have no type, and go too.

All others stay, those that Dagster may add some day as well: materializations, observations, what
was planned and did not come, checks, and each change of a run's status. From these Dagster tells
what state a partition is in, what a check said, and when a run began and ended.
"""


def prunable(
    changed: Mapping[str, datetime], recorded: Mapping[str, datetime], before: datetime
) -> list[str]:
    """Return those of some finished runs whose logs may go.

    Args:
        changed: When Dagster last changed each of the runs.
        recorded: As of which change the end of each run is in the ledger, which keeps what matters.
        before: Runs that changed at this time or later keep their logs.
    """
    return [
        run_id
        for run_id, at in changed.items()
        if at < before and run_id in recorded and recorded[run_id] >= at
    ]
