"""The state of alerts, presets, configuration and ledger as events of their assets.

A sensor compares a digest of each with that of its previous tick, and reports what changed. What
is read is bounded: open alerts, one row per job with presets, and the latest runs.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import dagster as dg
import polars as pl
from sqlalchemy import select

from orchestration_project.assets.operations.alerts import ALERTS_SHOWN, render_alerts
from orchestration_project.assets.operations.catalogue import (
    ALERTS,
    DEFINITIONS,
    READINESS,
    RUNS,
)
from orchestration_project.assets.operations.flags import describe_flags
from orchestration_project.assets.operations.schedules import describe_schedules
from orchestration_project.assets.operations.verification import render_entries
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_kinds import (
    APPLY_PRESET,
    CHECKS_JOB,
    RETRY_FAILURES,
)
from orchestration_project.engine.run_statuses import FINISHED_STATUSES
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Registry
from orchestration_project.services.alerts import Alerts
from orchestration_project.services.flags import report_flags
from orchestration_project.services.metadata import build_table
from orchestration_project.services.presets import (
    Presets,
    list_presets,
    read_applied,
    resolve_config,
    select_enabled,
)
from orchestration_project.services.schedules.store import SCHEDULE_STORE
from orchestration_project.settings import Settings
from orchestration_project.tables.operations_runs import operations_runs

RUNS_SHOWN = 20
RUN_COLUMNS: tuple[str, ...] = (
    "run_id",
    "job",
    "status",
    "created_at",
    "ended_at",
    "error_message",
)

Digests = Mapping[str, str]
Snapshot = tuple[str, Callable[[], Mapping[str, Any]], Sequence[dg.AssetKey]]
"""A digest of a state, the metadata that shows it, and the assets that it belongs to."""


def detect_changes(
    before: Digests, snapshots: Mapping[str, Snapshot]
) -> tuple[Digests, list[dg.AssetMaterialization]]:
    """Return the digests now, and an event for each asset whose state changed since ``before``."""
    events = [
        dg.AssetMaterialization(key, metadata=metadata)
        for name, (digest, show, keys) in snapshots.items()
        if before.get(name) != digest
        for metadata in [show()]
        for key in keys
    ]
    return {name: digest for name, (digest, _, _) in snapshots.items()}, events


def build_alerts_snapshot(alerts: Alerts) -> Snapshot:
    """Return the open alerts, each with the command that closes it."""
    with alerts.inbox() as inbox:
        standing = inbox.standing()
    metadata = {"open": len(standing), "alerts": render_alerts(standing[:ALERTS_SHOWN])}
    return _hash_all([asdict(alert_state) for alert_state in standing]), lambda: metadata, [ALERTS]


def build_presets_snapshot(presets: Presets, registry: Registry) -> Snapshot:
    """Return the presets, and how each is applied."""
    rows = [
        {
            **entry,
            "apply_with": APPLY_PRESET.describe(
                f"preset: {entry['preset']}, why: ..., dry_run: false"
            ),
        }
        for entry in list_presets(presets, registry.preset_targets)
    ]
    return _hash_all(rows), lambda: {"presets": build_table(pl.DataFrame(rows))}, [DEFINITIONS]


def build_config_snapshot(settings: Settings, presets: Presets) -> Snapshot:
    """Return the settings in effect of domains that are on, and what applied presets set."""
    now = resolve_config(settings)
    shown_config_values = select_enabled(settings, {**now.entries, **read_applied(presets)})
    metadata = {
        "config_hash": now.config_hash,
        "change_with": "edit .env or the environment and restart; `orchestrate config` shows it",
        **render_entries(shown_config_values),
    }
    digest = _hash_all([now.config_hash, [asdict(value) for value in shown_config_values.values()]])
    return digest, lambda: metadata, [READINESS]


def build_ledger_snapshot(
    instance: dg.DagsterInstance, warehouse: Warehouse, link: Callable[[str], str]
) -> Snapshot:
    """Return the latest runs of the ledger; the latest end of a run is the digest.

    So there are fewer events than runs, however often a run changes.
    """
    ended = dg.RunsFilter(statuses=FINISHED_STATUSES)
    latest = instance.get_run_records(ended, limit=1, order_by="update_timestamp", ascending=False)
    changed = [
        [run_record.dagster_run.run_id, run_record.update_timestamp] for run_record in latest
    ]

    def metadata() -> Mapping[str, Any]:
        columns = [operations_runs.c[name] for name in RUN_COLUMNS]
        newest = select(*columns).order_by(operations_runs.c.created_at.desc()).limit(RUNS_SHOWN)
        with warehouse.reading() as connection:
            rows = [dict(row) for row in connection.execute(newest).mappings()]
        entries = [
            {**{name: str(value or "") for name, value in row.items()}, "link": link(row["run_id"])}
            for row in rows
        ]
        schema = dict.fromkeys((*RUN_COLUMNS, "link"), pl.String)
        return {
            "latest_runs": build_table(pl.DataFrame(entries, schema)),
            "repair_with": f"the job {CHECKS_JOB}",
            "retry_with": RETRY_FAILURES.describe("dry_run: false"),
        }

    return _hash_all(changed), metadata, [RUNS]


def build_schedules_snapshot(warehouse: Warehouse, clock: Clock) -> Snapshot:
    """Return the schedules that are data; their next runs are shown after edits, and every day."""
    with warehouse.reading() as connection:
        stored = SCHEDULE_STORE.read(connection)
    now = clock.now()
    versions = [
        [stored_schedule.schedule.name, stored_schedule.version_number]
        for stored_schedule in stored
    ]
    digest = _hash_all([versions, now.date() if stored else None])
    return digest, lambda: describe_schedules(stored, now), [DEFINITIONS]


def build_flags_snapshot(
    warehouse: Warehouse, clock: Clock, registry: Registry, settings: Settings
) -> Snapshot:
    """Return the flags, and what uses them."""
    report = report_flags(warehouse, registry, settings, clock.now())
    dumped = [flag.model_dump() for flag in report.shown]
    used = report.used if dumped else {}
    return _hash_all([dumped, used]), lambda: describe_flags(report), [DEFINITIONS]


def build_snapshots(
    instance: dg.DagsterInstance,
    *,
    alerts: Alerts,
    clock: Clock,
    registry: Registry,
    settings: Settings,
    warehouse: Warehouse,
) -> Mapping[str, Snapshot]:
    """Return the state of all assets that show one, by name."""
    presets = Presets(warehouse, clock)
    return {
        "alerts": build_alerts_snapshot(alerts),
        "presets": build_presets_snapshot(presets, registry),
        "effective_config": build_config_snapshot(settings, presets),
        "ledger": build_ledger_snapshot(instance, warehouse, alerts.links.run),
        "schedules": build_schedules_snapshot(warehouse, clock),
        "flags": build_flags_snapshot(warehouse, clock, registry, settings),
    }


def _hash_all(state: object) -> str:
    return hashlib.sha256(json.dumps(state, default=str).encode()).hexdigest()[:16]
