"""The project's definitions, with every sensor on and ticking as often as the daemon can."""

import dagster as dg

from orchestration_project.definitions import defs as project


def hurried(sensor: dg.SensorDefinition) -> dg.SensorDefinition:
    """Return the sensor as it is, but for how often it ticks."""

    @dg.sensor(
        name=sensor.name,
        job_name=sensor.job_name if sensor.targets else None,
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys=sensor.required_resource_keys,
    )
    def tick(context: dg.SensorEvaluationContext):
        return sensor(context)

    return tick


defs = dg.Definitions(
    assets=project.assets,
    asset_checks=project.asset_checks,
    jobs=project.jobs,
    schedules=project.schedules,
    sensors=[hurried(sensor) for sensor in project.sensors or []],
    resources=project.resources,
    executor=project.executor,
)
