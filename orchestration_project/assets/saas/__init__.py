"""The assets of saas: what tasks are, by which rules, what was done of them, and what was not."""

from orchestration_project.assets.saas.reconcile import RECONCILING, reconcile
from orchestration_project.assets.saas.refused import replay
from orchestration_project.assets.saas.rules import edit_rules, try_rules
from orchestration_project.assets.saas.sweeping import sweep
from orchestration_project.assets.saas.ticks import SET_TICK_JOB, set_tick

__all__ = [
    "RECONCILING",
    "SET_TICK_JOB",
    "edit_rules",
    "reconcile",
    "replay",
    "set_tick",
    "sweep",
    "try_rules",
]
