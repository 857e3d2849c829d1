"""Whether the things that work depends on are ready, and the gate that refuses work if not."""

from orchestration_project.services.gate.gate import Gate, Register, Run, examine

__all__ = ["Gate", "Register", "Run", "examine"]
