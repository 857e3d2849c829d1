"""The assets of operations: what ran and how it stands, what it needs, and presets."""

from orchestration_project.assets.operations.control_tower import control_tower
from orchestration_project.assets.operations.presets import presets_asset
from orchestration_project.assets.operations.runs import ledger
from orchestration_project.assets.operations.sessions import sessions
from orchestration_project.assets.operations.verification import verification

__all__ = ["control_tower", "ledger", "presets_asset", "sessions", "verification"]
