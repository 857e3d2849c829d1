"""Earlier names of settings, which are refused with the present one."""

from collections.abc import Mapping

RENAMED: Mapping[str, str] = {
    "ALERT_WINDOW_HOURS": "ALERT_REPEAT_AFTER_HOURS",
    "CLOCK_NOW": "DEMO_CLOCK_NOW",
    "FINRA_API_KEY": "FINRA_ACCESS_TOKEN",
    "FINRA_HORIZON_WEEKS": "FINRA_LOOKBACK_WEEKS",
    "FINRA_PARTITIONS_PER_TICK": "FINRA_MAX_RUNS_PER_TICK",
    "READINESS_MAX_AGE_MINUTES": "PREFLIGHT_CACHE_MINUTES",
    "SPINE_DB_URL": "DATABASE_URL",
    "SPINE_FINRA_API_KEY": "FINRA_ACCESS_TOKEN",
    "SPINE_LOG_LEVEL": "LOG_LEVEL",
    "SPINE_SLACK_WEBHOOK": "SLACK_WEBHOOK",
    "UI_URL": "PUBLIC_URL",
}
"""The present name of each setting, by its earlier one."""
