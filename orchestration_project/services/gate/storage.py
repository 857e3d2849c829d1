"""Probes of where things are kept: the database, the artifact store, the disk."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from uuid import uuid4

from orchestration_project.connections.artifacts import ArtifactStore
from orchestration_project.connections.clock import Clock
from orchestration_project.domains.operations.readiness import ANY_WORK
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.registry import Answer, Probe
from orchestration_project.services.gate.register import write_and_take_back

MIB = 1024 * 1024
TRIAL_BYTES = 1024

OpenWarehouse = Callable[[], AbstractContextManager[Warehouse]]


def database_probe(as_it_is: OpenWarehouse, open_warehouse: OpenWarehouse, clock: Clock) -> Probe:
    """Return the probe of the database: ``as_it_is``, and with its tables brought up to date."""

    def run() -> Answer:
        with as_it_is() as warehouse:
            before = warehouse.version()
        with open_warehouse() as warehouse:
            write_and_take_back(warehouse, clock.now())
            after = warehouse.version()
            was = "" if before == after else f", brought there from {before or 'nothing'}"
            return Answer(f"{warehouse.shown_url} takes writes; tables of version {after}{was}")

    tried = "connected, brought the tables up to date, wrote a row and took it back"
    return Probe("database", (ANY_WORK,), tried, run)


def artifacts_probe(open_store: Callable[[], ArtifactStore]) -> Probe:
    """Return the probe of the artifact store."""

    def run() -> Answer:
        store, name = open_store(), f"trials/{uuid4().hex}"
        content = uuid4().bytes * (TRIAL_BYTES // 16)
        store.put(name, content)
        if store.found(name) is None or store.get(name) != content:
            raise ConfigurationError(
                "the artifact store does not give back what it was given",
                expected=f"the same {len(content)} bytes at {store.url}",
                remedy="look for what changes or removes objects; set ARTIFACTS_URL to another",
            )
        store.delete(name)
        return Answer(f"{store.url} keeps what it is given")

    tried = f"wrote {TRIAL_BYTES} bytes, read them back, deleted them"
    return Probe("artifacts", ("artifacts",), tried, run)


def disk_probe(places: Callable[[], Sequence[Path]], headroom_mib: int) -> Probe:
    """Return the probe of the disks below ``places``, folders that may not be there yet."""

    def run() -> Answer:
        free = {str(place): _free_mib(place) for place in places()}
        full = {place: mib for place, mib in free.items() if mib < headroom_mib}
        if full:
            raise ConfigurationError(
                "a disk is nearly full",
                expected=f"at least {headroom_mib:,} MiB free (DISK_HEADROOM_MIB)",
                found=_said(full),
                remedy="free some space, move what lies there (STATE_DIR, DATABASE_URL, "
                "ARTIFACTS_URL), or lower DISK_HEADROOM_MIB",
            )
        return Answer(_said(free))

    return Probe("disk", (ANY_WORK,), "asked how much space is free where we write", run)


def _said(free: Mapping[str, int]) -> str:
    return ", ".join(f"{place}: {mib:,} MiB free" for place, mib in free.items())


def _free_mib(place: Path) -> int:
    there_is = next(each for each in (place, *place.parents) if each.exists())
    return shutil.disk_usage(there_is).free // MIB
