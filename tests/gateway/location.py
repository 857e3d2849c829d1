"""A code location with a little of everything that a mutation can be about."""

import dagster as dg

from orchestration_project.assets.operations.kinds import Kind, build_kinds_job
from orchestration_project.engine.contracts.roles import REQUIRES_ADMIN
from orchestration_project.engine.options import JobOptions

LETTERS = dg.StaticPartitionsDefinition(["a", "b"])


@dg.asset
def thing() -> None: ...


@dg.asset(partitions_def=LETTERS)
def parts() -> None: ...


@dg.asset(
    partitions_def=dg.MultiPartitionsDefinition(
        {"letter": LETTERS, "week": dg.WeeklyPartitionsDefinition("2026-01-04", "2026-02-08")}
    )
)
def letter_weeks() -> None: ...


@dg.asset(key=["operations", "removals"], tags=REQUIRES_ADMIN)
def removals() -> None: ...


@dg.asset_check(asset=removals)
def is_careful() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset(deps=[removals])
def report() -> None: ...


@dg.asset(partitions_def=LETTERS, tags=REQUIRES_ADMIN)
def shreds() -> None:
    """No name of it is known anywhere: what it declares is all that makes it an admin's."""


@dg.op
def choose() -> int:
    return 1


@dg.op
def burn(number: int) -> int:
    return number


@dg.graph_asset(tags=REQUIRES_ADMIN)
def ashes() -> int:
    return burn(choose())


@dg.asset(tags=REQUIRES_ADMIN, automation_condition=dg.AutomationCondition.eager())
def eager_ashes() -> None: ...


@dg.op(tags=REQUIRES_ADMIN)
def sweep() -> None: ...


@dg.op
def look() -> None: ...


@dg.job
def operations_cleanup() -> None:
    sweep()


class Options(JobOptions):
    """No options."""


KINDS = build_kinds_job(
    "kinds",
    "do_kind",
    "Does one of two.",
    [
        Kind("harmless", "Does nothing.", Options, lambda *_: None),
        Kind("deletes", "Deletes.", Options, lambda *_: None, requires_admin=True),
    ],
)


@dg.job
def look_and_sweep() -> None:
    look()
    sweep()


@dg.job(tags=REQUIRES_ADMIN)
def named_by_its_tags() -> None:
    look()


work = dg.define_asset_job("work", [thing])
reports = dg.define_asset_job("reports", [report])
mixed = dg.define_asset_job("mixed", [thing, removals])
lettered = dg.define_asset_job("lettered", [parts])
shredding = dg.define_asset_job("shredding", [parts, shreds])


def broken(_: dg.SensorEvaluationContext) -> dg.SkipReason:
    raise ValueError("the reason")


def never(_: dg.SensorEvaluationContext) -> dg.SkipReason:
    return dg.SkipReason("there is nothing to do")


defs = dg.Definitions(
    assets=[thing, parts, letter_weeks, removals, report, shreds, ashes, eager_ashes],
    asset_checks=[is_careful],
    jobs=[
        *(work, reports, mixed, lettered, shredding),
        *(operations_cleanup, look_and_sweep, named_by_its_tags, KINDS),
    ],
    schedules=[
        dg.ScheduleDefinition(job=work, cron_schedule="0 0 * * *", name="nightly"),
        dg.ScheduleDefinition(job=reports, cron_schedule="0 0 * * *", name="nightly_reports"),
        dg.ScheduleDefinition(job=mixed, cron_schedule="0 0 * * *", name="nightly_mixed"),
        dg.ScheduleDefinition(
            job=operations_cleanup, cron_schedule="0 0 * * *", name="nightly_sweep"
        ),
        dg.ScheduleDefinition(
            target=dg.AssetSelection.assets(shreds),
            cron_schedule="0 0 * * *",
            name="nightly_shreds",
        ),
    ],
    sensors=[
        dg.SensorDefinition(name="on_thing", evaluation_fn=never, job=work),
        dg.SensorDefinition(name="on_either", evaluation_fn=never, jobs=[work, look_and_sweep]),
        dg.SensorDefinition(
            name="on_shreds", evaluation_fn=never, asset_selection=dg.AssetSelection.assets(shreds)
        ),
        dg.SensorDefinition(
            name="on_parts", evaluation_fn=never, asset_selection=dg.AssetSelection.assets(parts)
        ),
        dg.SensorDefinition(
            name="on_target", evaluation_fn=never, target=dg.AssetSelection.assets(removals)
        ),
        dg.SensorDefinition(name="on_trouble", evaluation_fn=broken),
        dg.SensorDefinition(name="on_nothing", evaluation_fn=never),
        dg.AutomationConditionSensorDefinition("automation", target=[thing, eager_ashes]),
        dg.AutomationConditionSensorDefinition("no_ashes", target=[removals, report]),
    ],
)
