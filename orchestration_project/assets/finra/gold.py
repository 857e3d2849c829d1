"""What is derived across weeks and tiers, from what is landed, whenever that changed."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import dagster as dg

from orchestration_project.assets.finra.catalogue import (
    CONCENTRATION_WEEK,
    OTC_WEEKLY,
    SYMBOL_ROLLING_6W,
    SYMBOL_WEEK,
    TIER_WEEK,
    VENUE_WEEK,
    WEEKS,
    WEEKS_OF_ALL_TIERS,
    table_spec,
)
from orchestration_project.partitions import Report, Told, each_partition
from orchestration_project.resources.finra.gold import (
    CONCENTRATION,
    CROSS_TIER,
    ROLLING,
    DerivedGold,
    GoldLoad,
    Recipe,
)
from orchestration_project.resources.shown import table_of
from orchestration_project.resources.warehouse import Warehouse


def _gold_asset(
    key: dg.AssetKey, recipe: Recipe, weeks: dg.PartitionsDefinition, *deps: dg.AssetKey
) -> dg.AssetsDefinition:
    """Return the asset that derives ``recipe``: partitions that are current stay as they are."""

    @dg.multi_asset(
        name=f"derive_{recipe.table.name}",
        specs=[table_spec(key, recipe.table, "gold", *deps)],
        partitions_def=weeks,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def derive(
        context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
    ) -> Iterator[Told]:
        load = GoldLoad(recipe, warehouse, frozenset(context.partition_keys))
        report = Report(lambda derived: {key: _news(derived)}, beyond=partial(_dependents, key))
        yield from each_partition(context, lambda: load, report)

    return derive


def _dependents(
    key: dg.AssetKey, partition_key: str, derived: DerivedGold
) -> Iterator[dg.AssetMaterialization]:
    """Yield what was derived beyond the run's own partitions: that is materialized too."""
    for partition, row_count in derived.recomputed.items():
        if partition != partition_key:
            metadata = {
                "outcome": f"derived: {partition_key} changed",
                "dagster/row_count": row_count,
                "recomputed_week_count": 0,
                "seconds": 0.0,
                "largest": table_of(derived.largest[partition]),
            }
            yield dg.AssetMaterialization(key, partition=partition, metadata=metadata)


def _news(derived: DerivedGold) -> dict[str, Any]:
    return {
        "outcome": "derived" if derived.recomputed else "unchanged",
        "dagster/row_count": derived.row_count,
        "recomputed_weeks": ", ".join(derived.recomputed) or "none",
        "recomputed_week_count": len(derived.recomputed),
        "seconds": derived.seconds,
        "made_of": derived.version,
        **({"largest": table_of(derived.own_largest)} if derived.own_largest is not None else {}),
    }


symbol_rolling_6w = _gold_asset(SYMBOL_ROLLING_6W, ROLLING, WEEKS, SYMBOL_WEEK)
concentration_week = _gold_asset(CONCENTRATION_WEEK, CONCENTRATION, WEEKS, OTC_WEEKLY, SYMBOL_WEEK)
tier_week = _gold_asset(TIER_WEEK, CROSS_TIER, WEEKS_OF_ALL_TIERS, SYMBOL_WEEK, VENUE_WEEK)
