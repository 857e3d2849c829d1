"""Ledger rows of a run and its steps, from plain facts of Dagster and of our tables."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from orchestration_project.engine.contracts.failures import classify_step, run_category
from orchestration_project.engine.contracts.partitioning import LoadOutcome, load_outcome
from orchestration_project.engine.tracing.traceparent import HIDDEN_PREFIX, read_tag
from orchestration_project.errors import cut

Row = dict[str, Any]

FINAL_STATUSES = ("SUCCESS", "FAILURE", "CANCELED")
"""Statuses that a run of Dagster does not leave any more."""

MAX_ERROR_LENGTH = 4000
"""Characters of an error that the ledger keeps."""

DAGSTER_JOB_PREFIX = "__"
"""How Dagster's own names of jobs begin, which say nothing of a domain."""

PASSWORD_OF_A_URL = re.compile(r"(?<=://)[^/\s@]+:[^/\s@]+(?=@)")


NOT_APPLICABLE = "not applicable"
"""How the outcome of a check begins that had nothing to judge; Dagster itself shows it passed."""


@dataclass(frozen=True)
class Check:
    """Result of an asset check in a step; ``numbers`` are those of its metadata.

    ``passed`` is None where it was not applicable.
    """

    name: str
    passed: bool | None
    severity: str
    numbers: Mapping[str, int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class StepFacts:
    """Facts of Dagster about a step.

    Attributes:
        refusals: Categories of the partitions that it quarantined.
        error_classes: Names of what it raised and of what caused that.
    """

    step_key: str
    status: str
    assets: Sequence[str] = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int = 0
    checks: Sequence[Check] = ()
    refusals: Sequence[str] = ()
    error_classes: Sequence[str] = ()
    error: str | None = None


@dataclass(frozen=True)
class RunFacts:
    """Facts of Dagster about a run; ``error`` is that of the run itself or of its steps.

    ``unpublished`` are the partitions that their source has not published yet.
    """

    run_id: str
    job: str
    status: str
    created_at: datetime
    changed_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    parent_run_id: str | None = None
    root_run_id: str | None = None
    assets: Sequence[str] = ()
    steps: Sequence[StepFacts] = ()
    error_classes: Sequence[str] = ()
    error: str | None = None
    unpublished: Sequence[str] = ()

    @property
    def outcome(self) -> LoadOutcome | None:
        """Its outcome as a load; None: it has not ended, or it loads no asset."""
        if self.status not in FINAL_STATUSES or not self.assets:
            return None
        return load_outcome(has_failed=self.status != "SUCCESS", unpublished=self.unpublished)


@dataclass(frozen=True)
class Volume:
    """Totals of a run's deliveries to one table: fetched, loaded and rejected."""

    rows_in: int = 0
    rows_landed: int = 0
    rows_rejected: int = 0
    byte_count: int = 0


@dataclass(frozen=True)
class LedgerEntry:
    """A row of ``operations_runs`` and those of ``operations_steps``, all but when recorded.

    ``outcome`` is that of a load, as far as Dagster's event log still has it; it is not stored.
    """

    run: Row
    steps: Sequence[Row]
    outcome: LoadOutcome | None = None


class HourSum(NamedTuple):
    """Runs of one status that last changed in one hour, and the sum of their times in it."""

    run_count: int
    time_sum: int


def iterate_differences(
    dagster: Mapping[tuple[str, str], HourSum], ledger: Mapping[tuple[str, str], HourSum]
) -> Iterator[tuple[str, str, str]]:
    """Yield status, first and last hour of each sequence of Dagster's hours whose sums differ.

    Hours that only the ledger has are left out: of runs that Dagster has deleted, its rows stay.
    """
    for (status, differs), keys in groupby(
        sorted(dagster), lambda key: (key[0], ledger.get(key) != dagster[key])
    ):
        hours = [hour for _, hour in keys]
        if differs:
            yield status, hours[0], hours[-1]


def build_entry(
    run: RunFacts, volumes: Mapping[str, Volume], secret_words: Sequence[str]
) -> LedgerEntry:
    """Return the ledger's entry of a run.

    Args:
        run: Facts from Dagster.
        volumes: Volumes from our tables, by the table that each was for.
        secret_words: What the names of secrets hold; such values are left out of ``params``.
    """
    steps = [_build_step_row(run, step, volumes) for step in run.steps]
    kind, name = trigger_of(run.tags)
    row = {
        "run_id": run.run_id,
        "session": find_session(run),
        "job": run.job,
        "domain": _find_domain(run),
        "partition_key": find_partition(run.tags),
        "params": _dump_json(_redact_secrets(run.config, secret_words)),
        "status": run.status,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "duration_seconds": _count_seconds(run.started_at, run.ended_at),
        **_sum(volumes.values()),
        "trigger_kind": kind,
        "trigger_name": name,
        "user_name": run.tags.get("user"),
        **_describe_failure(
            run, [entry["error_category"] for entry in steps if entry["error_category"]]
        ),
        "config_hash": read_tag(run.tags, CONFIG_TAG),
        "retry_of": run.parent_run_id,
        "changed_at": run.changed_at,
        "preset": run.tags.get("preset"),
        "trace_id": run.tags.get("trace_id"),
    }
    return LedgerEntry(row, steps, run.outcome)


def _build_step_row(run: RunFacts, step: StepFacts, volumes: Mapping[str, Volume]) -> Row:
    """Return a step's row; one that was under way when its run ended otherwise is canceled."""
    from orchestration_project.tables.catalogue import table_of

    ended_at = step.ended_at or run.ended_at
    tables = [table_of(asset) for asset in step.assets]
    is_left = step.status == "IN_PROGRESS" and run.status in FINAL_STATUSES
    has_failed = step.status == "FAILURE"
    return {
        "run_id": run.run_id,
        "step_key": step.step_key,
        "job": run.job,
        "domain": _find_asset_domain(step.assets) or _find_domain(run),
        "asset": min(step.assets, default=None),
        "assets": _dump_json(sorted(step.assets)),
        "status": "CANCELED" if is_left else step.status,
        "started_at": step.started_at,
        "ended_at": ended_at,
        "duration_seconds": _count_seconds(step.started_at, ended_at),
        "attempt_count": step.attempts,
        **_sum(volumes[name] for name in tables if name in volumes),
        "quality_passed": _has_passed(step.checks),
        "quality_metrics": _dump_json({check.name: _build_metrics(check) for check in step.checks}),
        "error_category": classify_step(step.error_classes, step.refusals) if has_failed else None,
        "error_message": _redact_error(step.error) if has_failed else None,
    }


CONFIG_TAG = f"{HIDDEN_PREFIX}config_hash"
"""Run tag: the hash of the settings and presets that change results, as the run found them."""

LAUNCHED_BY = "launched_by"
"""Run tag: cli, ui, api, webhook, schedule, sensor or backfill."""

BY_CLI = "cli"
"""Trigger of a run that its own process executes."""


TRIGGER_TAGS = {
    "dagster/schedule_name": "schedule",
    "dagster/sensor_name": "sensor",
    "requested_by": "schedule",
    "dagster/backfill": "backfill",
}
"""Kind of trigger that a tag names, the first that a run has; `requested_by` is of a backfill."""


def trigger_of(tags: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the kind and the name of the trigger that started a run."""
    for tag, kind in TRIGGER_TAGS.items():
        if tag in tags:
            return kind, tags[tag]
    return "person", None


def _add_hidden(names: Set[str]) -> frozenset[str]:
    """Return names of tags with the hidden ones of the same tags."""
    return frozenset({*names, *(HIDDEN_PREFIX + name for name in names if "/" not in name)})


def find_editor(tags: Mapping[str, str], stated: str | None) -> str:
    """Return the name of the person who edits by a run; empty: unknown.

    It is the user who logged in. The user of a run that its own process executes is only the
    account of the process, so a name that the run config states comes first there.
    """
    user = tags.get("user")
    names = (stated, user) if tags.get(LAUNCHED_BY) == BY_CLI else (user, stated)
    return next((name.strip() for name in names if name and name.strip()), "")


ORIGIN_TAGS = _add_hidden(
    {
        *("dagster/schedule_name", "dagster/sensor_name", "dagster/tick", "dagster/run_key"),
        *("dagster/from_automation_condition", "dagster/auto_materialize", "dagster/auto_observe"),
        *("schedule", "schedule_due_at", "requested_by", "launched_by", "launched_by_job", "user"),
        *("idempotency_key", "idempotency_body", "traceparent_rejected"),
        *("routing_key", "routing_rule", "webhook", "webhook_rejected_by"),
        *("dagster/auto_retry_run_id", "dagster/did_retry", "dagster/will_retry"),
        *("orchestration_project/machine", "orchestration_project/release", "machine", "release"),
        *(".dagster/grpc_info", ".dagster/scheduled_execution_time"),
    }
)
"""Tags of one launch: who or what launched the run, and what became of it."""

DESCRIBING_TAGS = _add_hidden(
    {
        *(
            "domain",
            "session",
            "preset",
            "config_hash",
            "forced_past",
            "plan",
            "traceparent",
            "trace_id",
        ),
        *("requested_range", "loaded_range", "plugin"),
        *("dagster/backfill", "dagster/retry_number"),
    }
)
"""Tags that describe a run, which a re-execution takes over from the run that it repeats."""

RESERVED_TAGS = ORIGIN_TAGS | DESCRIBING_TAGS
"""Tags that no caller may set, by REST or GraphQL."""


def reset_reserved_tags(
    tags: Mapping[str, str], job_tags: Mapping[str, str], parent_tags: Mapping[str, str]
) -> dict[str, str]:
    """Return the tags of a launch with the reserved ones of its job and its parent run alone.

    Args:
        tags: Tags of the launch, as a caller gave them.
        job_tags: Tags of the job's definition.
        parent_tags: Tags of the run that is executed again; a describing tag stays if it is equal.
    """
    reserved = {
        name: value
        for name, value in tags.items()
        if name in DESCRIBING_TAGS and parent_tags.get(name) == value
    }
    reserved |= {name: value for name, value in job_tags.items() if name in RESERVED_TAGS}
    return {name: value for name, value in tags.items() if name not in RESERVED_TAGS} | reserved


SESSION_TAGS = ("session", "dagster/backfill")
"""Tags that name the session of a run; the first one counts."""


def find_session(run: RunFacts) -> str:
    """Return the session of a run: tag `session`, backfill, tick, or its own first try."""
    tags = run.tags
    if named := [tags[tag] for tag in SESSION_TAGS if tags.get(tag)]:
        return named[0]
    _, name = trigger_of(tags)
    if name and tags.get("dagster/tick"):
        return f"{name}#{tags['dagster/tick']}"
    return run.root_run_id or run.run_id


def find_partition(tags: Mapping[str, str]) -> str | None:
    """Return the partition of a run, or ``first...last`` of its range."""
    first, last = (tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end"))
    if first and last and first != last:
        return f"{first}...{last}"
    return tags.get("dagster/partition") or first


def _find_domain(run: RunFacts) -> str:
    named = "other" if run.job.startswith(DAGSTER_JOB_PREFIX) else run.job.split("_")[0]
    return run.tags.get("domain") or _find_asset_domain(run.assets) or named


def _find_asset_domain(assets: Sequence[str]) -> str | None:
    return min(assets).split("/")[0] if assets else None


def _describe_failure(run: RunFacts, steps: Sequence[str]) -> Row:
    if run.status == "CANCELED":
        return {"error_category": "canceled", "error_message": None}
    if run.status != "FAILURE":
        return {"error_category": None, "error_message": None}
    category = run_category(steps, run.error_classes)
    return {"error_category": category, "error_message": _redact_error(run.error)}


def _has_passed(checks: Sequence[Check]) -> bool | None:
    judged = [check for check in checks if check.passed is not None]
    if not judged:
        return None
    return all(check.passed for check in judged if check.severity == "error")


def _build_metrics(check: Check) -> Row:
    return {"passed": check.passed, "severity": check.severity, **check.numbers}


def _sum(volumes: Iterable[Volume]) -> Row:
    each = list(volumes)
    return {
        name: sum(getattr(volume, name) for volume in each) for name in Volume.__dataclass_fields__
    }


def _count_seconds(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None


def _redact_secrets(value: Any, words: Sequence[str]) -> Any:
    if isinstance(value, Mapping):
        return {
            str(name): "***"
            if any(word in str(name).lower() for word in words)
            else _redact_secrets(item, words)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_redact_secrets(item, words) for item in value]
    return PASSWORD_OF_A_URL.sub("***", value) if isinstance(value, str) else value


def _redact_error(error: str | None) -> str | None:
    return cut(PASSWORD_OF_A_URL.sub("***", error), MAX_ERROR_LENGTH) if error else None


def _dump_json(value: object) -> str:
    return json.dumps(value, sort_keys=True)
