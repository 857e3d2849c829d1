"""The assets of FINRA's further datasets, each made of its declaration."""

from datetime import date, timedelta
from functools import partial

from orchestration_project.assets.factory import dataset_assets
from orchestration_project.assets.finra.catalogue import first_finra_week
from orchestration_project.domains.finra.calendar import WEEK
from orchestration_project.domains.finra.datasets import DATASETS, FinraDataset
from orchestration_project.engine.dataset import Dataset, LoadLimits, Source
from orchestration_project.resources.finra.opening import FinraDatasets
from orchestration_project.settings import Settings
from orchestration_project.settings.domains.finra import FinraSettings


def engine_dataset(declared: FinraDataset) -> Dataset:
    """Return a dataset of FINRA as one that the engine loads."""
    return Dataset(
        domain="finra",
        table=declared.table,
        contract=declared.contract,
        partitioning=declared.partitioning,
        parse=declared.parse,
        resource="finra_datasets",
        source_of=partial(_source, declared),
        source_dataset=declared.name,
        source_label=f"FINRA's {declared.name}",
        source_description=f"the dataset {declared.group}/{declared.name}",
        limits=_limits,
        licence=declared.licence,
        lists_fields=True,
        declared_in="domains/finra/datasets.py",
    )


def _source(declared: FinraDataset, datasets: FinraDatasets) -> Source:
    return datasets.of(declared)


def _limits(settings: Settings, today: date) -> LoadLimits:
    finra = FinraSettings.of(settings)
    return LoadLimits(
        first_day=first_finra_week(settings, today),
        horizon=finra.finra_horizon_weeks * WEEK,
        max_reject_ratio=finra.finra_max_reject_ratio,
        freshness_grace=timedelta(hours=finra.finra_freshness_grace_hours),
        max_runs_per_tick=finra.finra_partitions_per_tick,
    )


DATASET_ASSETS = [dataset_assets(engine_dataset(each)) for each in DATASETS]
