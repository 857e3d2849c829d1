"""Full comparison of issues with tasks, and validation of the rules against the target."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.saas.catalogue import DRIFT, RULES, STATES, report_spec
from orchestration_project.assets.saas.reconcile import build_failure
from orchestration_project.domains.saas.ticks import Tick, is_fresh
from orchestration_project.engine.announcements import normalise_metadata
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.options import JobOptions, report_dry_run
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.saas.applying import ApplyResult
from orchestration_project.resources.saas.reconciling import UNREADABLE, Reconciler, SyncDrift
from orchestration_project.resources.saas.rules import revalidate
from orchestration_project.resources.saas.systems import SourceSystem, TargetSystem
from orchestration_project.resources.saas.ticks import Ticks
from orchestration_project.resources.saas.validating import RuleFindings
from orchestration_project.services.metadata import build_table, check_spec, log_metadata

MAX_ROWS_LISTED = 200
DRIFT_FIXED_CHECK, USABLE_RULES_CHECK, FRESH_POLL_CHECK = (
    "is_mended",
    "goes_by_usable_rules",
    "goes_by_a_fresh_look",
)
COLUMNS = {
    "entity_id": "The source's id of the task",
    "target_key": "Key of its issue",
    "what": "missing: the issue does not exist; to_source, to_target: the side to update; "
    "unreadable: it exists, and a person has to correct it",
}


class Sweep(JobOptions):
    """Whether differences are repaired."""

    dry_run: bool = Field(
        default=True,
        description="Dry run: compare, and plan the repairs, but write no issue and no task; "
        "false repairs.",
    )


@dg.multi_asset(
    name="sweep_saas",
    specs=[
        report_spec(DRIFT, "One row per issue that its task differs from.", COLUMNS, STATES, RULES)
    ],
    check_specs=[
        check_spec(
            DRIFT_FIXED_CHECK,
            asset=DRIFT,
            description="Every difference was repaired in the same run.",
            remedy="read the dead letters; correct rules or permissions",
            severity=dg.AssetCheckSeverity.WARN,
        ),
        check_spec(
            USABLE_RULES_CHECK,
            asset=DRIFT,
            description="The target accepts every rule in effect.",
            remedy="correct the rules that the check lists",
        ),
        check_spec(
            FRESH_POLL_CHECK,
            asset=DRIFT,
            description="The latest successful poll of all tasks is at most an hour, or three "
            "intervals, old, or polling is paused.",
            remedy="check whether the sync is paused, or why its runs fail",
            severity=dg.AssetCheckSeverity.WARN,
        ),
    ],
)
def sweep(
    context: dg.AssetExecutionContext,
    config: Sweep,
    clock: dg.ResourceParam[Clock],
    jira: dg.ResourceParam[TargetSystem],
    peopleforce: dg.ResourceParam[SourceSystem],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Hold the rules against the target, look at all issues, and mend what differs."""
    unchanged = "no issue and no task is written; what is planned waits for the next sync"
    reported = report_dry_run(context.log, unchanged, is_dry_run=config.dry_run)
    reconciler = Reconciler(warehouse, clock, peopleforce, jira, run_id=context.run.run_id)
    examined = revalidate(warehouse, jira, at=clock.now(), run_id=context.run.run_id)
    drifts = reconciler.sweep()
    applied = ApplyResult() if config.dry_run else reconciler.apply()
    yield _build_result(reported, drifts, applied, examined, reconciler.unreadable_issues)
    yield _check_drift(drifts, applied, is_dry_run=config.dry_run)
    yield _check_rules(examined)
    yield _check_poll(Ticks(warehouse, reconciler.pair).tick(), clock.now())
    if applied.problem is not None:
        raise build_failure(applied.problem)


def _build_result(
    reported: Mapping[str, object],
    drifts: Sequence[SyncDrift],
    applied: ApplyResult,
    examined: RuleFindings,
    unreadable: Mapping[str, str],
) -> dg.MaterializeResult[Any]:
    rows = [
        [drift.entity.entity_id, drift.target_key, drift.what] for drift in drifts[:MAX_ROWS_LISTED]
    ]
    schema = dict.fromkeys(COLUMNS, pl.String())
    reasons = {"target_key": pl.String(), "reason": pl.String()}
    shown_pairs = sorted(unreadable.items())[:MAX_ROWS_LISTED]
    return dg.MaterializeResult(
        asset_key=DRIFT,
        metadata={
            **log_metadata({**reported, "differed": len(drifts), **applied.outcomes}),
            "rules_not_examined": len(examined.unknown),
            "unreadable": len(unreadable),
            "unreadable_issues": build_table(pl.DataFrame(shown_pairs, reasons, orient="row")),
            "drift": build_table(pl.DataFrame(rows, schema, orient="row")),
        },
    )


def _check_drift(
    drifts: Sequence[SyncDrift], applied: ApplyResult, *, is_dry_run: bool
) -> dg.AssetCheckResult:
    left = applied.outcomes.get("waiting", 0) + applied.outcomes.get("dead", 0)
    left += sum(is_dry_run or drift.what == UNREADABLE for drift in drifts)
    return dg.AssetCheckResult(
        asset_key=DRIFT,
        check_name=DRIFT_FIXED_CHECK,
        passed=not left,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"differed": len(drifts), "left": left},
    )


def _check_rules(examined: RuleFindings) -> dg.AssetCheckResult:
    refused = {name: problems for name, problems in examined.proven.items() if problems}
    return dg.AssetCheckResult(
        asset_key=DRIFT,
        check_name=USABLE_RULES_CHECK,
        passed=not refused,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(f"{name}: {', '.join(group)}" for name, group in refused.items())[
            :500
        ],
        metadata={"disabled": len(refused)},
    )


def _check_poll(tick: Tick, now: datetime) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=DRIFT,
        check_name=FRESH_POLL_CHECK,
        passed=is_fresh(tick, now),
        severity=dg.AssetCheckSeverity.WARN,
        metadata=normalise_metadata(
            {"synced_at": tick.synced_at or "never", "is_paused": tick.is_paused}
        ),
    )


sweep_job = dg.define_asset_job(
    "saas_sweep",
    selection=dg.AssetSelection.assets(sweep),
    description=describe_job(
        "Compares all issues with their tasks, and validates the rules against the target; a dry "
        "run by default.",
        "sweep_saas",
        Sweep,
    ),
    tags={"domain": "saas"},
)
