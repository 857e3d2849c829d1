"""FINRA: OTC trading by week, further datasets, and what is derived of them."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestration_project.domains.finra.calendar import WEEK, publication_date
from orchestration_project.domains.finra.conservation import CONSERVATIONS
from orchestration_project.domains.finra.datasets import DATASETS
from orchestration_project.domains.finra.declaration import FinraDataset
from orchestration_project.domains.finra.selection import tier_week, week_ending_on
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.conservation import list_equations
from orchestration_project.engine.contracts.pipelines import Parameter
from orchestration_project.engine.contracts.problems import OldestMissing
from orchestration_project.engine.dataset import (
    DatasetLoad,
    DatasetLoads,
    find_completeness,
    read_declared_loads,
)
from orchestration_project.engine.listed_datasets import DatasetList
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import Scope
from orchestration_project.registry import (
    AsOfModule,
    Connection,
    ConnectionMaker,
    Domain,
    DomainDefinitions,
    Environment,
    FormulaModule,
    Job,
    PartitionedTable,
)
from orchestration_project.resources.finra import listed
from orchestration_project.resources.finra.datasets import DATASETS_ON, ENGINE_DATASETS
from orchestration_project.resources.finra.weeks import find_oldest_unloaded, offered_weeks
from orchestration_project.services.status import Deadlines, read_late_datasets
from orchestration_project.settings import Settings

if TYPE_CHECKING:
    from orchestration_project.resources.finra.source import FinraSource

TIER = Parameter(name="tier")
WEEK_ENDING = Parameter(name="week_ending", to_key=week_ending_on)

FIRST_WEEK = "FINRA_FIRST_WEEK"
"""The setting of the first partition, but for datasets that declare their own."""

PROBED_WEEKS = 8
"""All in the current dataset, which one request lists; enough for every tier to be published."""


def _list_partitions(source: "FinraSource", environment: Environment) -> str:
    """Send the first request of every load: one, with credentials one more."""
    since = environment.clock.today_in_new_york() - PROBED_WEEKS * WEEK
    listed = source.published(since=since)
    return f"it lists {len(listed)} partitions of the last {PROBED_WEEKS} weeks"


def _find_oldest_unloaded(
    settings: Settings, warehouse: Warehouse, clock: Clock
) -> Sequence[OldestMissing]:
    offered = offered_weeks(settings, clock.today_in_new_york())
    weekly = find_oldest_unloaded(warehouse, settings, clock.now(), offered=offered)
    return [
        *([weekly] if weekly else []),
        *read_late_datasets(ENGINE_DATASETS, settings, warehouse, clock),
    ]


def _read_loads(settings: Settings, now: datetime) -> Sequence[DatasetLoad]:
    """Return the weeks and the further datasets as runs load them."""
    from orchestration_project.assets.finra.weekly import build_limits
    from orchestration_project.resources.finra.weekly import WeeklyDataset

    finra, checks = FinraSettings.of(settings), settings.checks_of("finra")
    weekly = WeeklyDataset(
        limits=build_limits(checks.finra_otc_weekly),
        completeness=find_completeness(checks, finra_otc_weekly),
    )
    return [
        DatasetLoad(weekly, None, finra.finra_max_reject_ratio),
        *read_declared_loads(ENGINE_DATASETS, settings, now),
    ]


def _find_publication_date(key: str) -> date:
    week = tier_week(key, today=date.max)
    return publication_date(week.week_start, week.tier)


def _find_setting(declared: FinraDataset) -> str:
    """Return the setting of a dataset's first partition; empty: its declaration has the day."""
    return "" if declared.first_day else FIRST_WEEK


def _read_week_scope(key: str) -> Scope:
    week = tier_week(key, today=date.max)
    return {"tier": week.tier, "week_start": week.week_start}


def _read_dataset_scope(dataset: FinraDataset, key: str) -> Scope:
    partitioning = dataset.partitioning
    return partitioning.scope_of(partitioning.partition_of(key, today=date.max))


