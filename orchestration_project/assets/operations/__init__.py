"""The assets of operations: what ran and left, what it needs, alerts, presets, retries, replays."""

from orchestration_project.assets.operations.alerts import alerts_asset
from orchestration_project.assets.operations.artifact_copies import (
    artifact_copies,
    copy_artifacts_job,
)
from orchestration_project.assets.operations.artifact_repairs import (
    damaged_artifacts,
    repair_artifacts_job,
)
from orchestration_project.assets.operations.artifacts import artifacts, artifacts_job
from orchestration_project.assets.operations.automation import switch_automation_job
from orchestration_project.assets.operations.cleanup import cleanup_job, removals
from orchestration_project.assets.operations.control_tower import control_tower, control_tower_job
from orchestration_project.assets.operations.erasure import erase_job, erasures
from orchestration_project.assets.operations.evidence import evidence, export_evidence_job
from orchestration_project.assets.operations.exports import (
    export_gold_job,
    export_job,
    exports,
    gold_as_of,
)
from orchestration_project.assets.operations.flags import (
    check_flags,
    edit_flags_job,
    flags_asset,
)
from orchestration_project.assets.operations.presets import apply_preset_job, presets
from orchestration_project.assets.operations.retries import RETRY_JOB, retry_failures_job
from orchestration_project.assets.operations.run_logs import prune_job, run_logs
from orchestration_project.assets.operations.runs import ledger, reconcile_job
from orchestration_project.assets.operations.schedules import edit_schedules_job, schedules
from orchestration_project.assets.operations.sessions import sessions, sessions_job
from orchestration_project.assets.operations.verification import verification_asset, verify_job
from orchestration_project.assets.operations.webhooks import REPLAY_WEBHOOK_JOB, replay_webhook_job

__all__ = [
    "REPLAY_WEBHOOK_JOB",
    "RETRY_JOB",
    "alerts_asset",
    "apply_preset_job",
    "artifact_copies",
    "artifacts",
    "artifacts_job",
    "check_flags",
    "cleanup_job",
    "control_tower",
    "control_tower_job",
    "copy_artifacts_job",
    "damaged_artifacts",
    "edit_flags_job",
    "edit_schedules_job",
    "erase_job",
    "erasures",
    "evidence",
    "export_evidence_job",
    "export_gold_job",
    "export_job",
    "exports",
    "flags_asset",
    "gold_as_of",
    "ledger",
    "presets",
    "prune_job",
    "reconcile_job",
    "removals",
    "repair_artifacts_job",
    "replay_webhook_job",
    "retry_failures_job",
    "run_logs",
    "schedules",
    "sessions",
    "sessions_job",
    "switch_automation_job",
    "verification_asset",
    "verify_job",
]
