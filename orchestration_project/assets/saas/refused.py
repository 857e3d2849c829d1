"""Dead letters: list and retry."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from pydantic import Field

from orchestration_project.assets.saas.catalogue import DEAD_LETTERS, OUTBOX, build_table_spec
from orchestration_project.assets.saas.reconcile import build_failure
from orchestration_project.domains.saas.tables import saas_dead_letters
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.options import JobOptions, report_dry_run
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.saas.reconciling import Reconciler
from orchestration_project.resources.saas.standing import SyncSummary, standing
from orchestration_project.resources.saas.systems import SourceSystem, TargetSystem
from orchestration_project.services.metadata import build_table, log_metadata


class ReplayDeadLetters(JobOptions):
    """Dead letters to retry."""

    entity_ids: list[str] = Field(
        default=[], examples=[["42"]], description="Task IDs; without any, all dead letters."
    )
    dry_run: bool = Field(
        default=True, description="Dry run: only list the dead letters; false retries them."
    )


@dg.multi_asset(
    name="replay_dead_letters", specs=[build_table_spec(DEAD_LETTERS, saas_dead_letters, OUTBOX)]
)
def replay(
    context: dg.AssetExecutionContext,
    config: ReplayDeadLetters,
    clock: dg.ResourceParam[Clock],
    jira: dg.ResourceParam[TargetSystem],
    peopleforce: dg.ResourceParam[SourceSystem],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[Any]:
    """Plan rejected tasks again, by the rules in effect now, and apply the plan."""
    reconciler = Reconciler(warehouse, clock, peopleforce, jira, run_id=context.run.run_id)
    chosen = [reconciler.entity(identifier) for identifier in config.entity_ids] or None
    unknown = sorted({entity.entity_id for entity in set(chosen or ()) - reconciler.refused()})
    reported = report_dry_run(context.log, "nothing is retried", is_dry_run=config.dry_run)
    if config.dry_run:
        return _build_result(
            reported, standing(warehouse, peopleforce.system, reconciler.pair), unknown
        )
    planned = reconciler.retry_refused(chosen)
    applied = reconciler.apply(planned.entities)
    if applied.problem is not None:
        raise build_failure(applied.problem)
    sync_summary = standing(warehouse, peopleforce.system, reconciler.pair)
    return _build_result({**reported, **planned.actions, **applied.outcomes}, sync_summary, unknown)


def _build_result(
    first: Mapping[str, object], found: SyncSummary, unknown: Sequence[str]
) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(
        asset_key=DEAD_LETTERS,
        metadata={
            **log_metadata(
                {
                    **first,
                    "still_refused": found.refused_count,
                    "without_a_dead_letter": ", ".join(unknown),
                }
            ),
            "refused": build_table(found.refused.drop("payload")),
        },
    )


replay_dead_letters_job = dg.define_asset_job(
    "saas_replay_dead_letters",
    selection=dg.AssetSelection.assets(replay),
    description=describe_job(
        "Retries dead letters by the rules in effect now; a dry run by default.",
        "replay_dead_letters",
        ReplayDeadLetters,
    ),
    tags={"domain": "saas"},
)
