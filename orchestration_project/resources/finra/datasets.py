"""FINRA's declared datasets as the engine loads them."""

from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING

from orchestration_project.domains.finra.calendar import WEEK
from orchestration_project.domains.finra.datasets import DATASETS
from orchestration_project.domains.finra.declaration import FinraDataset
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.engine.contracts.balance import count_lines
from orchestration_project.engine.dataset import Dataset, LoadLimits
from orchestration_project.engine.source import Source
from orchestration_project.resources.finra.dependents import OF_DATASETS
from orchestration_project.resources.finra.weeks import first_finra_week
from orchestration_project.settings import Settings, load_shared_settings
from orchestration_project.settings.chosen import datasets_on

if TYPE_CHECKING:
    from orchestration_project.resources.finra.connection import FinraDatasets


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
        dependents=OF_DATASETS.get(declared.table, {}),
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
