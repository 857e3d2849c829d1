"""Kinds of work of the jobs of operations, and the former jobs that did each."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from orchestration_project.engine.contracts.former_names import FORMER_NAMES, FORMER_REPLAYS
from orchestration_project.errors import ConfigurationError


class JobKind(NamedTuple):
    """A kind of work of a job: ``{"ops": {op: {"config": {name: options}}}}``."""

    job: str
    op: str
    name: str

    def run_config(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the run config that selects this kind."""
        return {"ops": {self.op: {"config": {self.name: dict(options)}}}}

    def describe(self, options: str = "...") -> str:
        """Return the job and the run config that selects this kind, for people."""
        return f"{self.job}: ops: {{{self.op}: {{config: {{{self.name}: {{{options}}}}}}}}}"


CLEAN_UP = ("operations_clean_up", "clean_up")
EDIT = ("operations_definitions_edit", "edit_definitions")
EXPORT = ("operations_export", "export")
HANDLE_RUNS = ("operations_runs", "handle_runs")
CHECKS_JOB = "operations_checks"

LIST_ARTIFACTS = JobKind(*CLEAN_UP, "list_artifacts")
REPAIR_ARTIFACTS = JobKind(*CLEAN_UP, "repair_artifacts")
DELETE_ARTIFACTS = JobKind(*CLEAN_UP, "delete_artifacts")
PRUNE_RUN_LOGS = JobKind(*CLEAN_UP, "prune_run_logs")
APPLY_PRESET = JobKind(*EDIT, "apply_preset")
EDIT_FLAG = JobKind(*EDIT, "edit_flag")
EDIT_PAUSE = JobKind(*EDIT, "edit_pause")
EDIT_SCHEDULE = JobKind(*EDIT, "edit_schedule")
SWITCH_AUTOMATION = JobKind(*EDIT, "switch_automation")
EXPORT_TABLES = JobKind(*EXPORT, "export_tables")
EXPORT_GOLD = JobKind(*EXPORT, "export_gold_as_of")
EXPORT_EVIDENCE = JobKind(*EXPORT, "export_evidence")
LIST_SESSIONS = JobKind(*HANDLE_RUNS, "list_sessions")
RETRY_FAILURES = JobKind(*HANDLE_RUNS, "retry_failures")
REPLAY_WEBHOOK = JobKind(*HANDLE_RUNS, "replay_webhook")

KINDS = (
    *(LIST_ARTIFACTS, REPAIR_ARTIFACTS, DELETE_ARTIFACTS, PRUNE_RUN_LOGS),
    *(APPLY_PRESET, EDIT_FLAG, EDIT_PAUSE, EDIT_SCHEDULE, SWITCH_AUTOMATION),
    *(EXPORT_TABLES, EXPORT_GOLD, EXPORT_EVIDENCE),
    *(LIST_SESSIONS, RETRY_FAILURES, REPLAY_WEBHOOK),
)
"""All kinds."""

FORMER_JOBS = {
    "operations_apply_preset": (APPLY_PRESET, "apply_preset"),
    "operations_artifacts": (LIST_ARTIFACTS, "list_artifacts"),
    "operations_cleanup": (DELETE_ARTIFACTS, "clean_up_artifacts"),
    "operations_edit_flags": (EDIT_FLAG, "edit_flag"),
    "operations_edit_schedules": (EDIT_SCHEDULE, "edit_schedule"),
    "operations_export": (EXPORT_TABLES, "export_tables"),
    "operations_export_evidence": (EXPORT_EVIDENCE, "export_evidence"),
    "operations_export_gold": (EXPORT_GOLD, "export_gold_as_of"),
    "operations_prune": (PRUNE_RUN_LOGS, "prune_run_logs"),
    "operations_repair_artifacts": (REPAIR_ARTIFACTS, "repair_artifacts"),
    "operations_replay_webhook": (REPLAY_WEBHOOK, "replay_webhook"),
    "operations_retry_failures": (RETRY_FAILURES, "retry_failures"),
    "operations_sessions": (LIST_SESSIONS, "list_operations_sessions"),
    "operations_switch_automation": (SWITCH_AUTOMATION, "switch_automation"),
}
"""By former name: the kind that does its work now, and the op that it had."""

PRESENT_REPLAYS = ("documents_replay", "finra_replay", "prices_replay")
"""Former jobs of partitions whose names present jobs have."""


def require_kind(job: str, config: Mapping[str, Any]) -> None:
    """Make sure that a run config selects a kind of a job; other jobs have none.

    Raises:
        ConfigurationError: It selects none, or several; with the names of all.
    """
    # Not at the top: it brings pydantic, and small commands read the names above alone.
    from orchestration_project.engine.contracts.job_options import find_mapping

    kinds = [kind for kind in KINDS if kind.job == job]
    if kinds and len(find_mapping(config, "ops", kinds[0].op, "config")) != 1:
        raise ConfigurationError(
            f"invalid config of {kinds[0].op}: it selects no kind of {job}",
            expected=f"one of {', '.join(kind.name for kind in kinds)}",
            remedy=f"launch it with {kinds[0].describe()}",
        )


def find_present_job(name: str) -> str:
    """Return the present name of a job, schedule or sensor, also of a former one."""
    if name in FORMER_JOBS:
        return FORMER_JOBS[name][0].job
    load, _ = FORMER_REPLAYS.get(name, (name, ""))
    return FORMER_NAMES.get(name, name if name in PRESENT_REPLAYS else load)


def upgrade_launch(
    job: str, config: Mapping[str, Any], *, is_partitioned: bool = False
) -> tuple[str, Mapping[str, Any]]:
    """Return the job and the run config that do the work of what a former job was launched with.

    What is launched by a present name and config is returned as it is.

    Args:
        job: Name of the job.
        config: Run config.
        is_partitioned: Whether the runs have partitions; present replay jobs have none.
    """
    if job in FORMER_REPLAYS and (is_partitioned or job not in PRESENT_REPLAYS):
        load, op = FORMER_REPLAYS[job]
        ops = config.get("ops", {})
        options = {**ops.get(op, {}).get("config", {}), "replay": True}
        return load, {**config, "ops": {**ops, op: {**ops.get(op, {}), "config": options}}}
    if job not in FORMER_JOBS:
        return FORMER_NAMES.get(job, job), config
    kind, former_op = FORMER_JOBS[job]
    ops = config.get("ops", {})
    if kind.op in ops:
        return job, config
    options = ops.get(former_op, {}).get("config", {})
    return kind.job, {**config, **kind.run_config(options)}


def describe_former_job(name: str) -> str:
    """Return the present job of a former name, for error messages; "" of another name."""
    if name not in FORMER_JOBS:
        present = find_present_job(name)
        return f"{name} is now part of {present}" if present != name else ""
    kind, _ = FORMER_JOBS[name]
    return f"{name} is now a kind of another job, {kind.describe()}"


def replay_job_name(domain: str) -> str:
    """Return the name of the job that replays tables of a domain."""
    return f"{domain}_replay"


def replay_op(domain: str) -> str:
    """Return the op of the job that replays tables of a domain."""
    return f"replay_{domain}"
