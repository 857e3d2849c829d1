"""The assets of operations: what ran and how it stands, and whether what it needs is ready."""

from orchestration_project.assets.operations.control_tower import control_tower
from orchestration_project.assets.operations.runs import ledger
from orchestration_project.assets.operations.sessions import sessions
from orchestration_project.assets.operations.verification import verification

__all__ = ["control_tower", "ledger", "sessions", "verification"]
