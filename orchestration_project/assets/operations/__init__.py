"""The assets of operations: what ran and left, what it needs, alerts, presets, retries, replays."""

from orchestration_project.assets.operations.alerts import alerts_asset
from orchestration_project.assets.operations.artifacts import artifacts
from orchestration_project.assets.operations.cleanup import removals
from orchestration_project.assets.operations.control_tower import control_tower
from orchestration_project.assets.operations.evidence import evidence
from orchestration_project.assets.operations.presets import presets_asset
from orchestration_project.assets.operations.retries import RETRY_JOB, retry_failures
from orchestration_project.assets.operations.run_logs import run_logs
from orchestration_project.assets.operations.runs import ledger
from orchestration_project.assets.operations.sessions import sessions
from orchestration_project.assets.operations.verification import verification
from orchestration_project.assets.operations.webhooks import (
    REPLAY_WEBHOOK_JOB,
    replay_webhook,
)

__all__ = [
    "REPLAY_WEBHOOK_JOB",
    "RETRY_JOB",
    "alerts_asset",
    "artifacts",
    "control_tower",
    "evidence",
    "ledger",
    "presets_asset",
    "removals",
    "replay_webhook",
    "retry_failures",
    "run_logs",
    "sessions",
    "verification",
]
