"""Fixtures of tests of sensors: an instance of Dagster, and manual ticks over the demo source."""

from dataclasses import dataclass, field

import dagster as dg

from orchestration_project.definitions import defs
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.source import SourceVersion
from orchestration_project.resources.finra.source import FinraSource
from tests.resources.definitions import RESOURCES


class Watched:
    """A source that notes of which partitions the state was asked."""

    def __init__(self, source: FinraSource) -> None:
        self._source = source
        self.probes: list[str] = []

    def __getattr__(self, name: str):
        return getattr(self._source, name)

    def version(self, partition: Partition) -> SourceVersion:
        self.probes.append(f"{partition.value}|{partition.day}")
        return self._source.version(partition)


@dataclass
class Tick:
    """Result of a tick: its message, requested runs, cursor, and probes."""

    said: str
    cursor: str | None
    requests: list[dg.RunRequest] = field(default_factory=list)
    probes: list[str] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        return [str(request.partition_key) for request in self.requests]

    @property
    def day(self) -> str | None:
        """The day of a cursor that also names the database."""
        return self.cursor and self.cursor.partition(" of ")[0]


class Sensor:
    """A sensor that a test ticks and that keeps its cursor, as under the daemon."""

    def __init__(self, sensor, instance: dg.DagsterInstance, cursor: str | None = None) -> None:
        self._sensor = sensor
        self._instance = instance
        self.cursor = cursor

    def tick(self, finra: FinraSource | None = None) -> Tick:
        """Evaluate the sensor, over another source if one is given."""
        with dg.build_resources(RESOURCES, self._instance) as made:
            resources = made._asdict()
            watched = Watched(finra or resources["finra"])
            wanted = {
                name: resource
                for name, resource in {**resources, "finra": watched}.items()
                if name in self._sensor.required_resource_keys
            }
            context = dg.build_sensor_context(
                instance=self._instance, cursor=self.cursor, resources=wanted
            )
            result = self._sensor(context)
        if isinstance(result, dg.SkipReason):
            return Tick(str(result.skip_message), self.cursor, probes=watched.probes)
        self.cursor = result.cursor or self.cursor
        said = str(result.skip_reason.skip_message) if result.skip_reason else ""
        return Tick(said, self.cursor, list(result.run_requests or []), watched.probes)


def run(instance: dg.DagsterInstance, request: dg.RunRequest) -> bool:
    """Do what a tick asked for, and return whether it went well."""
    tags = {"dagster/partition": str(request.partition_key), "dagster/run_key": request.run_key}
    result = defs.resolve_job_def("finra_otc_weekly").execute_in_process(
        instance=instance, tags=tags, raise_on_error=False
    )
    return result.success


def note_run(
    instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus
) -> None:
    """Have Dagster remember a run of that status for what a tick asked for."""
    tags = {"dagster/partition": str(request.partition_key), "dagster/run_key": request.run_key}
    instance.create_run_for_job(defs.resolve_job_def("finra_otc_weekly"), status=status, tags=tags)
