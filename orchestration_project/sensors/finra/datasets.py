"""When partitions of declared datasets are loaded: published for the first time, or changed."""

from collections.abc import Iterable, Sequence
from datetime import date

import dagster as dg

from orchestration_project.assets.finra import DATASET_ASSETS, DatasetAssets
from orchestration_project.connections.clock import Clock
from orchestration_project.domains.finra.calendar import WEEK
from orchestration_project.domains.finra.datasets import (
    DatasetPartition,
    key_of,
    missing_and_recent,
    of_known_values,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import SourceError
from orchestration_project.resources.finra.opening import DatasetSource, FinraDatasets
from orchestration_project.sensors.definitions import ONCE_A_DAY, keys_under_way, not_yet_asked
from orchestration_project.settings.domains.finra import FinraSettings
from orchestration_project.tables.finra_datasets import Dataset

SECONDS_BETWEEN_LOOKS = 3600
"""Corrections come days or weeks later: an hour does not matter, a look is some requests."""

LOOKED_AT_AGAIN = 4
"""The latest partitions of each value that a look reads again, as these datasets do not say when
a row changed. An older one is read again by a backfill."""


def dataset_sensor(made: DatasetAssets) -> dg.SensorDefinition:
    """Return the sensor of a dataset: it asks for partitions that are new, or changed lately."""
    dataset = made.dataset

    @dg.sensor(
        name=f"finra_on_{dataset.noun}",
        job=made.job,
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        description=f"Ask for the partitions of {dataset.table.name} that are published and were "
        "never taken, and for the latest whose rows changed.",
    )
    def on_publication(
        context: dg.SensorEvaluationContext,
        clock: dg.ResourceParam[Clock],
        finra_datasets: dg.ResourceParam[FinraDatasets],
        settings: dg.ResourceParam[FinraSettings],
        warehouse: dg.ResourceParam[Warehouse],
    ) -> dg.SensorResult | dg.SkipReason:
        today, source = clock.today_in_new_york(), finra_datasets.of(dataset)
        listed, strange = of_known_values(dataset, source.published(dataset))
        taken = warehouse.known_versions(dataset.table)
        missing, recent = missing_and_recent(
            [each for each in listed if made.has(key_of(dataset, each))],
            dataset,
            taken=taken,
            since=today - settings.finra_horizon_weeks * WEEK,
            most_recent=LOOKED_AT_AGAIN,
        )
        now, unsaid = _versions(source, dataset, recent)
        due = {key_of(dataset, each): "first" for each in missing}
        due |= {key: version for key, version in now.items() if version not in taken[key]}
        asked = _requests(context.instance, made, due, today)
        aside = _aside(strange, unsaid)
        if not asked:
            again = (
                f" Being loaded or asked for today: {', '.join(due)}; {ONCE_A_DAY}" if due else ""
            )
            return dg.SkipReason(
                f"Nothing to ask for: {len(listed)} partitions are listed, and of those in the "
                f"horizon {len(missing)} were never taken; of the latest {len(recent)} that were, "
                f"{len(due) - len(missing)} changed.{again}{aside}"
            )
        chosen = asked[: settings.finra_partitions_per_tick]
        rest = len(asked) - len(chosen)
        waiting = f" {rest} more wait for the next tick." if rest else ""
        keys = ", ".join(str(each.partition_key) for each in chosen)
        context.log.info(f"Asked for {keys}.{waiting}{aside}")
        return dg.SensorResult(run_requests=list(chosen))

    return on_publication


def _versions(
    source: DatasetSource, dataset: Dataset, partitions: Iterable[DatasetPartition]
) -> tuple[dict[str, str], list[str]]:
    """Return the present state of each partition by its key, and those that have none."""
    now: dict[str, str] = {}
    unsaid: list[str] = []
    for each in partitions:
        try:
            now[key_of(dataset, each)] = source.read(dataset, each, []).version
        except SourceError:
            unsaid.append(key_of(dataset, each))
    return now, unsaid


def _requests(
    instance: dg.DagsterInstance, made: DatasetAssets, due: dict[str, str], today: date
) -> Sequence[dg.RunRequest]:
    """Return requests for what is due, but what a run loads now or was asked for today."""
    name = made.dataset.table.name
    job = made.job.name
    running = keys_under_way(instance, job, made.key, made.table.partitions_def)
    free = [key for key in due if key not in running]
    return not_yet_asked(
        instance,
        [
            dg.RunRequest(run_key=f"{name} {key} {due[key]} ({today})", partition_key=key)
            for key in free
        ],
    )


def _aside(strange: Sequence[str], unsaid: Sequence[str]) -> str:
    told = f" Left out, as values that are not known: {', '.join(strange)}." if strange else ""
    return told + (f" The source says nothing of {', '.join(unsaid)}." if unsaid else "")


DATASET_SENSORS = [dataset_sensor(each) for each in DATASET_ASSETS]
