"""Tables derived across weeks and tiers, updated whenever loaded weeks change."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg

from orchestration_project.assets.factory import DerivedReport
from orchestration_project.assets.finra.catalogue import (
    CONCENTRATION_WEEK,
    SYMBOL_ANOMALIES_WEEK,
    SYMBOL_MOVERS_WEEK,
    SYMBOL_ROLLING_6W,
    SYMBOL_WEEK,
    TIER_WEEK,
    VENUE_MOVERS_WEEK,
    VENUE_WEEK,
    VENUE_WEEK_ALL_TIERS,
    WEEKS,
    WEEKS_OF_ALL_TIERS,
    build_table_spec,
)
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.engine.announcements import EarlierMetadata, read_latest_metadata
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.derived import (
    DerivedLoad,
    DerivedResult,
    DerivedRows,
    DerivedTable,
)
from orchestration_project.engine.runner import AssetEvent, load_partitions, read_requested_keys
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra import listed
from orchestration_project.resources.finra.gold import (
    ALL_TIER_VENUES,
    ANOMALIES,
    CONCENTRATION,
    CROSS_TIER,
    ROLLING,
    SYMBOL_MOVERS,
    VENUE_MOVERS,
)
from orchestration_project.services.metadata import build_table, label_data

MADE_OF = "made_of"


@dataclass(frozen=True)
class _Gold:
    """An asset, how its table is made, and of which assets."""

    key: dg.AssetKey
    derived: DerivedTable[Any]
    made_of: Sequence[dg.AssetKey]

    @property
    def spec(self) -> dg.AssetSpec:
        return build_table_spec(self.key, self.derived.table, "gold", *self.made_of)


def _build_gold_assets(
    name: str, partitions: dg.PartitionsDefinition, *gold: _Gold
) -> dg.AssetsDefinition:
    """Return the assets that one step derives: partitions that are current stay as they are."""

    @dg.multi_asset(
        name=name,
        specs=[each.spec for each in gold],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
    )
    def derive(
        context: dg.AssetExecutionContext,
        clock: dg.ResourceParam[Clock],
        settings: dg.ResourceParam[FinraSettings],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> Iterator[AssetEvent]:
        chosen = [each for each in gold if each.key in context.selected_asset_keys]
        tables = [each.derived for each in chosen]
        where = {"tables": ", ".join(table.table.name for table in tables)}
        keys = frozenset(read_requested_keys(context))
        load = DerivedLoad(tables, warehouse, keys, where, run_id=context.run.run_id)
        label = label_data(is_synthetic=settings.is_demo)
        earlier = partial(read_latest_metadata, context.instance)
        report = _GoldReport(load, clock.now, chosen, label, earlier)
        yield from load_partitions(context, lambda: load, report)

    return derive


@dataclass(frozen=True)
class _GoldReport(DerivedReport):
    """Report of gold tables that one step derives."""

    gold: Sequence[_Gold]
    label: Mapping[str, str]
    earlier: EarlierMetadata

    def metadata(self, loaded: DerivedResult) -> dict[dg.AssetKey, dict[str, Any]]:
        """Return the metadata of each asset; an unchanged table keeps that of its derivation."""
        values = {}
        for gold in self.gold:
            table = loaded.tables[gold.derived.table.name]
            values[gold.key] = {**_describe_table(table, loaded), **self.label}
            if loaded.partition_key not in table.recomputed:
                before = self.earlier(gold.key, loaded.partition_key)
                if MADE_OF in before and before[MADE_OF].value == values[gold.key][MADE_OF]:
                    values[gold.key] = {**before, **values[gold.key]}
        return values

    def side_effects(self, key: str, loaded: DerivedResult) -> Iterator[dg.AssetMaterialization]:
        """Yield materializations of dependent partitions that were derived outside of the run's."""
        for gold in self.gold:
            table = loaded.tables[gold.derived.table.name]
            for partition, row_count in table.recomputed.items():
                if partition != key:
                    metadata = {
                        "outcome": f"derived: {key} changed",
                        "dagster/row_count": row_count,
                        "recomputed_weeks": partition,
                        "recomputed_week_count": 1,
                        "seconds": 0.0,
                        MADE_OF: table.versions[partition],
                        "largest": build_table(table.summaries[partition]),
                        **self.label,
                    }
                    yield dg.AssetMaterialization(gold.key, partition=partition, metadata=metadata)


def _describe_table(table: DerivedRows, derived: DerivedResult) -> dict[str, Any]:
    own = table.summaries.get(derived.partition_key)
    return {
        "outcome": "derived" if table.recomputed else "unchanged",
        "dagster/row_count": table.row_count,
        "recomputed_weeks": ", ".join(table.recomputed) or "none",
        "recomputed_week_count": len(table.recomputed),
        "seconds": derived.seconds,
        MADE_OF: table.versions[derived.partition_key],
        **({"largest": build_table(own)} if own is not None else {}),
    }


across_weeks = _build_gold_assets(
    "derive_finra_across_weeks",
    WEEKS,
    _Gold(SYMBOL_ROLLING_6W, ROLLING, [SYMBOL_WEEK]),
    _Gold(CONCENTRATION_WEEK, CONCENTRATION, [SYMBOL_WEEK]),
    _Gold(SYMBOL_MOVERS_WEEK, SYMBOL_MOVERS, [SYMBOL_WEEK]),
    _Gold(VENUE_MOVERS_WEEK, VENUE_MOVERS, [VENUE_WEEK]),
    _Gold(SYMBOL_ANOMALIES_WEEK, ANOMALIES, [SYMBOL_WEEK]),
)
tier_week = _build_gold_assets(
    "derive_finra_tier_week",
    WEEKS_OF_ALL_TIERS,
    _Gold(TIER_WEEK, CROSS_TIER, [SYMBOL_WEEK, VENUE_WEEK]),
    _Gold(VENUE_WEEK_ALL_TIERS, ALL_TIER_VENUES, [VENUE_WEEK]),
)


gold_job = dg.define_asset_job(
    listed.GOLD.job,
    selection=dg.AssetSelection.assets(across_weeks),
    description=listed.GOLD.description,
    tags={"domain": "finra"},
)


tier_week_job = dg.define_asset_job(
    listed.TIER_WEEK.job,
    selection=dg.AssetSelection.assets(tier_week),
    description=listed.TIER_WEEK.description,
    tags={"domain": "finra"},
)
