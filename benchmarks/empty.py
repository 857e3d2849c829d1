"""A job that does nothing: what `dagster job execute` costs by itself."""

import dagster as dg


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job(executor_def=dg.in_process_executor)  # as ours
def empty() -> None:
    """One step that does nothing."""
    nothing()


defs = dg.Definitions(jobs=[empty])
