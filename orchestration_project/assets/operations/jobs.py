"""The jobs of operations: checks, edits of definitions, clean-up, and work on runs."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from orchestration_project.assets.operations.alerts import alerts_asset
from orchestration_project.assets.operations.artifact_repairs import REPAIR_ARTIFACTS
from orchestration_project.assets.operations.artifacts import LIST_ARTIFACTS
from orchestration_project.assets.operations.automation import SWITCH_AUTOMATION
from orchestration_project.assets.operations.catalogue import (
    ALERTS,
    CONTROL_TOWER,
    DEFINITIONS,
    READINESS,
    RUNS,
    report_spec,
)
from orchestration_project.assets.operations.cleanup import DELETE_ARTIFACTS
from orchestration_project.assets.operations.control_tower import control_tower
from orchestration_project.assets.operations.flags import EDIT_FLAG, check_flags
from orchestration_project.assets.operations.kinds import build_kinds_job
from orchestration_project.assets.operations.pauses import EDIT_PAUSE
from orchestration_project.assets.operations.presets import APPLY_PRESET
from orchestration_project.assets.operations.retries import RETRY_FAILURES
from orchestration_project.assets.operations.run_logs import PRUNE_RUN_LOGS
from orchestration_project.assets.operations.runs import ledger
from orchestration_project.assets.operations.schedules import EDIT_SCHEDULE
from orchestration_project.assets.operations.sessions import LIST_SESSIONS
from orchestration_project.assets.operations.webhooks import REPLAY_WEBHOOK
from orchestration_project.engine.contracts.job_kinds import CHECKS_JOB, CLEAN_UP, EDIT, HANDLE_RUNS

checks_job = dg.define_asset_job(
    CHECKS_JOB,
    selection=dg.AssetSelection.assets(ledger, alerts_asset, control_tower, READINESS)
    | dg.AssetSelection.checks(check_flags),
    description="""Checks what loads need and how they do. A run without a selection does all.

- `operations/runs`: compares the ledger with Dagster's runs, and repairs the ledger.
  - `since`: only runs that were requested after this time; without it, all.
  - `only_changed`: only runs that are missing or differ.
- `operations/readiness`: verifies every dependency, and lists changed settings.
  - `send_test_message`: sends a test message to each alert channel.
- `operations/control_tower`: summarizes the health of every domain, and checks the flags.
- `operations/alerts`: lists open alerts and their delivery.
""",
    tags={"domain": "operations"},
)

HOURLY_ASSETS = [RUNS, ALERTS, CONTROL_TOWER]
HOURLY_CONFIG: Mapping[str, Any] = {
    "ops": {"reconcile_operations": {"config": {"only_changed": True}}}
}

definitions = report_spec(
    DEFINITIONS,
    "One row per flag, per schedule that is data, and per preset that was applied. The job "
    f"{EDIT[0]} edits them.",
    {
        "name": "Name of the flag, schedule or preset",
        "state": "Whether it is in effect",
        "edited_by": "User who edited it last",
    },
    "state",
)

edit_definitions_job = build_kinds_job(
    *EDIT,
    "Edits what is data: presets, flags, schedules, pauses, and which automation is on.",
    [APPLY_PRESET, EDIT_FLAG, EDIT_PAUSE, EDIT_SCHEDULE, SWITCH_AUTOMATION],
)

clean_up_job = build_kinds_job(
    *CLEAN_UP,
    "Lists, repairs and deletes artifacts, and deletes logs of old runs.",
    [LIST_ARTIFACTS, REPAIR_ARTIFACTS, DELETE_ARTIFACTS, PRUNE_RUN_LOGS],
)

runs_job = build_kinds_job(
    *HANDLE_RUNS,
    "Lists sessions, retries what failed, and requeues webhook deliveries.",
    [LIST_SESSIONS, RETRY_FAILURES, REPLAY_WEBHOOK],
)
