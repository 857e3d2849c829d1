"""The assets of operations: what ran, what it left, and how all of it stands."""

from orchestration_project.assets.operations.artifacts import artifacts
from orchestration_project.assets.operations.cleanup import removals
from orchestration_project.assets.operations.control_tower import control_tower
from orchestration_project.assets.operations.run_logs import run_logs
from orchestration_project.assets.operations.runs import ledger
from orchestration_project.assets.operations.sessions import sessions

__all__ = ["artifacts", "control_tower", "ledger", "removals", "run_logs", "sessions"]
