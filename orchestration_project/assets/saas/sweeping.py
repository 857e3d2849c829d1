"""What no webhook told: all issues looked at, and the rules held against the target."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from orchestration_project.assets.saas.catalogue import DRIFT, RULES, STATES, report_spec
from orchestration_project.assets.saas.reconcile import failure_of
from orchestration_project.domains.saas.ticks import is_fresh
from orchestration_project.resources.clock import Clock
from orchestration_project.resources.saas.reconciling import UNREADABLE, Reconciler
from orchestration_project.resources.saas.rules import revalidate
from orchestration_project.resources.saas.systems import SourceSystem, TargetSystem
from orchestration_project.resources.saas.ticks import Ticks
from orchestration_project.resources.shown import table_of, told
from orchestration_project.resources.warehouse import Warehouse

SHOWN = 200
MENDED, USABLE, FRESH = "is_mended", "goes_by_usable_rules", "goes_by_a_fresh_look"
COLUMNS = {
    "entity_id": "The source's id of the task",
    "target_key": "Key of its issue",
    "what": "missing: there is no such issue; to_source, to_target: who has to follow; "
    "unreadable: it is there, and people have to correct it",
}


@dg.multi_asset(
    name="sweep_saas",
    specs=[
        report_spec(DRIFT, "One row per issue that its task differs from.", COLUMNS, STATES, RULES)
    ],
    check_specs=[
        dg.AssetCheckSpec(
            MENDED, asset=DRIFT, description="What differed was mended in the same run."
        ),
        dg.AssetCheckSpec(
            USABLE, asset=DRIFT, description="The target refuses no rule that is in effect."
        ),
        dg.AssetCheckSpec(
            FRESH,
            asset=DRIFT,
            description="The latest look at all tasks that ended well is no older than an hour, or "
            "three intervals; it may be paused.",
        ),
    ],
)
def sweep(
    context: dg.AssetExecutionContext,
    clock: dg.ResourceParam[Clock],
    jira: dg.ResourceParam[TargetSystem],
    peopleforce: dg.ResourceParam[SourceSystem],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Hold the rules against the target, look at all issues, and mend what differs."""
    reconciler = Reconciler(warehouse, clock, peopleforce, jira, run_id=context.run.run_id)
    examined = revalidate(warehouse, jira, at=clock.now(), run_id=context.run.run_id)
    drifts = reconciler.sweep()
    applied = reconciler.apply()
    rows = [[each.entity.entity_id, each.target_key, each.what] for each in drifts[:SHOWN]]
    schema = dict.fromkeys(COLUMNS, pl.String())
    unreadable = sorted(reconciler.unreadable_issues.items())
    reasons = {"target_key": pl.String(), "reason": pl.String()}
    yield dg.MaterializeResult(
        asset_key=DRIFT,
        metadata={
            **told({"differed": len(drifts), **applied.outcomes}),
            "rules_not_examined": len(examined.unknown),
            "unreadable": len(unreadable),
            "unreadable_issues": table_of(pl.DataFrame(unreadable[:SHOWN], reasons, orient="row")),
            "drift": table_of(pl.DataFrame(rows, schema, orient="row")),
        },
    )
    left = applied.outcomes.get("waiting", 0) + applied.outcomes.get("dead", 0)
    left += sum(each.what == UNREADABLE for each in drifts)
    yield dg.AssetCheckResult(
        asset_key=DRIFT,
        check_name=MENDED,
        passed=not left,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"differed": len(drifts), "left": left},
    )
    refused = {name: problems for name, problems in examined.proven.items() if problems}
    yield dg.AssetCheckResult(
        asset_key=DRIFT,
        check_name=USABLE,
        passed=not refused,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(f"{name}: {', '.join(each)}" for name, each in refused.items())[:500],
        metadata={"disabled": len(refused)},
    )
    tick = Ticks(warehouse, reconciler.pair).tick()
    yield dg.AssetCheckResult(
        asset_key=DRIFT,
        check_name=FRESH,
        passed=is_fresh(tick, clock.now()),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"synced_at": str(tick.synced_at or "never"), "is_paused": tick.is_paused},
    )
    if applied.problem is not None:
        raise failure_of(applied.problem)
