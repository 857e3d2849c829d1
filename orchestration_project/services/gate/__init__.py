"""Whether the things that work depends on are ready, and the gate that refuses work if not."""

from orchestration_project.services.gate.gate import (
    Gate,
    GatedRun,
    Register,
    examine,
    examine_all,
)

__all__ = ["Gate", "GatedRun", "Register", "examine", "examine_all"]
