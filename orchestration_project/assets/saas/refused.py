"""Dead letters: list and retry."""

from typing import Any

import dagster as dg
from pydantic import Field

from orchestration_project.assets.saas.catalogue import DEAD_LETTERS, OUTBOX, table_spec
from orchestration_project.assets.saas.reconcile import failure_of
from orchestration_project.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.saas.reconciling import Reconciler
from orchestration_project.resources.saas.standing import standing
from orchestration_project.resources.saas.systems import SourceSystem, TargetSystem
from orchestration_project.services.metadata import as_metadata, table_of
from orchestration_project.tables.saas import saas_dead_letters


class ReplayDeadLetters(dg.Config):
    """Dead letters to retry."""

    entity_ids: list[str] = Field(
        default=[], description="Task IDs; without any, all dead letters."
    )


@dg.multi_asset(
    name="replay_dead_letters", specs=[table_spec(DEAD_LETTERS, saas_dead_letters, OUTBOX)]
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
    chosen = [reconciler.entity(each) for each in config.entity_ids] or None
    unknown = sorted({each.entity_id for each in set(chosen or ()) - reconciler.refused()})
    planned = reconciler.retry_refused(chosen)
    applied = reconciler.apply(planned.entities)
    if applied.problem is not None:
        raise failure_of(applied.problem)
    found = standing(warehouse, peopleforce.system, reconciler.pair)
    return dg.MaterializeResult(
        asset_key=DEAD_LETTERS,
        metadata={
            **as_metadata(
                {
                    **planned.actions,
                    **applied.outcomes,
                    "still_refused": found.refused_count,
                    "without_a_dead_letter": ", ".join(unknown),
                }
            ),
            "refused": table_of(found.refused.drop("payload")),
        },
    )


replay_dead_letters_job = dg.define_asset_job(
    "saas_replay_dead_letters",
    selection=dg.AssetSelection.assets(replay),
    description="Retries dead letters by the rules in effect now.",
    tags={"domain": "saas"},
)
