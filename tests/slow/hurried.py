"""The project's definitions, with the sensors of weekly data on and ticking every few seconds."""

import dagster as dg

from orchestration_project import definitions

HURRIED = (
    "finra_on_publication",
    "finra_on_restatement",
    "finra_on_landing",
    "finra_on_gold",
    "operations_",
)
"""How their names begin; those of other domains would queue dozens of runs before theirs."""


def hurried(sensor: dg.SensorDefinition) -> dg.SensorDefinition:
    """Return the sensor as it is, but for how often it ticks."""

    starts = {target.job_name for target in sensor.targets}
    jobs = [job for job in definitions.defs.jobs or [] if job.name in starts]

    @dg.sensor(
        name=sensor.name,
        jobs=jobs or None,
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys=sensor.required_resource_keys,
    )
    def tick(context: dg.SensorEvaluationContext):
        return sensor(context)

    return tick


def definitions_with(*names: str) -> dg.Definitions:
    """Return the definitions, of whose sensors those are left whose names begin like this."""
    return dg.Definitions(
        assets=definitions.defs.assets,
        asset_checks=definitions.defs.asset_checks,
        jobs=definitions.defs.jobs,
        schedules=definitions.defs.schedules,
        sensors=[
            hurried(sensor)
            for sensor in definitions.defs.sensors or []
            if sensor.name.startswith(names)
        ],
        resources=definitions.defs.resources,
        executor=definitions.defs.executor,
    )


defs = definitions_with(*HURRIED)
