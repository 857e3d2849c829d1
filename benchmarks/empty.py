"""A job that does nothing: what `dagster job execute` costs by itself."""

import dagster as dg


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job
def empty() -> None:
    """One step that does nothing."""
    nothing()


defs = dg.Definitions(jobs=[empty])
