"""Sync of tasks and issues: a full poll, or the records of one webhook."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from orchestration_project.assets.saas.catalogue import (
    AUDIT_LOG,
    DEAD_LETTERS,
    OUTBOX,
    PEOPLEFORCE,
    RULES,
    STATES,
    build_table_spec,
)
from orchestration_project.domains.saas.charts import flow
from orchestration_project.domains.saas.options import (
    MANY_REFUSED_SHARE,
    MANY_UNMATCHED_SHARE,
    MAX_WAIT_MINUTES,
    OP,
    RECONCILING,
    Reconcile,
)
from orchestration_project.domains.saas.settings import SaasSettings
from orchestration_project.domains.saas.tables import saas_audit_log, saas_source_states
from orchestration_project.engine.announcements import normalise_metadata
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.options import (
    build_config,
    build_real_config,
    describe_defaults,
    report_dry_run,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.saas.reconciling import Reconciler
from orchestration_project.resources.saas.runs import (
    SyncResult,
    follow_delivery,
    poll_all,
    record_rejection,
)
from orchestration_project.resources.saas.standing import (
    SyncSummary,
    standing,
)
from orchestration_project.resources.saas.systems import SourceSystem, TargetSystem
from orchestration_project.services.inbox.work import (
    DELIVERY_TAG,
    REJECTED_TAG,
    SOURCE_TAG,
    InboxQueue,
)
from orchestration_project.services.metadata import (
    build_table,
    check_spec,
    embed_image,
    log_metadata,
    mark_not_applicable,
    summarize_result,
)
from orchestration_project.services.presets import Presets, RunPresets
from orchestration_project.settings import load_shared_settings
from orchestration_project.tables.spine import outbox

ROUTED, ASSIGNED = "are_matched_by_rules", "have_known_assignees"
IN_TIME, ACCEPTED = "is_done_in_time", "has_few_dead_letters"


describe_defaults(Reconcile, RECONCILING.default_texts(load_shared_settings()))

RECONCILE_OPTIONS = build_config(Reconcile)

RECONCILE_CONFIG = build_real_config(OP)
"""Run config of a run that is not a dry run."""

OPTION = "`{}`, an option of the job and of its presets, by default {}"
"""Limit of a check in words."""


@dg.multi_asset(
    name=OP,
    specs=[
        build_table_spec(STATES, saas_source_states, RULES, PEOPLEFORCE),
        build_table_spec(OUTBOX, outbox, STATES),
        build_table_spec(AUDIT_LOG, saas_audit_log, OUTBOX),
    ],
    check_specs=[
        check_spec(
            ROUTED,
            asset=STATES,
            description="Rules match the tasks, but for max_unmatched_share of them.",
            remedy="add a routing rule for the tasks that the check lists",
            limit=OPTION.format("max_unmatched_share", MANY_UNMATCHED_SHARE),
            severity=dg.AssetCheckSeverity.WARN,
        ),
        check_spec(
            ASSIGNED,
            asset=STATES,
            description="Each assignee is exactly one user of the target.",
            remedy="map or create the users that the check lists",
            severity=dg.AssetCheckSeverity.WARN,
        ),
        check_spec(
            IN_TIME,
            asset=OUTBOX,
            description="No intention waits for longer than longest_wait_minutes.",
            remedy="check whether the target answers",
            limit=OPTION.format("longest_wait_minutes", MAX_WAIT_MINUTES),
        ),
        check_spec(
            ACCEPTED,
            asset=OUTBOX,
            description="At most max_refused_share of the tasks have a dead letter.",
            remedy="correct the cause and run `saas_replay_dead_letters`",
            limit=OPTION.format("max_refused_share", MANY_REFUSED_SHARE),
        ),
    ],
)
def reconcile(
    context: dg.AssetExecutionContext,
    config: RECONCILE_OPTIONS,  # pyright: ignore[reportInvalidTypeForm] - a class of these options
    artifacts: dg.ResourceParam[ArtifactStore],
    clock: dg.ResourceParam[Clock],
    jira: dg.ResourceParam[TargetSystem],
    peopleforce: dg.ResourceParam[SourceSystem],
    settings: dg.ResourceParam[SaasSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """Look at what changed, plan what follows from it, and do what is due."""
    unchanged = "no issue and no task is written; what is planned waits for the next sync"
    reported = report_dry_run(context.log, unchanged, is_dry_run=config.dry_run)
    of_run = RunPresets(context.instance, context.run.run_id, settings, Presets(warehouse, clock))
    limits = of_run.values(RECONCILING, config)
    reconciler = Reconciler(warehouse, clock, peopleforce, jira, run_id=context.run.run_id)
    tags = context.run.tags
    if SOURCE_TAG in tags:
        content = InboxQueue(warehouse, clock).content(tags[SOURCE_TAG], tags[DELIVERY_TAG])
        delivery = follow_delivery(reconciler, content, is_dry_run=config.dry_run)
        if delivery.rejection:
            run_id, kept_captures = context.run.run_id, Captures(artifacts)
            record_rejection(warehouse, kept_captures, content, delivery.rejection, run_id=run_id)
            context.instance.add_run_tags(run_id, {REJECTED_TAG: run_id})
    else:
        delivery = poll_all(reconciler, warehouse, clock, is_dry_run=config.dry_run)
    sync_summary = standing(warehouse, peopleforce.system, reconciler.pair)
    context.log_event(build_dead_letters_event(sync_summary))
    yield from _yield_results(reported, delivery, sync_summary, is_synthetic=settings.is_demo)
    yield from _evaluate_checks(sync_summary, clock, limits)
    if delivery.problem is not None:
        raise build_failure(delivery.problem)


def build_dead_letters_event(found: SyncSummary) -> dg.AssetMaterialization:
    """Return the dead letters as an event of their asset, with what retries one."""
    return dg.AssetMaterialization(
        DEAD_LETTERS,
        metadata={
            "dead_letters": found.refused_count,
            "refused": build_table(found.refused.drop("payload")),
            "retry_with": "saas_replay_dead_letters: ops: {replay_dead_letters: {config: "
            "{entity_ids: [ID], dry_run: false}}}",
        },
    )


def build_failure(problem: OrchestrationError) -> dg.Failure:
    """Return the failure that ends an incomplete run; the next run continues."""
    return dg.Failure(str(problem), allow_retries=False)


def _yield_results(
    reported: Mapping[str, object], done: SyncResult, found: SyncSummary, *, is_synthetic: bool
) -> Iterator[dg.MaterializeResult[Any]]:
    yield dg.MaterializeResult(
        asset_key=STATES,
        metadata={
            **log_metadata({**reported, **done.counts}),
            "tasks": found.task_count,
            "issues": found.linked_count,
            "by_rule_says": _build_table(found.by_action, "tasks"),
        },
    )
    picture = _draw_flow(found, is_synthetic=is_synthetic)
    yield dg.MaterializeResult(
        asset_key=OUTBOX,
        metadata={
            "flow": embed_image("tasks on their way to issues", picture),
            "intentions": _build_table(found.outcomes, "intentions"),
            "dead_letters": found.refused_count,
            "refused": build_table(found.refused.drop("payload")),
        },
    )
    yield dg.MaterializeResult(asset_key=AUDIT_LOG, metadata={"latest": build_table(found.audit)})


def _draw_flow(found: SyncSummary, *, is_synthetic: bool) -> str:
    steps = [
        ("tasks", found.task_count),
        ("by a rule", found.by_action.get("sync", 0)),
        ("issues", found.linked_count),
    ]
    beside = [("waiting", found.outcomes.get("waiting", 0)), ("refused", found.refused_count)]
    return flow(steps, beside, is_synthetic=is_synthetic)


def _build_table(counts: Mapping[str, int], name: str) -> dg.TableMetadataValue:
    rows = {"state": list(counts), name: list(counts.values())}
    return build_table(pl.DataFrame(rows, {"state": pl.String(), name: pl.Int64()}))


def _evaluate_checks(
    found: SyncSummary, clock: Clock, limits: Mapping[str, Any]
) -> Iterator[dg.AssetCheckResult]:
    outcome = {} if found.has_rules else mark_not_applicable("no routing rule was ever in effect")
    routed = {"unmatched_share": found.unmatched_share, **found.by_action}
    yield dg.AssetCheckResult(
        asset_key=STATES,
        check_name=ROUTED,
        passed=found.unmatched_share <= limits["max_unmatched_share"] or not found.has_rules,
        severity=dg.AssetCheckSeverity.WARN,
        description=summarize_result(outcome),
        metadata=normalise_metadata({**outcome, **routed}),
    )
    yield dg.AssetCheckResult(
        asset_key=STATES,
        check_name=ASSIGNED,
        passed=not found.unresolved,
        severity=dg.AssetCheckSeverity.WARN,
        description=", ".join(found.unresolved)[:500],
        metadata={"unresolved": len(found.unresolved), "tasks": sum(found.unresolved.values())},
    )
    since = found.oldest_waiting_at
    seconds = (clock.now() - since).total_seconds() if since else 0.0
    yield dg.AssetCheckResult(
        asset_key=OUTBOX,
        check_name=IN_TIME,
        passed=seconds <= 60 * limits["longest_wait_minutes"],
        severity=dg.AssetCheckSeverity.ERROR,
        description=found.waiting_reason,
        metadata=normalise_metadata({"oldest_waits_seconds": seconds}),
    )
    refused = {"refused_share": found.refused_share, "refused": found.refused_count}
    yield dg.AssetCheckResult(
        asset_key=OUTBOX,
        check_name=ACCEPTED,
        passed=found.refused_share <= limits["max_refused_share"],
        severity=dg.AssetCheckSeverity.ERROR,
        metadata=normalise_metadata(refused),
    )


reconcile_job = dg.define_asset_job(
    "saas_reconcile",
    selection=dg.AssetSelection.assets(reconcile),
    description=describe_job(
        "Syncs PeopleForce tasks with Jira issues; for a webhook run, only the records in its "
        "payload. A dry run by default.",
        OP,
        Reconcile,
    ),
    tags={"domain": "saas"},
)
