"""Cboe: daily market volume of every US exchange, and of trading off exchange."""

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import date, timedelta
from typing import cast

from orchestration_project.assets import cboe as assets
from orchestration_project.catalog.factory import domain_of, open_documents
from orchestration_project.contracts.balance import count_lines
from orchestration_project.contracts.pipelines import Parameter
from orchestration_project.domains.cboe import volume
from orchestration_project.engine.conservation import list_equations
from orchestration_project.engine.dataset import Dataset, LoadLimits
from orchestration_project.engine.document_source import (
    Documents,
    DocumentSource,
    document_recovery,
)
from orchestration_project.engine.warehouse.frames import Scope
from orchestration_project.engine.warehouse.target import Transform
from orchestration_project.registry import AsOfModule, Connection, Environment, FormulaModule, Job
from orchestration_project.sensors import cboe as sensors
from orchestration_project.settings import Settings, switched_off
from orchestration_project.settings.sources import source_values
from orchestration_project.tables.cboe import (
    MADE_OF,
    market_volume_daily,
    off_exchange_share_daily,
    off_exchange_share_weekly,
)

REQUESTS_PER_SECOND = 2
"""Cboe names no limit; a run needs a file for each year."""

DOCUMENTS = Documents(
    listings_of=volume.listings_of,
    names_of=volume.documents_of,
    partitions_in=volume.partitions_in,
    version_in=volume.version_in,
    zone=volume.CALENDAR.zone,
)


def _open(given: Environment) -> AbstractContextManager[DocumentSource]:
    values = source_values(given.settings, "cboe")
    if values.source is None:
        raise switched_off("Cboe", "CBOE_SOURCE", "api")
    return open_documents(
        given,
        DOCUMENTS,
        domain="cboe",
        source=values.source,
        url=values.api_url,
        demo_path="cboe",
        label="Cboe",
        requests_per_second=REQUESTS_PER_SECOND,
    )


def _limits(settings: Settings, today: date) -> LoadLimits:
    values = source_values(settings, "cboe")
    return LoadLimits(
        first_day=values.first_from(today),
        horizon=volume.RECENT,
        max_reject_ratio=values.max_reject_ratio,
        freshness_grace=timedelta(hours=12),
        max_runs_per_tick=10,
    )


def _unused(settings: Settings) -> str:
    is_off = source_values(settings, "cboe").source is None
    return "CBOE_SOURCE is not set: no market volume is fetched" if is_off else ""


def _week_of(partition: Scope) -> Scope:
    """Return the week that a day is part of."""
    return {"week_start": volume.monday_of(cast("date", partition["trade_date"]))}


VOLUME = Dataset(
    domain="cboe",
    table=market_volume_daily,
    contract=volume.CONTRACT,
    partitioning=volume.PARTITIONING,
    parse=volume.parse,
    resource="cboe",
    source_dataset="market_history",
    count_records=count_lines,
    source_label="Cboe's historical market volume",
    source_description="Cboe's yearly files of market volume",
    limits=_limits,
    transforms={
        off_exchange_share_daily: Transform(
            volume.off_exchange_daily, conservation=volume.CONSERVATION
        )
    },
    made_of=MADE_OF,
    dependents={off_exchange_share_weekly: _week_of},
    licence="Cboe: published for free; its website's terms of use apply",
)

WEEK = Parameter(
    name="partition",
    to_key=lambda text: volume.WEEKS.key_of(volume.WEEKS.partition_of(text, today=date.max)),
)

_DATASETS = domain_of(
    "cboe",
    [VOLUME],
    drawn=[assets.off_exchange_chart],
    registrations=[document_recovery("cboe", VOLUME.source_dataset)],
    resources={
        "cboe": Connection(
            description="Source of daily market volume.",
            shown_name="Cboe",
            open=_open,
            preflight="cboe",
            probe=lambda source, _: f"it lists {len(source.partitions().known)} days",
            tried=lambda _: "fetched the file of the present year",
            unused=_unused,
        )
    },
)

_WEEKS_JOB = Job(
    definition=assets.off_exchange_weeks_job, parameters=(WEEK,), first_setting="CBOE_FIRST_DAY"
)

CBOE = replace(
    _DATASETS,
    assets=[
        *_DATASETS.assets,
        *([assets.off_exchange_weeks] if assets.HAS_FINRA else []),
    ],
    jobs=[
        *_DATASETS.jobs,
        *([_WEEKS_JOB] if assets.HAS_FINRA else []),
    ],
    sensors=[*_DATASETS.sensors, *([sensors.cboe_on_landing] if assets.HAS_FINRA else [])],
    registrations=[
        *_DATASETS.registrations,
        AsOfModule("orchestration_project.resources.cboe"),
        FormulaModule("orchestration_project.domains.cboe.formulas"),
        *list_equations([volume.CONSERVATION]),
    ],
)
