"""Groups of the statuses of Dagster's runs."""

import dagster as dg

from orchestration_project.tables.operations_runs import PENDING, RUNNING

PENDING_STATUSES = [dg.DagsterRunStatus[name] for name in PENDING]
RUNNING_STATUSES = [dg.DagsterRunStatus[name] for name in RUNNING]
ACTIVE_STATUSES = [*PENDING_STATUSES, *RUNNING_STATUSES]
FINISHED_STATUSES = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]
