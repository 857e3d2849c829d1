"""Domains of declared datasets: the packaged sources, and what each declaration becomes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from sqlalchemy import Column, Table

from orchestration_project.engine.connections.simulator import ensure_demo_url
from orchestration_project.engine.contracts.capture_forms import Form
from orchestration_project.engine.contracts.formulas import TableRules
from orchestration_project.engine.contracts.partitioning import Partitioning
from orchestration_project.engine.contracts.pipelines import Parameter
from orchestration_project.engine.dataset import (
    Dataset,
    DatasetLoads,
    LoadLimits,
    read_declared_loads,
)
from orchestration_project.engine.dlt_deliveries import parse_recorded
from orchestration_project.engine.dlt_states import append_state
from orchestration_project.engine.document_source import (
    Documents,
    DocumentSource,
    build_recovery,
)
from orchestration_project.engine.environment import open_client, select_network
from orchestration_project.engine.listed_datasets import DatasetList, list_declared
from orchestration_project.engine.own.contracts import (
    build_contract,
    build_partitioning,
    parse_delivery,
)
from orchestration_project.engine.own.declarations import Dataset as Declared
from orchestration_project.engine.own.declarations import UsualSize
from orchestration_project.engine.own.packaged import build_table_rules
from orchestration_project.engine.own.partition_documents import (
    find_version,
    read_partitions,
    select_listings,
    select_names,
)
from orchestration_project.engine.own.records import build_counter
from orchestration_project.engine.own.sources import HttpSource
from orchestration_project.engine.own_sources import Declaration
from orchestration_project.engine.recovery import Recovery
from orchestration_project.engine.warehouse.frames import Scope
from orchestration_project.engine.warehouse.target import Dependents, Derive
from orchestration_project.errors import SourceError
from orchestration_project.registry import (
    Connection,
    ConnectionMaker,
    Domain,
    DomainDefinitions,
    Environment,
    FormulaModule,
    Job,
    PartitionedTable,
)
from orchestration_project.services.status import Deadlines, read_late_datasets
from orchestration_project.settings import Settings, switched_off
from orchestration_project.settings.project import own_domain
from orchestration_project.settings.sources import SourceTexts, source_values
from orchestration_project.tables.schema import Field

if TYPE_CHECKING:
    import dagster as dg

A_YEAR = timedelta(days=365)
MAX_RUNS_PER_TICK = 10

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class PackagedSource:
    """A declared dataset of the package, and what its domain has beside the declaration.

    Attributes:
        texts: Names of the source in texts.
        declared: The dataset. The settings say which source is read, and from which day on.
        table: Its table.
        fields: The fields that fill the table.
        source_dataset: What captures call the dataset.
        demo_path: Path below the demo's address that stands for the source.
        horizon_days: How far back sensors look for partitions that were never loaded.
        probe: What the preflight does, in words.
        forms: How captures are read for evidence.
        transforms: Tables that a load derives in its transaction.
        dependents: Tables that are derived later, each with the scope that a partition reaches.
        made_of: Columns that each column of a derived table is made of.
    """

    texts: SourceTexts
    declared: Declared
    table: Table
    fields: Sequence[Field]
    source_dataset: str
    demo_path: str
    horizon_days: int
    probe: str
    forms: Sequence[Form]
    transforms: Derive = field(default_factory=dict)
    dependents: Dependents = field(default_factory=dict)
    made_of: Mapping[str, Mapping[str, Sequence[Column[Any]]]] = field(default_factory=dict)

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset as all engines have it."""
        texts, declared = self.texts, self.declared
        made_dataset = dataset_of(
            Declaration(declared, "", self.table, self.fields, b""), texts.domain
        )
        return replace(
            made_dataset,
            parse=self._with_remedy(partial(parse_delivery, declared)),
            source_dataset=self.source_dataset,
            resource=texts.domain,
            source_label=f"{texts.publisher}'s {texts.subject}",
            source_description=f"{texts.publisher}'s {texts.documents}",
            limits=self.limits,
            transforms=self.transforms,
            dependents=self.dependents,
            made_of=self.made_of,
        )

    @property
    def documents(self) -> Documents:
        """Spread of its partitions over its documents."""
        made_documents = documents_of(self.declared)
        return replace(
            made_documents,
            partitions_in=self._with_remedy(made_documents.partitions_in),
            version_in=self._with_remedy(made_documents.version_in),
        )

    def _with_remedy(self, read: Callable[P, R]) -> Callable[P, R]:
        """Return a function whose errors name the setting of the address, not a declaration."""
        texts = self.texts

        def read_or_explain(*arguments: P.args, **named: P.kwargs) -> R:
            try:
                return read(*arguments, **named)
            except SourceError as error:
                setting = f"{texts.domain.upper()}_API_URL"
                changed = f"if {texts.publisher} changed its format, report it"
                error.remedy = f"see what answers at {setting}; {changed}"
                raise

        return read_or_explain

    @cached_property
    def rules(self) -> Mapping[str, TableRules]:
        """Rules by which rows are recomputed, by table."""
        return {
            self.table.name: build_table_rules(self.declared, self.dataset.contract, self.forms)
        }

    def open(self, given: Environment) -> AbstractContextManager[DocumentSource]:
        """Open the source that the settings choose.

        Raises:
            ConfigurationError: They choose none.
        """
        texts, source = self.texts, self.declared.source
        values = source_values(given.settings, texts.domain)
        if values.source is None or not isinstance(source, HttpSource):
            raise switched_off(texts.title, texts.setting, "api")
        return open_documents(
            given,
            self.documents,
            domain=texts.domain,
            source=values.source,
            url=values.api_url,
            demo_path=self.demo_path,
            label=f"{texts.publisher[0].upper()}{texts.publisher[1:]}",
            requests_per_second=source.requests_per_second,
        )

    def limits(self, settings: Settings, today: date) -> LoadLimits:
        """Return the limits of loads that the settings give."""
        values = source_values(settings, self.texts.domain)
        return LoadLimits(
            first_day=values.first_from(today),
            horizon=timedelta(days=self.horizon_days),
            max_reject_ratio=values.max_reject_ratio,
            freshness_grace=timedelta(hours=self.declared.grace_hours),
            max_runs_per_tick=MAX_RUNS_PER_TICK,
        )

    def unused(self, settings: Settings) -> str:
        """Return why there is nothing to probe; empty: there is."""
        texts = self.texts
        is_off = source_values(settings, texts.domain).source is None
        return f"{texts.setting} is not set: no {texts.records} are fetched" if is_off else ""


