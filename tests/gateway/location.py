"""A code location with a little of everything that a mutation can be about."""

import dagster as dg


@dg.asset
def thing() -> None: ...


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]))
def parts() -> None: ...


@dg.asset(key=["operations", "removals"])
def removals() -> None: ...


@dg.op
def sweep() -> None: ...


@dg.job
def operations_cleanup() -> None:
    sweep()


work = dg.define_asset_job("work", [thing])

defs = dg.Definitions(
    assets=[thing, parts, removals],
    jobs=[work, operations_cleanup],
    schedules=[dg.ScheduleDefinition(job=work, cron_schedule="0 0 * * *", name="nightly")],
)
