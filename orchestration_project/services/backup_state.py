"""Backups of this installation: the latest one, and whether one was ever restored."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import func, select

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.migrations import NEWEST_VERSION
from orchestration_project.registry import Answer, Probe
from orchestration_project.tables.operations_deployment import operations_backups

USUAL_AGE = timedelta(hours=24)
"""Maximum age of the latest backup where BACKUP_MAX_AGE_HOURS is not set."""

TRIED_WITHIN = timedelta(days=7)
"""After the first backup, so long may pass until one is restored with --check."""

OpenWarehouse = Callable[[], AbstractContextManager[Warehouse]]


class BackupState(NamedTuple):
    """Backups of the installation.

    Attributes:
        backup_count: Number of complete backups.
        first_at: UTC time of the first one's start; None: none was made.
        latest_at: UTC time of the latest one's start.
        verified_at: UTC time of the latest restore with --check that found a backup whole.
        missing_count: Artifacts that the latest backup lacks.
    """

    backup_count: int
    first_at: datetime | None
    latest_at: datetime | None
    verified_at: datetime | None
    missing_count: int


def read_backup_state(warehouse: Warehouse) -> BackupState:
    """Return the state of the backups, by the table `operations_backups`."""
    backups = operations_backups.c
    summary = select(
        func.count(),
        func.min(backups.started_at),
        func.max(backups.started_at),
        func.max(backups.verified_at),
    )
    latest = select(backups.missing_count).order_by(backups.started_at.desc()).limit(1)
    with warehouse.reading() as connection:
        count, first_at, latest_at, verified_at = connection.execute(summary).one()
        missing = connection.execute(latest).scalar() or 0
    return BackupState(count, first_at, latest_at, verified_at, missing)


def build_age_probe(
    open_warehouse: OpenWarehouse, clock: Clock, max_age_hours: float | None
) -> Probe:
    """Return the probe of the latest backup's age.

    Args:
        open_warehouse: Opens the database as it is.
        clock: The present time.
        max_age_hours: BACKUP_MAX_AGE_HOURS. None: 24 hours, once a backup was made.
    """

    def run() -> Answer:
        state = _read(open_warehouse)
        if state is None:
            return Answer("the backups cannot be read", is_applicable=False)
        if state.latest_at is None and max_age_hours is None:
            return Answer("no backup was made", is_applicable=False)
        allowed = USUAL_AGE if max_age_hours is None else timedelta(hours=max_age_hours)
        if state.latest_at is None or clock.now() - state.latest_at > allowed:
            text = f"the latest of {state.latest_at:%Y-%m-%d %H:%M} UTC" if state.latest_at else ""
            raise ConfigurationError(
                "the latest backup is too old",
                expected=f"a backup within {allowed.total_seconds() / 3600:g} hours "
                "(BACKUP_MAX_AGE_HOURS)",
                found=text or "no backup",
                remedy="run `orchestrate backup --to DIR`, and look why its timer did not",
            )
        return Answer(f"the latest backup is of {state.latest_at:%Y-%m-%d %H:%M} UTC")

    return Probe("backup", (), lambda: "read the time of the latest backup", run)


def restore_probe(open_warehouse: OpenWarehouse, clock: Clock) -> Probe:
    """Return the probe that a backup was restored once: only that shows that backups work."""

    def run() -> Answer:
        state = _read(open_warehouse)
        if state is None or state.first_at is None:
            return Answer("no backup was made", is_applicable=False)
        if state.verified_at is None and clock.now() - state.first_at > TRIED_WITHIN:
            raise ConfigurationError(
                "no backup was ever restored",
                expected=f"a restore with --check within {TRIED_WITHIN.days} days of the first "
                "backup",
                found=f"{state.backup_count} backups, the first of {state.first_at:%Y-%m-%d} UTC",
                remedy="on another STATE_DIR with empty databases, run `orchestrate restore --from "
                "DIR --check`; the next backup to DIR records it",
            )
        return Answer(
            f"a backup was restored on {state.verified_at:%Y-%m-%d}"
            if state.verified_at
            else "the first backup is new"
        )

    return Probe("restore", (), lambda: "read when a backup was restored last", run)


def _read(open_warehouse: OpenWarehouse) -> BackupState | None:
    """Return the state; None: the database cannot be used now, which its own probe reports."""
    try:
        with open_warehouse() as warehouse:
            if warehouse.version() != NEWEST_VERSION:
                return None
            return read_backup_state(warehouse)
    except OrchestrationError:
        return None
