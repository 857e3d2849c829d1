"""Hosts, releases, queues and backups: metadata of the control tower, and the check of releases."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import dagster as dg
import polars as pl

from orchestration_project.assets.operations.catalogue import CONTROL_TOWER
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.backup_state import BackupState, read_backup_state
from orchestration_project.services.hosts import (
    HostRole,
    count_host_runs,
    is_silent,
    list_releases,
    read_hosts,
)
from orchestration_project.services.metadata import build_result, build_table, check_spec
from orchestration_project.services.queues import QueueState, read_queues
from orchestration_project.services.releases import UPGRADED_WITHIN, is_upgrade_late

GIB = 2**30

HOST_COLUMNS: dict[str, Any] = {
    "host": pl.String,
    "role": pl.String,
    "state": pl.String,
    "release": pl.String,
    "runs_in_progress": pl.Int64,
    "last_seen_at": pl.String,
    "cores": pl.Int64,
    "memory_gib": pl.Float64,
    "disk_free_gib": pl.Float64,
}
"""Columns of the table of hosts, a row for each program."""


QUEUE_COLUMNS: dict[str, Any] = {
    "queue": pl.String,
    **dict.fromkeys(("priority", "waiting", "running", "oldest_wait_minutes"), pl.Int64),
}
"""Columns of the table of queues, a row for each priority in a queue."""

QUEUES_SHOWN = 100

CHECK = "programs_run_one_release"
UPGRADE_MINUTES = UPGRADED_WITHIN.seconds // 60
REMEDY = "install the same release on every host and restart its programs"

RELEASES_CHECK = check_spec(
    CHECK,
    asset=CONTROL_TOWER,
    description="All programs run the same release, but for the time of an upgrade.",
    severity=dg.AssetCheckSeverity.WARN,
    limit=f"{UPGRADE_MINUTES} minutes of an upgrade",
    remedy=REMEDY,
)


def check_releases(warehouse: Warehouse, now: datetime) -> dg.AssetCheckResult:
    """Return whether the programs run one release; ``now`` is the machine's time."""
    programs = read_hosts(warehouse, now)
    releases = list_releases(programs, now)
    is_late = is_upgrade_late(programs, now)
    metadata: dict[str, Any] = {"outcome": _describe_releases(releases)}
    if is_late:
        expected = f"one release, {UPGRADE_MINUTES} minutes after an upgrade began"
        text = ", ".join(releases)
        metadata |= {"expected": expected, "found": text, "what_to_do": REMEDY}
    return build_result(
        CONTROL_TOWER, CHECK, metadata, dg.AssetCheckSeverity.WARN, passed=not is_late
    )


def describe_deployment(
    warehouse: Warehouse, instance: dg.DagsterInstance, now: datetime
) -> dict[str, Any]:
    """Return metadata on the programs that sent heartbeats, their releases, queues and backups.

    Args:
        warehouse: The database with the heartbeats and the backups.
        instance: The runs, which are counted by host, and by queue and priority.
        now: The machine's time.
    """
    programs = read_hosts(warehouse, now)
    releases = list_releases(programs, now)
    return {
        "hosts": build_table(_list_hosts(programs, dict(count_host_runs(instance)), now)),
        "queues": build_table(_list_queues(read_queues(instance)[:QUEUES_SHOWN], now)),
        "releases": _describe_releases(releases),
        "backup": _describe_backup(read_backup_state(warehouse)),
    }


def _list_hosts(programs: list[HostRole], runs: dict[str, int], now: datetime) -> pl.DataFrame:
    rows = [
        (
            program.host,
            program.role,
            _judge_state(program, now),
            program.release,
            runs.pop(program.host, None),  # beside the first program of the host
            f"{program.last_seen_at:%Y-%m-%d %H:%M:%S}",
            program.cores,
            round(program.memory_bytes / GIB, 1),
            round(program.disk_free_bytes / GIB, 1),
        )
        for program in programs
    ]
    other_rows = [
        (host, "run", "running", "", count, "", None, None, None) for host, count in runs.items()
    ]
    return pl.DataFrame([*rows, *other_rows], HOST_COLUMNS, orient="row")


def _list_queues(states: Sequence[QueueState], now: datetime) -> pl.DataFrame:
    rows = [
        (
            state.queue,
            state.priority,
            state.waiting_count,
            state.running_count,
            None if state.oldest_at is None else int((now - state.oldest_at).total_seconds() // 60),
        )
        for state in states
    ]
    return pl.DataFrame(rows, QUEUE_COLUMNS, orient="row")


def _judge_state(program: HostRole, now: datetime) -> str:
    if program.stopped_at is not None:
        return "stopped"
    return "silent" if is_silent(program, now) else "running"


def _describe_releases(releases: list[str]) -> str:
    if len(releases) < 2:
        return "".join(releases) or "no program sends heartbeats"
    return f"{len(releases)} releases run at once, finish the upgrade: {', '.join(releases)}"


def _describe_backup(state: BackupState) -> str:
    if state.latest_at is None:
        return "none was made"
    verified = f"{state.verified_at:%Y-%m-%d %H:%M} UTC" if state.verified_at else "never"
    missing = f"; it lacks {state.missing_count} artifacts" if state.missing_count else ""
    return f"latest {state.latest_at:%Y-%m-%d %H:%M} UTC, restored with --check {verified}{missing}"
