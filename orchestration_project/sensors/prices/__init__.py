"""When prices are loaded and derived from."""

from orchestration_project.sensors.prices.schedules import (
    prices_daily_after_close,
    prices_freshness_daily,
    prices_waiting_hourly,
)
from orchestration_project.sensors.prices.symbols import prices_on_landing, prices_on_new_symbol

__all__ = [
    "prices_daily_after_close",
    "prices_freshness_daily",
    "prices_on_landing",
    "prices_on_new_symbol",
    "prices_waiting_hourly",
]
