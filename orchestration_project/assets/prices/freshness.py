"""The check whether daily prices are as new as the calendar of the exchange, and its job."""

from datetime import date
from typing import Any

import dagster as dg

from orchestration_project.assets.factory import FRESHNESS_CHECK
from orchestration_project.assets.prices.catalogue import DAILY, GROUP, first_price_month
from orchestration_project.connections.clock import Clock
from orchestration_project.engine.announcements import event_metadata
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.prices.universe import oldest_unlanded_session, wanted_symbols
from orchestration_project.services.metadata import (
    FRESHNESS_REMEDY,
    describe_check,
    not_applicable,
    summary_of,
)
from orchestration_project.settings.domains.prices import PricesSettings

SECONDS_PER_DAY = 24 * 60 * 60


@dg.asset_check(
    asset=DAILY,
    name=FRESHNESS_CHECK,
    **describe_check(
        "Every wanted symbol has all sessions that are due, once prices were loaded.",
        severity=dg.AssetCheckSeverity.WARN,
        remedy=FRESHNESS_REMEDY,
    )._asdict(),
)
def as_new_as_the_calendar(
    clock: dg.ResourceParam[Clock],
    settings: dg.ResourceParam[PricesSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.AssetCheckResult:
    """Compare what is loaded with the sessions that are due; no source is asked."""
    now, today = clock.now(), clock.today_in_new_york()
    symbols = wanted_symbols(settings, warehouse)
    first_month: date = first_price_month(settings, today)
    late = oldest_unlanded_session(warehouse, symbols, now, first_month=first_month)
    metadata: dict[str, Any] = {"symbols_wanted": len(symbols), "days_late": 0}
    if not symbols:
        metadata = {**not_applicable("no symbol is wanted"), **metadata}
    if late is not None:
        metadata |= {
            "oldest_month": late.partition,
            "due_at": late.due_at,
            "days_late": round((now - late.due_at).total_seconds() / SECONDS_PER_DAY, 1),
            "what_to_do": f"run prices_daily for {late.partition}",
        }
    return dg.AssetCheckResult(
        asset_key=DAILY,
        check_name=FRESHNESS_CHECK,
        passed=late is None,
        severity=dg.AssetCheckSeverity.WARN,
        description=summary_of(metadata),
        metadata=event_metadata(metadata),
    )


freshness_job = dg.define_asset_job(
    "prices_freshness",
    selection=dg.AssetSelection.checks(as_new_as_the_calendar),
    description="Checks whether daily prices are as new as the calendar of the exchange.",
    tags={"domain": GROUP},
)
