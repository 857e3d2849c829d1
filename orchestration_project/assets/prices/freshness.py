"""The check whether daily prices are as new as the calendar of the exchange, and its job."""

from datetime import date
from typing import Any

import dagster as dg

from orchestration_project.assets.prices.catalogue import DAILY, GROUP
from orchestration_project.assets.specs import (
    FRESHNESS_CHECK,
    build_freshness_job,
    find_paused_result,
    freshness_check,
)
from orchestration_project.domains.prices.settings import PricesSettings
from orchestration_project.engine.announcements import normalise_metadata
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.prices.universe import (
    find_oldest_unloaded_session,
    first_price_month,
    wanted_symbols,
)
from orchestration_project.services.metadata import build_result, mark_not_applicable

SECONDS_PER_DAY = 24 * 60 * 60


@freshness_check(
    DAILY, "Every wanted symbol has all sessions that are due, once prices were loaded."
)
def as_new_as_the_calendar(
    clock: dg.ResourceParam[Clock],
    settings: dg.ResourceParam[PricesSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.AssetCheckResult:
    """Compare the loaded sessions with those that are due, without a request to a source."""
    if paused := find_paused_result(warehouse, DAILY):
        return paused
    now, today = clock.now(), clock.today_in_new_york()
    symbols = wanted_symbols(settings, warehouse)
    first_month: date = first_price_month(settings, today)
    late = find_oldest_unloaded_session(warehouse, symbols, now, first_month=first_month)
    metadata: dict[str, Any] = {"symbols_wanted": len(symbols), "days_late": 0}
    if not symbols:
        metadata = {**mark_not_applicable("no symbol is wanted"), **metadata}
    if late is not None:
        metadata |= {
            "oldest_month": late.partition,
            "due_at": late.due_at,
            "days_late": round((now - late.due_at).total_seconds() / SECONDS_PER_DAY, 1),
            "months_late": late.missing_count,
            "months_quarantined": late.quarantined_count,
            "what_to_do": late.next_step,
        }
    severity = dg.AssetCheckSeverity.WARN
    values = normalise_metadata(metadata)
    return build_result(DAILY, FRESHNESS_CHECK, values, severity, passed=late is None)


prices_freshness_job = build_freshness_job(
    GROUP,
    [as_new_as_the_calendar],
    "Checks whether daily prices are as new as the calendar of the exchange.",
)
