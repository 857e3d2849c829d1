"""The domain of the sources that a project declares in its own folder, under the project's name."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from orchestration_project.catalog.factory import (
    dataset_of,
    documents_of,
    domain_of,
    name_own_resource,
)
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.dlt_private import read_dlt_version
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.contracts.subjects import SubjectKind
from orchestration_project.engine.dlt_deliveries import DltReader
from orchestration_project.engine.dlt_states import StartState, read_start_state
from orchestration_project.engine.document_source import (
    DocumentSource,
    build_recovery,
)
from orchestration_project.engine.environment import open_client
from orchestration_project.engine.listed_datasets import DatasetList, ListedDataset
from orchestration_project.engine.own.contracts import build_partitioning
from orchestration_project.engine.own.declarations import Dataset as Declared
from orchestration_project.engine.own.dlt_source import DltSource
from orchestration_project.engine.own.sources import FileSource
from orchestration_project.engine.own_derived import DerivedDeclaration, load_derivations
from orchestration_project.engine.own_sources import load_declarations
from orchestration_project.engine.source import Source
from orchestration_project.registry import (
    AsOfModule,
    Connection,
    Domain,
    DomainDefinitions,
    Environment,
    Job,
)
from orchestration_project.services.erasure.requests import SubjectKinds, build_subject_kinds
from orchestration_project.settings import Settings, project_folder
from orchestration_project.settings.project import own_domain

if TYPE_CHECKING:
    from orchestration_project.engine.http import HttpClient
    from orchestration_project.resources.own import OwnDltSource


@contextmanager
def open_source(
    declared: Declared, given: Environment, captures: Captures | None = None
) -> Iterator[Source]:
    """Open the source of a dataset; without ``captures``, its answers are stored as always."""
    from orchestration_project.engine.http import AnswerLimits, RetryPolicy
    from orchestration_project.resources.own import OwnFileSource, OwnHttpSource, query_source

    source = declared.source
    captures = given.captures if captures is None else captures
    if isinstance(source, FileSource):
        yield OwnFileSource(declared, captures, given.clock, source, project_folder())
        return
    with open_client(
        given.settings,
        f"{own_domain()}_{declared.name}",
        requests_per_second=source.requests_per_second,
        retries=RetryPolicy(source.max_attempts),
        breaker=given.breaker,
        limits=AnswerLimits(accepts_encodings=True),
    ) as http:
        if isinstance(source, DltSource):
            yield _build_dlt_source(declared, source, http, captures, given)
        elif source.documents:
            yield DocumentSource(
                http,
                captures,
                given.clock,
                documents_of(declared),
                source_name="http",
                base_url=source.url,
                label=f"the source of {declared.name}",
            )
        else:
            start_of = _start_of(declared, given)
            http_source = OwnHttpSource(declared, captures, given.clock, source, http, start_of)
            yield query_source(http_source) if declared.has_total else http_source


def _start_of(declared: Declared, given: Environment) -> Callable[[Partition], StartState]:
    """Return the reader of the state that a partition of an incremental source starts from."""
    key_of = build_partitioning(declared).key_of
    return lambda partition: read_start_state(given.settings, declared.name, key_of(partition))


def _build_dlt_source(
    declared: Declared,
    source: DltSource,
    http: "HttpClient",
    captures: Captures,
    given: Environment,
) -> "OwnDltSource":
    from orchestration_project.resources.own import OwnDltSource, secret

    read_dlt_version()
    reader = DltReader(
        declared,
        source,
        http,
        captures,
        given.clock,
        secrets=lambda: {name: secret(setting) for name, setting in source.secrets.items()},
        start_of=_start_of(declared, given),
    )
    return OwnDltSource(declared, captures, given.clock, reader)


def _build_connection(declared: Declared) -> Connection[Source]:
    return Connection(
        description=f"Source of {declared.name}, which this project declares.",
        shown_name=f"the source of {declared.name}",
        open=partial(open_source, declared),
        preflight=None,
    )


def _list_subject_kinds(_: Settings) -> Sequence[SubjectKind]:
    tables = [declaration.table for declaration in load_declarations()]
    kinds = build_subject_kinds([*tables, *(derivation.table for derivation in load_derivations())])
    return [kind for name, kind in kinds.items() if name.startswith(f"{own_domain()}/")]


def _list_table(derived: DerivedDeclaration) -> ListedDataset:
    return ListedDataset(derived.job_name, derived.description, [derived.table.name])


@cache
def import_own_domain() -> Domain:
    """Return the domain of the project's own sources and derived tables.

    Raises:
        ConfigurationError: A declaration is wrong.
    """
    declared, derived = load_declarations(), load_derivations()
    domain = Domain(name=own_domain())
    if declared:
        domain = domain_of(
            own_domain(),
            [dataset_of(declaration) for declaration in declared],
            connections={
                name_own_resource(declaration.dataset): _build_connection(declaration.dataset)
                for declaration in declared
            },
            recoveries=[
                build_recovery(name_own_resource(declaration.dataset), declaration.dataset.name)
                for declaration in declared
            ],
            has_source_setting=False,
        )
    registered = [
        *domain.registrations,
        DatasetList(lambda: [_list_table(derived_declaration) for derived_declaration in derived]),
        SubjectKinds(_list_subject_kinds),
        *([AsOfModule("orchestration_project.resources.own_derived")] if derived else []),
    ]
    return replace(domain, define=partial(_add_derived, domain, derived), registrations=registered)


def _add_derived(domain: Domain, derived: Sequence[DerivedDeclaration]) -> DomainDefinitions:
    """Return the definitions of a domain, with those of the tables that the project derives."""
    from orchestration_project.assets.own_derived import build_derived_assets
    from orchestration_project.sensors.factory import derived_sensor

    definitions = domain.definitions
    derived_assets_list = [build_derived_assets(derivation) for derivation in derived]
    return replace(
        definitions,
        assets=[*definitions.assets, *(parts.table for parts in derived_assets_list)],
        jobs=[
            *definitions.jobs,
            *(Job(definition=parts.job, parameters=()) for parts in derived_assets_list),
        ],
        sensors=[*definitions.sensors, *map(derived_sensor, derived_assets_list)],
    )
