"""Releases of the programs that run: two of them at once, beyond the time of an upgrade."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.migrations import NEWEST_VERSION
from orchestration_project.registry import Answer, Probe
from orchestration_project.services.hosts import HostRole, is_silent, list_releases, read_hosts

UPGRADED_WITHIN = timedelta(minutes=15)
"""Time that an upgrade may take until every program runs its release."""


def find_mixed_start(programs: Sequence[HostRole], now: datetime) -> datetime | None:
    """Return since when two releases run beside each other; None: at most one does.

    A release is at work since the earliest start of its running programs.
    """
    begun: dict[str, datetime] = {}
    for program in programs:
        if program.stopped_at is None and not is_silent(program, now):
            begun[program.release] = min(
                program.started_at, begun.get(program.release, program.started_at)
            )
    return max(begun.values()) if len(begun) > 1 else None


def is_upgrade_late(programs: Sequence[HostRole], now: datetime) -> bool:
    """Whether two releases have run at once for longer than an upgrade takes."""
    since = find_mixed_start(programs, now)
    return since is not None and now - since > UPGRADED_WITHIN


def build_releases_probe(
    open_warehouse: Callable[[], AbstractContextManager[Warehouse]], clock: Clock
) -> Probe:
    """Return the probe that all programs run the same release, but for the time of an upgrade."""

    def run() -> Answer:
        try:
            with open_warehouse() as warehouse:
                if warehouse.version() != NEWEST_VERSION:
                    return Answer("the tables are of another version", is_applicable=False)
                programs = read_hosts(warehouse, clock.now())
        except OrchestrationError as error:  # the probe of the database reports it
            return Answer(f"the heartbeats cannot be read: {error.line}", is_applicable=False)
        now = clock.now()
        since, releases = find_mixed_start(programs, now), list_releases(programs, now)
        if since is not None and is_upgrade_late(programs, now):
            raise ConfigurationError(
                "two releases run at once",
                expected="one release on every host, "
                f"{UPGRADED_WITHIN.seconds // 60} minutes after an upgrade began",
                found=f"{', '.join(releases)} since {since:%Y-%m-%d %H:%M} UTC",
                remedy="finish the upgrade: install the same release on every host, and restart "
                "its programs",
            )
        return Answer(", ".join(releases) or "no program sends heartbeats")

    return Probe("releases", (), lambda: "read the releases of the programs that run", run)
