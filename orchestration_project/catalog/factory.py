"""Makes the value of a domain of declared datasets: all that a simple source needs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

from orchestration_project.engine.connections.simulator import ensure_demo_url
from orchestration_project.engine.contracts.partitioning import Partitioning
from orchestration_project.engine.contracts.pipelines import Parameter
from orchestration_project.engine.dataset import Dataset, DatasetLoads, read_declared_loads
from orchestration_project.engine.document_source import Documents, DocumentSource
from orchestration_project.engine.environment import open_client, select_network
from orchestration_project.engine.listed_datasets import DatasetList, list_declared
from orchestration_project.engine.recovery import Recovery
from orchestration_project.engine.warehouse.frames import Scope
from orchestration_project.registry import (
    Connection,
    ConnectionMaker,
    Domain,
    DomainDefinitions,
    Environment,
    Job,
    PartitionedTable,
)
from orchestration_project.services.status import Deadlines, read_late_datasets

if TYPE_CHECKING:
    import dagster as dg


def domain_of(
    name: str,
    datasets: Sequence[Dataset],
    *,
    connections: Mapping[str, Connection[Any]],
    draw: Callable[[], "Sequence[dg.AssetsDefinition]"] = tuple,
    state_paths: Sequence[str] = (),
    registrations: Sequence[object] = (),
    recoveries: Sequence[Recovery] = (),
    has_source_setting: bool = True,
) -> Domain:
    """Return the domain of declared datasets, which are all that it has.

    Each dataset has its assets and checks, a job, a sensor and a scheduled backfill; the domain has
    a replay job, and a daily job that makes the assets of ``draw`` and checks freshness. Without
    ``has_source_setting``, no setting names its source or moves its first partitions.
    """

    def define() -> DomainDefinitions:
        first_day = f"{name.upper()}_FIRST_DAY" if has_source_setting else ""
        domain_definitions = _build_definitions(name, datasets, draw(), first_day)
        return replace(domain_definitions, registrations=recoveries)

    return Domain(
        name=name,
        source_setting=f"{name}_source" if has_source_setting else None,
        define=define,
        tables=[
            PartitionedTable(table=dataset.table, scope_of=partial(_read_scope, dataset))
            for dataset in datasets
        ],
        state_paths=state_paths,
        registrations=[
            ConnectionMaker(lambda: connections),
            DatasetList(lambda: list(map(list_declared, datasets))),
            DatasetLoads(partial(read_declared_loads, datasets)),
            Deadlines(partial(read_late_datasets, datasets)),
            *registrations,
        ],
    )


def _build_definitions(
    name: str, datasets: Sequence[Dataset], drawn: "Sequence[dg.AssetsDefinition]", first_day: str
) -> DomainDefinitions:
    """Return the definitions of declared datasets and charts of a domain.

    ``first_day`` is the setting that moves the first partitions; empty: none does.
    """
    from orchestration_project.assets.factory import build_dataset_assets
    from orchestration_project.assets.replays import build_replay_job
    from orchestration_project.assets.specs import build_daily_job
    from orchestration_project.sensors.definitions import daily_schedule
    from orchestration_project.sensors.factory import backfill_schedule, dataset_sensor

    dataset_assets_list = [build_dataset_assets(each) for each in datasets]
    checks = [dataset.freshness for dataset in dataset_assets_list]
    drawing = "draws charts, and " if drawn else ""
    text = f"{drawing}checks whether the tables of {name} are as new as their calendars say."
    daily_job = build_daily_job(name, text.capitalize(), assets=drawn, checks=checks)
    return DomainDefinitions(
        assets=[
            *(asset for parts in dataset_assets_list for asset in (parts.source, parts.table)),
            *drawn,
        ],
        asset_checks=checks,
        jobs=[
            *(
                dataset_job(parts.dataset, parts.job, first_day, parts.published_on)
                for parts in dataset_assets_list
            ),
            build_replay_job(name, [parts.replay for parts in dataset_assets_list]),
            Job(definition=daily_job, parameters=()),
        ],
        schedules=[
            daily_schedule(
                daily_job,
                checks,
                profile=name,
                needs="loaded partitions",
                zone=dataset_assets_list[0].dataset.partitioning.calendar.zone,
                what=f"{text.capitalize().removesuffix('.')}, every day.",
            ),
            *map(backfill_schedule, dataset_assets_list),
        ],
        sensors=[dataset_sensor(parts) for parts in dataset_assets_list],
        replays=[parts.replay for parts in dataset_assets_list],
    )


def dataset_job(
    dataset: Dataset,
    definition: Any,
    first_setting: str,
    published_on: Callable[[str], date] | None = None,
) -> Job:
    """Return a dataset's job with a parameter for each part of its partitions' keys.

    ``first_setting`` and ``published_on`` are those of `Job`.
    """
    partitioning = dataset.partitioning
    name = "week_ending" if partitioning.day_column == "week_ending" else "partition"
    by_day = replace(partitioning, value_column="", values=())
    day = Parameter(name=name, to_key=partial(_parse_key, by_day))
    value = [Parameter(name=partitioning.value_column)] if partitioning.value_column else []
    return Job(
        definition=definition,
        parameters=(*value, day),
        first_setting=first_setting,
        published_on=published_on,
    )


def _parse_key(partitioning: Partitioning, text: str) -> str:
    """Return a partition's key as Dagster has it.

    Raises:
        ConfigurationError: The dataset has no such partition.
    """
    return partitioning.key_of(partitioning.partition_of(text, today=date.max))


def _read_scope(dataset: Dataset, key: str) -> Scope:
    partition = dataset.partitioning.partition_of(key, today=date.max)
    return dataset.partitioning.scope_of(partition)


@contextmanager
def open_documents(
    given: Environment,
    documents: Documents,
    *,
    domain: str,
    source: str,
    url: str,
    demo_path: str,
    label: str,
    requests_per_second: int,
) -> Iterator[DocumentSource]:
    """Open a source of documents over HTTP.

    Args:
        given: What it is opened with.
        documents: How partitions are spread over its documents.
        domain: Name of its domain, of which rates and circuit breakers are kept.
        source: Value of the domain's setting of its source.
        url: Base URL of the real source.
        demo_path: Path below the demo's address that stands for it.
        label: Subject of messages about it.
        requests_per_second: Rate of requests.
    """
    settings = given.settings
    with open_client(
        settings,
        f"{domain}_{source}",
        requests_per_second=requests_per_second,
        breaker=given.breaker,
        network=select_network(settings),
    ) as http:
        yield DocumentSource(
            http,
            given.captures,
            given.clock,
            documents,
            source_name=source,
            base_url=f"{ensure_demo_url(settings)}/{demo_path}" if settings.is_demo else url,
            label=label,
        )
