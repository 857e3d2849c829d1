"""A code location whose only asset takes as long as a test needs to kill it."""

import time

import dagster as dg


@dg.asset
def sleeper() -> None:
    time.sleep(120)


defs = dg.Definitions(assets=[sleeper], executor=dg.in_process_executor)
