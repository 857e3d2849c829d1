"""The assets of saas: what tasks are, by which rules, what was done of them, and what was not."""

from orchestration_project.assets.saas.catalogue import jira, peopleforce
from orchestration_project.assets.saas.reconcile import (
    RECONCILE_CONFIG,
    RECONCILING,
    reconcile,
    reconcile_job,
)
from orchestration_project.assets.saas.refused import replay, replay_dead_letters_job
from orchestration_project.assets.saas.rules import (
    dry_run_job,
    edit_rules,
    edit_rules_job,
    try_rules,
)
from orchestration_project.assets.saas.sweeping import sweep, sweep_job
from orchestration_project.assets.saas.ticks import SET_TICK_JOB, set_tick_job

__all__ = [
    "RECONCILE_CONFIG",
    "RECONCILING",
    "SET_TICK_JOB",
    "dry_run_job",
    "edit_rules",
    "edit_rules_job",
    "jira",
    "peopleforce",
    "reconcile",
    "reconcile_job",
    "replay",
    "replay_dead_letters_job",
    "set_tick_job",
    "sweep",
    "sweep_job",
    "try_rules",
]