def _build_definitions() -> DomainDefinitions:
    from orchestration_project.assets import finra
    from orchestration_project.assets.replays import build_replay_job
    from orchestration_project.catalog.factory import dataset_job
    from orchestration_project.engine.options import build_real_config
    from orchestration_project.resources.finra.recovery import RECOVERIES
    from orchestration_project.sensors import finra as sensors

    return DomainDefinitions(
        assets=[
            finra.weekly_summary,
            finra.otc_weekly,
            finra.across_weeks,
            finra.tier_week,
            *([finra.symbol_week_short] if listed.HAS_SHORT else []),
            *([finra.symbol_week_value, finra.value_picture] if listed.HAS_VALUES else []),
            finra.symbols,
            finra.finra_charts,
            finra.trade_activity,
            *(dataset.source for dataset in finra.DATASET_ASSETS),
            *(dataset.table for dataset in finra.DATASET_ASSETS),
        ],
        asset_checks=[
            finra.as_new_as_the_calendar,
            *finra.SOURCE_CHECKS,
            *(dataset.freshness for dataset in finra.DATASET_ASSETS),
        ],
        jobs=[
            Job(
                definition=finra.otc_weekly_job,
                parameters=(TIER, WEEK_ENDING),
                first_setting=FIRST_WEEK,
                published_on=_find_publication_date,
            ),
            build_replay_job("finra", finra.REPLAYS),
            Job(
                definition=finra.gold_job, parameters=(TIER, WEEK_ENDING), first_setting=FIRST_WEEK
            ),
            *(
                Job(definition=definition, parameters=(WEEK_ENDING,), first_setting=FIRST_WEEK)
                for definition in (
                    finra.tier_week_job,
                    *([finra.symbol_week_value_job] if listed.HAS_VALUES else []),
                    *([finra.symbol_week_short_job] if listed.HAS_SHORT else []),
                )
            ),
            Job(definition=finra.daily_job, parameters=()),
            Job(
                definition=finra.backfill_job,
                parameters=(),
                real_config=build_real_config(finra.BACKFILLING.op),
            ),
            *(
                dataset_job(
                    assets.dataset, assets.job, _find_setting(declared), assets.published_on
                )
                for assets, declared in zip(finra.DATASET_ASSETS, DATASETS_ON, strict=True)
            ),
        ],
        schedules=[
            sensors.finra_otc_weekly_mondays,
            sensors.finra_daily,
            *([sensors.finra_symbol_week_short_daily] if listed.HAS_SHORT else []),
            *([sensors.finra_symbol_week_value_daily] if listed.HAS_VALUES else []),
        ],
        sensors=[
            sensors.finra_on_publication,
            sensors.finra_on_restatement,
            sensors.finra_on_landing,
            sensors.finra_on_gold,
            *sensors.DATASET_SENSORS,
        ],
        replays=finra.REPLAYS,
        registrations=RECOVERIES,
    )


def _connections() -> Mapping[str, Connection[Any]]:
    from orchestration_project.resources.finra.connection import (
        open_datasets,
        opened_finra,
        remote_clock,
        shown_source,
    )

    return {
        "finra": Connection(
            description="Source of FINRA's weekly data.",
            open=lambda given: opened_finra(given.settings, breaker=given.breaker),
            preflight="finra",
            shown_name="FINRA",
            remote_clock=remote_clock,
            probe=_list_partitions,
            unused=lambda settings: (
                ""
                if FinraSettings.of(settings).finra_source
                else "FINRA_SOURCE is not set: FINRA is not asked"
            ),
            tried=lambda settings: f"asked {shown_source(settings)} for its list of partitions",
        ),
        "finra_datasets": Connection(
            description="Source of FINRA's other datasets.",
            open=lambda given: open_datasets(given.settings, given.admit),
            preflight=None,
        ),
    }


FINRA = Domain(
    name="finra",
    source_setting="finra_source",
    define=_build_definitions,
    tables=[
        PartitionedTable(table=finra_otc_weekly, scope_of=_read_week_scope),
        *(
            PartitionedTable(table=dataset.table, scope_of=partial(_read_dataset_scope, dataset))
            for dataset in DATASETS
        ),
    ],
    api=["orchestration_project.gateway.api.finra"],
    state_paths=["demo"],
    registrations=[
        AsOfModule("orchestration_project.resources.finra.gold_as_of"),
        ConnectionMaker(_connections),
        FormulaModule("orchestration_project.domains.finra.formulas"),
        DatasetList(listed.list_datasets),
        DatasetLoads(_read_loads),
        Deadlines(_find_oldest_unloaded),
        *list_equations(CONSERVATIONS),
    ],
)
