"""A code location whose only asset takes as long as a test needs to kill it."""

import signal

import dagster as dg


@dg.asset
def sleeper() -> None:
    signal.pause()


defs = dg.Definitions(assets=[sleeper], executor=dg.in_process_executor)
