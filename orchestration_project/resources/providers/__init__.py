"""Dagster's resources: each made from the settings when a run or a tick asks for it.

What they are made of is no config of Dagster's, but for the gate's `force`: so no secret can show
up in a config view. Those that reach outside are opened at first use, within the step or tick.
"""

from orchestration_project.resources.providers.probes import (
    open_alerts,
    open_disk_probe,
    open_probes,
)
from orchestration_project.resources.providers.resources import RESOURCES
from orchestration_project.resources.providers.sources import open_finra
from orchestration_project.resources.providers.systems import (
    LARGEST_ANSWER_BYTES,
    open_clock,
    open_http,
    open_store,
    open_warehouse,
    unprepared_warehouse,
)

__all__ = [
    "LARGEST_ANSWER_BYTES",
    "RESOURCES",
    "open_alerts",
    "open_clock",
    "open_disk_probe",
    "open_finra",
    "open_http",
    "open_probes",
    "open_store",
    "open_warehouse",
    "unprepared_warehouse",
]