def packaged_domain(
    source: PackagedSource,
    module: str,
    draw: Callable[[], "Sequence[dg.AssetsDefinition]"] = tuple,
) -> Domain:
    """Return the domain of a packaged source, whose dataset is all that it has.

    ``module`` is the name of the module that has its rules as ``RULES``; ``draw`` returns its
    charts.
    """
    domain = source.texts.domain
    return domain_of(
        domain,
        [source.dataset],
        draw=draw,
        registrations=[FormulaModule(module)],
        recoveries=[build_recovery(domain, source.source_dataset)],
        connections={
            domain: Connection(
                description=f"Source of {source.texts.subject}.",
                shown_name=source.texts.publisher,
                open=source.open,
                preflight=domain,
                probe=lambda opened, _: f"it lists {len(opened.partitions().known)} days",
                tried=lambda _: source.probe,
                unused=source.unused,
            )
        },
    )


def dataset_of(declaration: Declaration, domain: str = "") -> Dataset:
    """Return a declared dataset as all engines have it; by default, of the project's domain."""
    declared, source = declaration.dataset, declaration.dataset.source
    return Dataset(
        domain=domain or own_domain(),
        table=declaration.table,
        partitioning=build_partitioning(declared),
        source_dataset=declared.name,
        lists_fields=isinstance(source, HttpSource) and source.field_list is not None,
        count_records=build_counter(source.reading),
        declared_in=declaration.file,
        contract=build_contract(declared, declaration.table, declaration.fields, declaration.code),
        parse=partial(parse_recorded, declared),
        after_load=append_state if declared.is_incremental else None,
        resource=name_own_resource(declared),
        source_label=f"the source of {declared.name}",
        source_description=f"the source that {declaration.file} declares",
        limits=partial(_build_limits, declared),
        licence=declared.licence,
        owners=declared.owners,
        min_size_ratio=_find_min_size_ratio(declared),
        reread_count=0 if declared.is_incremental else declared.partitions.reread_count,
    )


def name_own_resource(declared: Declared) -> str:
    """Return the name of the Dagster resource of a dataset that the project declares."""
    return f"{own_domain()}_{declared.name}_source"


def _find_min_size_ratio(declared: Declared) -> float | None:
    return next(
        (check.min_ratio for check in declared.checks if isinstance(check, UsualSize)), None
    )


def _build_limits(declared: Declared, _: Settings, today: date) -> LoadLimits:
    published = declared.partitions.published_at
    after_midnight = timedelta(hours=published.hour, minutes=published.minute)
    return LoadLimits(
        first_day=declared.partitions.since,
        horizon=min(A_YEAR, today - declared.partitions.since),
        max_reject_ratio=declared.max_reject_ratio,
        freshness_grace=after_midnight + timedelta(hours=declared.grace_hours),
        max_runs_per_tick=MAX_RUNS_PER_TICK,
    )


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


def documents_of(declared: Declared) -> Documents:
    """Return how the partitions of a dataset are spread over the documents that it declares."""
    return Documents(
        listings_of=partial(select_listings, declared),
        names_of=partial(select_names, declared),
        partitions_in=partial(read_partitions, declared),
        version_in=partial(find_version, declared),
        zone=declared.partitions.calendar.zone,
    )
