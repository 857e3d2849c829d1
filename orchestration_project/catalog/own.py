"""The domain of the sources that a project declares in its own folder, under the project's name."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from functools import cache, partial

from sqlalchemy import Table

from orchestration_project.assets.own_derived import DerivedAssets, derived_assets
from orchestration_project.catalog.factory import domain_of
from orchestration_project.connections.clock import Clock
from orchestration_project.connections.http import HttpClient
from orchestration_project.connections.http.connecting import user_agent
from orchestration_project.contracts.subjects import (
    CapturedLines,
    CapturedRecords,
    IdentifyingColumn,
    SubjectKind,
)
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.dataset import Dataset, LoadLimits
from orchestration_project.engine.environment import open_shared_state
from orchestration_project.engine.own_derived import own_derivations
from orchestration_project.engine.own_sources import Declaration, own_declarations
from orchestration_project.own.contracts import contract_of, parse_delivery, partitioning_of
from orchestration_project.own.declarations import Dataset as Declared
from orchestration_project.own.declarations import Field, HttpSource, UsualSize
from orchestration_project.own.records import counter_of
from orchestration_project.registry import AsOfModule, Connection, Domain, Environment, Job
from orchestration_project.resources.own import OwnFileSource, OwnHttpSource, OwnSource
from orchestration_project.sensors.own_derived import derived_sensor
from orchestration_project.services.erasure.requests import SubjectKinds
from orchestration_project.settings import Settings, project_folder
from orchestration_project.settings.project import own_domain

A_YEAR = timedelta(days=365)
MAX_RUNS_PER_TICK = 10


@contextmanager
def open_source(
    declared: Declared, given: Environment, captures: Captures | None = None
) -> Iterator[OwnSource]:
    """Open the source of a dataset; without ``captures``, its answers are stored as always."""
    source = declared.source
    captures = given.captures if captures is None else captures
    if not isinstance(source, HttpSource):
        yield OwnFileSource(declared, captures, given.clock, source, project_folder())
        return
    with HttpClient(
        system=f"{own_domain()}_{declared.name}",
        state=open_shared_state(given.settings),
        requests_per_second=source.requests_per_second,
        now=Clock().now,
        user_agent=user_agent(),
        asks_anyway=given.asks_anyway,
        max_attempts=source.max_attempts,
        accepts_encodings=True,
    ) as http:
        yield OwnHttpSource(declared, captures, given.clock, source, http)


def _connection(declared: Declared) -> Connection[OwnSource]:
    return Connection(
        description=f"Source of {declared.name}, which this project declares.",
        shown_name=f"the source of {declared.name}",
        open=partial(open_source, declared),
        preflight=None,
    )


def _limits(declared: Declared, _: Settings, today: date) -> LoadLimits:
    published = declared.partitions.published_at
    after_midnight = timedelta(hours=published.hour, minutes=published.minute)
    return LoadLimits(
        first_day=declared.partitions.since,
        horizon=min(A_YEAR, today - declared.partitions.since),
        max_reject_ratio=declared.max_reject_ratio,
        freshness_grace=after_midnight + timedelta(hours=declared.grace_hours),
        max_runs_per_tick=MAX_RUNS_PER_TICK,
    )


def dataset_of(declaration: Declaration) -> Dataset:
    """Return a declared dataset as all engines have it."""
    declared = declaration.dataset
    return Dataset(
        domain=own_domain(),
        table=declaration.table,
        partitioning=partitioning_of(declared),
        source_dataset=declared.name,
        count_records=counter_of(declared.source.reading),
        declared_in=declaration.file,
        contract=contract_of(declared, declaration.table, declaration.fields, declaration.code),
        parse=partial(parse_delivery, declared),
        resource=_resource(declared),
        source_label=f"the source of {declared.name}",
        source_description=f"the source that {declaration.file} declares",
        limits=partial(_limits, declared),
        licence=declared.licence,
        owners=declared.owners,
        min_size_ratio=_min_size_ratio(declared),
        reread_count=declared.partitions.reread_count,
    )


def _min_size_ratio(declared: Declared) -> float | None:
    return next((each.min_ratio for each in declared.checks if isinstance(each, UsualSize)), None)


def _resource(declared: Declared) -> str:
    return f"{own_domain()}_{declared.name}_source"


def _subject_kinds(_: Settings) -> Sequence[SubjectKind]:
    places: dict[str, list[tuple[IdentifyingColumn, str]]] = {}
    records: dict[str, list[CapturedLines | CapturedRecords]] = {}
    for table, field in _subject_fields():
        place = IdentifyingColumn(column=table.c[field.name]), f"{table.name}.{field.name}"
        places.setdefault(field.subject, []).append(place)
    for declaration in own_declarations():
        for field in declaration.dataset.fields:
            if field.subject:
                captured = _captured(declaration.dataset, field)
                records.setdefault(field.subject, []).append(captured)
    return [
        SubjectKind(
            name=name,
            description=f"value of {', '.join(text for _, text in entries)}",
            columns=[column for column, _ in entries],
            records=records.get(name, []),
        )
        for name, entries in places.items()
    ]


def _subject_fields() -> Iterator[tuple[Table, Field]]:
    """Yield the fields that identify a person or thing, with their tables."""
    for loaded in own_declarations():
        yield from ((loaded.table, field) for field in loaded.dataset.fields if field.subject)
    for made in own_derivations():
        yield from ((made.table, field) for field in made.derived.fields if field.subject)


def _captured(declared: Declared, field: Field) -> CapturedLines | CapturedRecords:
    """Return where captured bytes have the records of a subject."""
    reading = declared.source.reading
    source = "http" if isinstance(declared.source, HttpSource) else "files"
    if reading.format == "csv":
        return CapturedLines(
            source=source,
            dataset=declared.name,
            delimiter=reading.delimiter,
            field=field.source_name,
        )
    return CapturedRecords(
        source=source,
        dataset=declared.name,
        records=tuple(filter(None, reading.records.split("."))),
        path=tuple(field.source_name.split(".")),
    )


@cache
def import_own_domain() -> Domain:
    """Return the domain of the project's own sources and derived tables.

    Raises:
        ConfigurationError: A declaration is wrong.
    """
    declared = own_declarations()
    made = Domain(name=own_domain())
    if declared:
        made = domain_of(
            own_domain(),
            [dataset_of(each) for each in declared],
            resources={_resource(each.dataset): _connection(each.dataset) for each in declared},
            has_source_setting=False,
        )
    registered = [*made.registrations, SubjectKinds(_subject_kinds)]
    return _with_derived(replace(made, registrations=registered))


def _with_derived(domain: Domain) -> Domain:
    """Return a domain with assets, jobs and sensors of the tables that the project derives.

    Raises:
        ConfigurationError: A declaration is wrong.
    """
    made = [derived_assets(declaration) for declaration in own_derivations()]
    if not made:
        return domain
    return replace(
        domain,
        assets=[*domain.assets, *(each.table for each in made)],
        jobs=[*domain.jobs, *map(_job_of, made)],
        sensors=[*domain.sensors, *map(derived_sensor, made)],
        registrations=[
            *domain.registrations,
            AsOfModule("orchestration_project.resources.own_derived"),
        ],
    )


def _job_of(made: DerivedAssets) -> Job:
    return Job(definition=made.job, parameters=())
