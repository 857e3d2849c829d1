"""FX: the ECB's euro reference rates by day."""

from contextlib import AbstractContextManager
from datetime import date, timedelta

from orchestration_project.catalog.factory import domain_of, open_documents
from orchestration_project.domains.fx import rates as fx
from orchestration_project.engine.dataset import Dataset, LoadLimits
from orchestration_project.engine.document_source import (
    Documents,
    DocumentSource,
    document_recovery,
)
from orchestration_project.registry import Connection, Environment, FormulaModule
from orchestration_project.settings import Settings, switched_off
from orchestration_project.settings.domains.fx import FxSettings
from orchestration_project.tables.fx import fx_rates_daily

A_YEAR = timedelta(days=365)
REQUESTS_PER_SECOND = 2
"""The ECB names no limit; a run needs three documents at most."""

DOCUMENTS = Documents(
    listings_of=fx.listings_of,
    names_of=fx.documents_of,
    partitions_in=fx.partitions_in,
    version_in=fx.version_in,
    zone=fx.CALENDAR.zone,
)


def _open(given: Environment) -> AbstractContextManager[DocumentSource]:
    settings = FxSettings.of(given.settings)
    if settings.fx_source is None:
        raise switched_off("FX", "FX_SOURCE", "api")
    return open_documents(
        given,
        DOCUMENTS,
        domain="fx",
        source=settings.fx_source,
        url=settings.fx_api_url,
        demo_path="eurofxref",
        label="The ECB",
        requests_per_second=REQUESTS_PER_SECOND,
    )


def _limits(settings: Settings, today: date) -> LoadLimits:
    settings = FxSettings.of(settings)
    return LoadLimits(
        first_day=settings.fx_first_day or today - A_YEAR,
        horizon=fx.RECENT,
        max_reject_ratio=settings.fx_max_reject_ratio,
        freshness_grace=timedelta(hours=12),
        max_runs_per_tick=10,
    )


def _unused(settings: Settings) -> str:
    is_off = FxSettings.of(settings).fx_source is None
    return "FX_SOURCE is not set: no rates are fetched" if is_off else ""


RATES = Dataset(
    domain="fx",
    table=fx_rates_daily,
    contract=fx.CONTRACT,
    partitioning=fx.PARTITIONING,
    parse=fx.parse,
    resource="fx",
    source_dataset="eurofxref",
    count_records=fx.count_rates,
    source_label="the ECB's euro reference rates",
    source_description="the ECB's documents of euro reference rates",
    limits=_limits,
    licence="ECB: free reuse, with the source named",
)

FX = domain_of(
    "fx",
    [RATES],
    registrations=[
        document_recovery("fx", RATES.source_dataset),
        FormulaModule("orchestration_project.domains.fx.formulas"),
    ],
    resources={
        "fx": Connection(
            description="Source of euro reference rates.",
            shown_name="the ECB",
            open=_open,
            preflight="fx",
            probe=lambda source, _: f"it lists {len(source.partitions().known)} days",
            tried=lambda _: "fetched the rates of the last 90 days",
            unused=_unused,
        )
    },
)
