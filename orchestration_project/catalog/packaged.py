"""Domains of the package with one source, which is declared as a project declares its own.

The table of such a dataset stays declared in `tables`, and its settings in `settings.domains`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from sqlalchemy import Column, Table

from orchestration_project.catalog.factory import domain_of, open_documents
from orchestration_project.catalog.own import dataset_of, documents_of
from orchestration_project.engine.contracts.capture_forms import Form
from orchestration_project.engine.contracts.formulas import TableRules
from orchestration_project.engine.dataset import Dataset, LoadLimits
from orchestration_project.engine.document_source import (
    Documents,
    DocumentSource,
    build_recovery,
)
from orchestration_project.engine.own.declarations import Dataset as Declared
from orchestration_project.engine.own.packaged import build_table_rules
from orchestration_project.engine.own.sources import HttpSource
from orchestration_project.engine.own_sources import Declaration
from orchestration_project.engine.warehouse.target import Dependents, Derive
from orchestration_project.errors import SourceError
from orchestration_project.registry import Connection, Domain, Environment, FormulaModule
from orchestration_project.settings import Settings, switched_off
from orchestration_project.settings.sources import SourceTexts, source_values
from orchestration_project.tables.schema import Field

if TYPE_CHECKING:
    from dagster import AssetsDefinition

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
            parse=self._with_remedy(made_dataset.parse),
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
    draw: Callable[[], "Sequence[AssetsDefinition]"] = tuple,
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
