"""What every domain shares, opened from the settings, and the probes of it."""

from orchestration_project.resources.providers.probes import (
    open_alerts,
    open_disk_probe,
    open_probes,
)
from orchestration_project.resources.providers.systems import (
    open_clock,
    open_store,
    open_warehouse,
    unprepared_warehouse,
)

__all__ = [
    "open_alerts",
    "open_clock",
    "open_disk_probe",
    "open_probes",
    "open_store",
    "open_warehouse",
    "unprepared_warehouse",
]
