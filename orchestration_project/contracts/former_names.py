"""Former names of jobs, schedules and sensors: what an upgraded installation stored by them."""

from collections.abc import Mapping

FORMER_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("cboe_charts", "cboe_freshness"), "cboe_daily"),
    **dict.fromkeys(("cboe_charts_daily", "cboe_freshness_daily"), "cboe_daily"),
    **dict.fromkeys(("finra_charts", "finra_freshness", "finra_source_checks"), "finra_daily"),
    **dict.fromkeys(("finra_symbols", "finra_trade_activity"), "finra_daily"),
    **dict.fromkeys(("finra_charts_daily", "finra_freshness_daily"), "finra_daily"),
    **dict.fromkeys(("finra_source_checks_daily", "finra_symbols_daily"), "finra_daily"),
    **dict.fromkeys(("fx_freshness", "fx_freshness_daily"), "fx_daily"),
    "finra_on_last_tier": "finra_on_landing",
    "operations_control_tower": "operations_checks",
    "operations_control_tower_at_start": "operations_on_state_change",
    "operations_control_tower_hourly": "operations_checks_hourly",
    "operations_on_run_change": "operations_on_state_change",
    "operations_on_undelivered_alert": "operations_on_run_end",
    "operations_reconcile": "operations_checks",
    "operations_reconcile_hourly": "operations_checks_hourly",
    "operations_verify": "operations_checks",
    "operations_verify_daily": "operations_checks_daily",
}
"""Present name by former name."""
