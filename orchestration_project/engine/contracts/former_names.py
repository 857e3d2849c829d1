"""Former names of jobs, schedules, sensors and assets, by which an installation stored things."""

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

_DATASETS_OF_FINRA = (
    *("ats_blocks", "bond_trade_activity", "corporate_market_breadth", "otc_blocks"),
    *("otc_monthly", "reg_sho_daily", "short_interest", "threshold_list"),
    *("treasury_daily", "treasury_monthly", "treasury_weekly"),
)

FORMER_REPLAYS: Mapping[str, tuple[str, str]] = {
    "documents_replay": ("documents_load", "documents_load_day"),
    "finra_replay": ("finra_otc_weekly", "finra_otc_weekly_load"),
    "prices_replay": ("prices_daily", "prices_daily_load"),
    **{
        f"{job}_replay": (job, f"{job}_load")
        for job in (
            *("cboe_market_volume_daily", "fx_rates_daily"),
            *(f"finra_{name}" for name in _DATASETS_OF_FINRA),
        )
    },
}
"""Job and op of the loads that replay by ``replay: true``, by former job of partitions.

Three of the names are now those of jobs without partitions.
"""

FORMER_ASSETS: Mapping[str, str] = {
    **dict.fromkeys(
        ("operations/run_logs", "operations/sessions", "operations/steps"), "operations/runs"
    ),
    **dict.fromkeys(
        ("operations/flags", "operations/presets", "operations/schedules"), "operations/definitions"
    ),
    **dict.fromkeys(
        (
            *("operations/artifact_copies", "operations/damaged_artifacts"),
            *("operations/erasures", "operations/removals"),
        ),
        "operations/artifacts",
    ),
    "operations/effective_config": "operations/readiness",
    "operations/gold_as_of": "operations/exports",
}
"""Present key of an asset by its former one."""


def find_present_asset(key: str) -> str:
    """Return the present key of an asset, also of a former one."""
    return FORMER_ASSETS.get(key, key)
