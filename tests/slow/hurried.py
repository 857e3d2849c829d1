"""The project's definitions, with every sensor on and ticking every few seconds."""

import dagster as dg

from orchestration_project import definitions


def hurried(sensor: dg.SensorDefinition) -> dg.SensorDefinition:
    """Return the sensor as it is, but for how often it ticks."""

    @dg.sensor(
        name=sensor.name,
        job_name=sensor.job_name if sensor.targets else None,
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys=sensor.required_resource_keys,
    )
    def tick(context: dg.SensorEvaluationContext):
        return sensor(context)

    return tick


defs = dg.Definitions(
    assets=definitions.defs.assets,
    asset_checks=definitions.defs.asset_checks,
    jobs=definitions.defs.jobs,
    schedules=definitions.defs.schedules,
    sensors=[hurried(sensor) for sensor in definitions.defs.sensors or []],
    resources=definitions.defs.resources,
    executor=definitions.defs.executor,
)
