"""FINRA's declared datasets as the engine loads them."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, cast

from sqlalchemy import Table

from orchestration_project.domains.finra.calendar import WEEK, monday_of
from orchestration_project.domains.finra.datasets import DATASETS
from orchestration_project.domains.finra.declaration import FinraDataset
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.domains.finra.tables.datasets import finra_short_interest
from orchestration_project.domains.finra.tables.equity_datasets import finra_reg_sho_daily
from orchestration_project.domains.finra.tables.short import finra_symbol_week_short
from orchestration_project.engine.contracts.balance import count_lines
from orchestration_project.engine.dataset import Dataset, LoadLimits
from orchestration_project.engine.source import Source
from orchestration_project.engine.warehouse.frames import Scope
from orchestration_project.resources.finra.short import FRIDAY, LATEST_SETTLEMENT
from orchestration_project.resources.finra.weeks import first_finra_week
from orchestration_project.settings import Settings, load_shared_settings
from orchestration_project.settings.chosen import datasets_on

if TYPE_CHECKING:
    from orchestration_project.resources.finra.connection import FinraDatasets


def _find_week_of_day(partition: Scope) -> Scope:
    return {"week_start": monday_of(cast("date", partition["trade_date"]))}


def _find_settlement_weeks(partition: Scope) -> Scope:
    """Return the weeks in which short interest of a date may be the latest."""
    settled = cast("date", partition["settlement_date"])
    fridays = [monday_of(settled) + FRIDAY + number * WEEK for number in range(6)]
    return {
        "week_start": tuple(
            friday - FRIDAY
            for friday in fridays
            if settled <= friday <= settled + LATEST_SETTLEMENT
        )
    }


DEPENDENTS: Mapping[Table, Mapping[Table, Callable[[Scope], Scope]]] = {
    finra_reg_sho_daily: {finra_symbol_week_short: _find_week_of_day},
    finra_short_interest: {finra_symbol_week_short: _find_settlement_weeks},
}
"""By declared dataset: derived tables, and which of their rows a loaded partition is part of."""


def engine_dataset(declared: FinraDataset) -> Dataset:
    """Return a dataset of FINRA as one that the engine loads."""
    return Dataset(
        domain="finra",
        table=declared.table,
        contract=declared.contract,
        partitioning=declared.partitioning,
        parse=declared.parse,
        resource="finra_datasets",
        source_of=partial(_find_source, declared),
        source_dataset=declared.name,
        count_records=count_lines,
        source_label=f"FINRA's {declared.name}",
        source_description=f"the dataset {declared.group}/{declared.name} ({declared.access}),",
        limits=partial(_build_limits, declared),
        licence=declared.declared.licence,
        metadata_columns=declared.metadata_columns,
        lists_fields=True,
        declared_in="domains/finra/datasets.py",
        dependents=DEPENDENTS.get(declared.table, {}),
    )


def _find_source(declared: FinraDataset, datasets: "FinraDatasets") -> Source:
    return datasets.of(declared)


def _build_limits(declared: FinraDataset, settings: Settings, today: date) -> LoadLimits:
    finra = FinraSettings.of(settings)
    return LoadLimits(
        first_day=declared.first_day or first_finra_week(settings, today),
        horizon=finra.finra_lookback_weeks * WEEK,
        max_reject_ratio=finra.finra_max_reject_ratio,
        freshness_grace=timedelta(hours=finra.finra_freshness_grace_hours),
        max_runs_per_tick=finra.finra_max_runs_per_tick,
    )


_CHOSEN = datasets_on(load_shared_settings(), "finra")
DATASETS_ON = [dataset for dataset in DATASETS if dataset.noun in _CHOSEN]
"""FINRA's other datasets that this installation has."""

ENGINE_DATASETS = [engine_dataset(dataset) for dataset in DATASETS_ON]
"""The same, as the engine loads them."""
