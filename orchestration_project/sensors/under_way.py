"""Whether a run is under way, as Dagster remembers it."""

import dagster as dg

UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def while_under_way(instance: dg.DagsterInstance, job: str) -> dg.SkipReason | None:
    """Return what a tick says while a run of the job is under way; None: none is."""
    running = instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNDER_WAY), limit=1)
    return dg.SkipReason(f"The run {running[0].run_id} of {job} is under way.") if running else None
