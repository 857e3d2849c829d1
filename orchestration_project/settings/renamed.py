"""Earlier names of settings, which are refused with what takes their place."""

from collections.abc import Mapping

RENAMED: Mapping[str, str] = {
    "ALERT_WINDOW_HOURS": "ALERT_REPEAT_AFTER_HOURS",
    "CLOCK_NOW": "DEMO_CLOCK_NOW",
    "FINRA_API_KEY": "FINRA_ACCESS_TOKEN",
    "FINRA_BONDS_API_KEY": "FINRA_BONDS_ACCESS_TOKEN",
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

REMOVED: Mapping[str, str] = {
    "ARTIFACTS_COPY_URL": "removed, use versioning and replication of the bucket, or `rsync -a "
    "--ignore-existing` of the folder (docs/how-to/copy-artifacts.md); to copy back objects that "
    "only the second store has, unset it and run `orchestrate artifacts repair --from URL`",
}
"""Replacement of each removed setting."""

MOVED_TO_CHECKS: Mapping[str, str] = {
    "FINRA_BAND_CAP": "finra_otc_weekly.outliers.max_factor",
    "FINRA_BAND_FLOOR": "finra_otc_weekly.outliers.min_factor",
    "FINRA_BAND_MIN_WEEKS": "finra_otc_weekly.outliers.min_weeks",
    "FINRA_BAND_WEEKS": "finra_otc_weekly.outliers.weeks",
    "FINRA_BAND_WIDTH": "finra_otc_weekly.outliers.sigma",
    "FINRA_LARGE_VENUE_SHARE": "finra_otc_weekly.large_venues.min_ratio",
    "FINRA_LARGE_VENUE_WEEKS": "finra_otc_weekly.large_venues.weeks",
    "FINRA_MAX_ROW_SHARES": "finra_otc_weekly.max_row_shares",
    "FINRA_RESTATEMENT_NOTICE_RATIO": "finra_otc_weekly.restatement_notice_ratio",
    "FINRA_VALUE_MIN_COVERAGE": "finra_symbol_week_value.min_price_coverage",
    "PRICES_DISAGREEMENT_RATIO": "prices_daily.disagreement_ratio",
    "PRICES_JUMP_RATIO": "prices_daily.jump_ratio",
    "PRICES_STALE_SESSIONS": "prices_daily.stale_sessions",
}
"""The place of each limit in `checks.yaml`, by the setting that it was."""
