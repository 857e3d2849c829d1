"""The assets and jobs of operations: what ran, what it needs, what is stored, and its edits."""

from orchestration_project.assets.operations.alerts import alerts_asset
from orchestration_project.assets.operations.artifact_repairs import check_damaged_artifacts
from orchestration_project.assets.operations.artifacts import artifacts, check_artifacts
from orchestration_project.assets.operations.control_tower import control_tower
from orchestration_project.assets.operations.erasure import erase_job
from orchestration_project.assets.operations.evidence import evidence
from orchestration_project.assets.operations.exports import check_exports, export_job, exports
from orchestration_project.assets.operations.flags import check_flags
from orchestration_project.assets.operations.jobs import (
    checks_job,
    clean_up_job,
    definitions,
    edit_definitions_job,
    runs_job,
)
from orchestration_project.assets.operations.runs import ledger
from orchestration_project.assets.operations.verification import build_verification_asset

__all__ = [
    "alerts_asset",
    "artifacts",
    "build_verification_asset",
    "check_artifacts",
    "check_damaged_artifacts",
    "check_exports",
    "check_flags",
    "checks_job",
    "clean_up_job",
    "control_tower",
    "definitions",
    "edit_definitions_job",
    "erase_job",
    "evidence",
    "export_job",
    "exports",
    "ledger",
    "runs_job",
]
