"""Derives the similarity of documents from their pages, apart from the load."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import dagster as dg

from orchestration_project.assets.documents.catalogue import (
    CHUNKS,
    DAYS,
    DERIVE_OP,
    GROUP,
    PAIRS_CHECK,
    SIMILARITY,
    SIMILARITY_SOURCES,
    build_table_spec,
)
from orchestration_project.domains.documents.tables import documents_similarity
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import OrchestrationError
from orchestration_project.resources.documents.derivation import DocumentDerivation
from orchestration_project.resources.documents.similarity import orphan_pair_count
from orchestration_project.resources.documents.waiting import LISTED_SIMILARITY
from orchestration_project.services.metadata import check_spec, summarize_result


@dg.multi_asset(
    name=DERIVE_OP,
    specs=[
        build_table_spec(SIMILARITY, documents_similarity, "gold", CHUNKS, SIMILARITY_SOURCES),
    ],
    check_specs=[
        check_spec(
            PAIRS_CHECK,
            asset=SIMILARITY,
            description="Both documents of each pair exist.",
            limit="0 pairs",
            remedy="materialize documents/similarity again; report it as a fault if it stays",
        )
    ],
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def derive_documents(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Compare documents of the days, and of the run, whose text changed.

    What a load that was killed left underived is derived, too.
    """
    days = [date.fromisoformat(key) for key in context.partition_keys]
    try:
        derived = DocumentDerivation(warehouse, days[0], days[-1], context.run.run_id).run()
    except OrchestrationError as error:
        error.within(run=context.run.run_id)
        raise dg.Failure(str(error), allow_retries=False) from error
    with warehouse.reading() as connection:
        orphan_count = orphan_pair_count(connection)
    yield dg.MaterializeResult(
        asset_key=SIMILARITY,
        metadata={
            "rows_written": derived.pairs,
            "compared_count": derived.documents,
            "same_text_count": derived.unchanged,
            "removed_pair_count": derived.pairs_removed,
            "cut_count": derived.cut,
        },
        check_results=[_check_pairs(orphan_count)],
    )


def _check_pairs(orphan_count: int) -> dg.AssetCheckResult:
    metadata: Mapping[str, Any] = {"outcome": "both documents of each pair exist"}
    if orphan_count:
        metadata = {
            "outcome": "pairs name documents that do not exist",
            "expected": "0 pairs",
            "found": f"{orphan_count:,} pairs",
        }
    return dg.AssetCheckResult(
        asset_key=SIMILARITY,
        check_name=PAIRS_CHECK,
        passed=not orphan_count,
        description=summarize_result(metadata),
        metadata=metadata,
    )


derive_job = dg.define_asset_job(
    LISTED_SIMILARITY.job,
    selection=dg.AssetSelection.assets(derive_documents),
    description=LISTED_SIMILARITY.description,
    tags={"domain": GROUP},
)
