"""Cboe: daily market volume of every US exchange, and of trading off exchange.

Cboe publishes a CSV file per year, which grows by a day each evening. Its fields and names were
compared in public clients: `log_pose.market` and a scraper of the Texas Stock Exchange's volume
(2026, address, header, ISO days, totals), the database of a Taiwanese client (column names), and
`01_daily_volume.q` of dpkwhan/dv (names of participants from 2007 to 2019, and which of them are
off exchange). A participant is a name with letters in parentheses. Exchanges were renamed and kept
their letters, so the letters are the key.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, cast

from orchestration_project import Daily, Dataset, Document, http_source
from orchestration_project.catalog.factory import PackagedSource, packaged_domain
from orchestration_project.domains.cboe import volume
from orchestration_project.domains.cboe.settings import FIRST_DAY, URL
from orchestration_project.domains.cboe.settings import VOLUME as TEXTS
from orchestration_project.domains.cboe.tables import (
    CODE_FIELD,
    MADE_OF,
    MARKET_VOLUME_FIELDS,
    market_volume_daily,
    off_exchange_share_daily,
    off_exchange_share_weekly,
)
from orchestration_project.engine.conservation import list_equations
from orchestration_project.engine.contracts.capture_forms import build_delimited_form
from orchestration_project.engine.contracts.pipelines import Parameter
from orchestration_project.engine.listed_datasets import DatasetList, ListedDataset
from orchestration_project.engine.own.packaged import build_fields
from orchestration_project.engine.warehouse.frames import Scope
from orchestration_project.engine.warehouse.target import Transform
from orchestration_project.registry import AsOfModule, DomainDefinitions, Job
from orchestration_project.settings import domains_on, load_shared_settings

if TYPE_CHECKING:
    from dagster import AssetsDefinition

FILE_FIELDS = [field.name for field in MARKET_VOLUME_FIELDS if field.name != CODE_FIELD]


def _find_week(partition: Scope) -> Scope:
    """Return the week that a day is part of."""
    return {"week_start": volume.monday_of(cast("date", partition["trade_date"]))}


SOURCE = PackagedSource(
    texts=TEXTS,
    declared=Dataset(
        market_volume_daily.name,
        key=["trade_date", "participant_code"],
        partitions=Daily(FIRST_DAY, calendar="XNYS", zone="America/New_York", column="trade_date"),
        fields=build_fields(MARKET_VOLUME_FIELDS),
        source=http_source(
            URL,
            documents=[Document("market_history_{partition:%Y}.csv")],
            format="csv",
            extract={CODE_FIELD: ("Market Participant", r"\(([^()]*)\)\s*$")},
            expects=f"a file of Cboe's market volume: text in UTF-8 with a header "
            f"{','.join(FILE_FIELDS)}; lines that begin with a day, yyyy-mm-dd, and a whole last "
            "line; days of one year",
        ),
        checks=volume.CLAIMS,
        licence="Cboe: published for free; its website's terms of use apply",
        owners=["team:market-data"],
        rule_version="2",
    ),
    table=market_volume_daily,
    fields=MARKET_VOLUME_FIELDS,
    source_dataset="market_history",
    demo_path="cboe",
    horizon_days=30,
    probe="fetched the file of the present year",
    forms=[build_delimited_form(",")],
    transforms={
        off_exchange_share_daily: Transform(
            volume.off_exchange_daily, conservation=volume.CONSERVATION
        )
    },
    dependents={off_exchange_share_weekly: _find_week},
    made_of=MADE_OF,
)
VOLUME, RULES = SOURCE.dataset, {**SOURCE.rules, **volume.OFF_EXCHANGE_RULES}

WEEK = Parameter(
    name="partition",
    to_key=lambda text: volume.WEEKS.key_of(volume.WEEKS.partition_of(text, today=date.max)),
)


def _list_charts() -> "Sequence[AssetsDefinition]":
    from orchestration_project.assets import cboe as assets

    return [assets.off_exchange_chart]


HAS_FINRA = "finra" in domains_on(load_shared_settings())
"""Whether there are FINRA's shares, beside which weeks are derived."""


def _list_weeks() -> Sequence[ListedDataset]:
    if not HAS_FINRA:
        return []
    from orchestration_project.resources.cboe import LISTED_WEEKS  # with tables of FINRA

    return [LISTED_WEEKS]


_DAYS = packaged_domain(SOURCE, __name__, _list_charts)


def _build_definitions() -> DomainDefinitions:
    from orchestration_project.assets import cboe as assets
    from orchestration_project.sensors import cboe as sensors

    days = _DAYS.definitions
    if not HAS_FINRA:
        return days
    weeks_job = Job(
        definition=assets.off_exchange_weeks_job, parameters=(WEEK,), first_setting="CBOE_FIRST_DAY"
    )
    return replace(
        days,
        assets=[*days.assets, assets.off_exchange_weeks],
        jobs=[*days.jobs, weeks_job],
        sensors=[*days.sensors, sensors.cboe_on_landing],
    )


CBOE = replace(
    _DAYS,
    define=_build_definitions,
    registrations=[
        *_DAYS.registrations,
        AsOfModule("orchestration_project.resources.cboe"),
        DatasetList(_list_weeks),
        *list_equations([volume.CONSERVATION]),
    ],
)
