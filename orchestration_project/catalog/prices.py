"""Prices: daily prices by symbol and month, and what is derived of them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from orchestration_project.domains.prices.calendar import month_named, month_of
from orchestration_project.domains.prices.settings import PricesSettings
from orchestration_project.domains.prices.tables import prices_daily
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.pipelines import Parameter
from orchestration_project.engine.contracts.problems import OldestMissing
from orchestration_project.engine.listed_datasets import DatasetList
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import Scope, find_range
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.registry import (
    AsOfModule,
    Connection,
    ConnectionMaker,
    Domain,
    DomainDefinitions,
    FormulaModule,
    Job,
    PartitionedTable,
)
from orchestration_project.resources.prices.universe import (
    find_oldest_unloaded_session,
    first_price_month,
    list_datasets,
    list_unloaded_months,
    wanted_symbols,
)
from orchestration_project.resources.prices.work import SYMBOLS_TOPIC
from orchestration_project.services.status import Deadlines, ItemTopics
from orchestration_project.settings import Settings

MONTH = Parameter(name="month", to_key=month_named)
FIRST_MONTH = "PRICES_FIRST_MONTH"


def _find_oldest_unloaded(
    settings: Settings, warehouse: Warehouse, clock: Clock
) -> Sequence[OldestMissing]:
    first_month = first_price_month(settings, clock.today_in_new_york())
    symbols = wanted_symbols(settings, warehouse)
    oldest_missing = find_oldest_unloaded_session(
        warehouse, symbols, clock.now(), first_month=first_month
    )
    return [oldest_missing] if oldest_missing else []


def _find_missing_months(
    settings: Settings, warehouse: Warehouse, now: datetime, keys: Sequence[str]
) -> Collection[str]:
    """Return the months that a symbol lacks."""
    months = [date.fromisoformat(key) for key in keys]
    days = list_unloaded_months(warehouse, wanted_symbols(settings, warehouse), months, now)
    return {month.isoformat() for month in days}


def _find_months(_: str, scope: Scope) -> tuple[str, str] | None:
    """Return the first and last partition of the days that a symbol's delivery covers."""
    days = find_range(scope)
    if days is None:
        return None
    from orchestration_project.assets.prices.catalogue import MONTHS

    first = max(month_of(days.first), MONTHS.start.date())
    return first.isoformat(), month_of(days.last).isoformat()


def _explain_unused(settings: Settings) -> str:
    settings = PricesSettings.of(settings)
    return "" if settings.prices_source else "PRICES_SOURCE is not set: no prices are requested"


def _build_definitions() -> DomainDefinitions:
    from orchestration_project.assets import prices
    from orchestration_project.assets.replays import build_replay_job
    from orchestration_project.engine.options import build_real_config
    from orchestration_project.resources.prices.source import RECOVERIES
    from orchestration_project.sensors import prices as sensors

    return DomainDefinitions(
        assets=[prices.quotes, prices.charts, prices.daily, prices.derived, prices.spellings],
        asset_checks=[prices.as_new_as_the_calendar],
        jobs=[
            Job(
                definition=prices.daily_job,
                parameters=(MONTH,),
                missing=_find_missing_months,
                first_setting=FIRST_MONTH,
            ),
            Job(
                definition=prices.backfill_job,
                parameters=(),
                real_config=build_real_config("launch_prices_backfill"),
            ),
            Job(definition=prices.charts_job, parameters=()),
            Job(definition=prices.prices_freshness_job, parameters=()),
            Job(definition=prices.gold_job, parameters=()),
            build_replay_job("prices", [prices.DAILY_REPLAY]),
        ],
        schedules=[
            sensors.prices_daily_after_close,
            sensors.prices_freshness_daily,
            sensors.prices_waiting_hourly,
        ],
        sensors=[sensors.prices_on_landing, sensors.prices_on_new_symbol],
        replays=[prices.DAILY_REPLAY],
        registrations=RECOVERIES,
    )


def _connections() -> Mapping[str, Connection[Any]]:
    from orchestration_project.resources.prices.connection import in_second_place, opened_prices

    return {
        "prices": Connection(
            description="Source of daily prices.",
            open=lambda given: opened_prices(
                given.settings, given.captures, given.clock, breaker=given.breaker
            ),
            preflight="prices",
            probe=lambda source, _: f"{source.name}: {source.ready()}",
            tried=lambda _: "asked the source of prices whether it answers",
            unused=lambda settings: (
                ""
                if PricesSettings.of(settings).prices_source
                else "PRICES_SOURCE is not set: no prices are requested"
            ),
        ),
        "prices_second": Connection(
            description="Another source of daily prices to compare with.",
            open=lambda given: opened_prices(
                in_second_place(given.settings), given.captures, given.clock
            ),
            preflight="prices",
        ),
    }


PRICES = Domain(
    name="prices",
    source_setting="prices_source",
    define=_build_definitions,
    tables=[
        PartitionedTable(
            table=prices_daily,
            scope_of=lambda symbol: {"symbol": symbol},
            partitions_of=_find_months,
        )
    ],
    registrations=[
        AsOfModule("orchestration_project.resources.prices.gold"),
        ConnectionMaker(_connections),
        FormulaModule("orchestration_project.domains.prices.formulas"),
        DatasetList(list_datasets),
        Deadlines(_find_oldest_unloaded),
        ItemTopics(prefix=SYMBOLS_TOPIC, open=WorkItems),
    ],
)
