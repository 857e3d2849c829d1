"""Samples of hosts: what a host and a program on it use, each 5 minutes, for 7 days."""

import resource
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Row, delete, select

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import insert_absent
from orchestration_project.tables.operations_objectives import operations_host_samples

RETENTION = timedelta(days=7)

SLOT = timedelta(minutes=5)
"""Time of a sample."""

LATEST_WITHIN = timedelta(minutes=11)
"""A sample before this is of a program that is silent or has stopped."""


FIRST_SECONDS = 0.1


class HostSampler:
    """Records samples of this process and its host, at most one in 5 minutes.

    Args:
        host: Host name.
        role: Role of the program.
    """

    def __init__(self, host: str, role: str) -> None:
        self._key = {"host": host, "role": role}
        self._slot: datetime | None = None

    def sample(self, warehouse: Warehouse, now: datetime, state_path: Path) -> bool:
        """Record a sample if these 5 minutes have none, and remove old ones of all hosts.

        CPU time is measured since the sample before; the first call takes a tenth of a second.

        Returns:
            Whether a sample was recorded.
        """
        slot, before = find_slot_start(now), self._slot
        if slot == before:
            return False
        seconds = FIRST_SECONDS if before is None else None
        self._slot, cpu_share = slot, psutil.cpu_percent(seconds) / 100
        row = {**self._key, "at": slot, "cpu_share": cpu_share, **_measure_host(state_path)}
        samples = operations_host_samples
        with warehouse.writing() as connection:
            insert_absent(connection, samples, [row])
            connection.execute(delete(samples).where(samples.c["at"] < now - RETENTION))
        return True


def _measure_host(state_path: Path) -> dict[str, Any]:
    disk, process = psutil.disk_usage(str(state_path)), psutil.Process()
    open_files, (limit, _) = process.num_fds(), resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "memory_share": psutil.virtual_memory().percent / 100,
        "disk_share": disk.percent / 100,
        "open_files": open_files,
        "open_files_share": 0.0 if limit == resource.RLIM_INFINITY else open_files / limit,
        "process_memory_bytes": process.memory_info().rss,
    }


def read_latest_samples(warehouse: Warehouse, now: datetime) -> Sequence[Row]:
    """Return the latest sample of each host and role of the last 11 minutes."""
    samples = operations_host_samples.c
    query = (
        select(operations_host_samples)
        .where(samples["at"] > now - LATEST_WITHIN, samples["at"] <= now)
        .order_by(samples.host, samples.role, samples["at"])
    )
    with warehouse.reading() as connection:
        return list({(row.host, row.role): row for row in connection.execute(query)}.values())


def find_slot_start(at: datetime) -> datetime:
    """Return the start of the slot of samples that ``at`` is in."""
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    return day + (at - day) // SLOT * SLOT
