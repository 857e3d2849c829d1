"""The table of contents: domains, resources, jobs and sensors, assembled once into `defs`."""

import gc

import dagster as dg

from orchestration_project.assets import events, finra, operations, prices, saas
from orchestration_project.instance.logs import write_in_log_format
from orchestration_project.instance.run_config import in_process_if_valid
from orchestration_project.resources.providers import RESOURCES
from orchestration_project.sensors.events import events_on_webhook
from orchestration_project.sensors.finra import (
    DATASET_SENSORS,
    finra_freshness_daily,
    finra_on_gold,
    finra_on_landing,
    finra_on_last_tier,
    finra_on_publication,
    finra_on_restatement,
    finra_otc_weekly_mondays,
    finra_source_checks_daily,
    finra_symbol_week_value_daily,
)
from orchestration_project.sensors.operations import (
    operations_control_tower_hourly,
    operations_on_run_change,
    operations_on_run_end,
    operations_on_undelivered_alert,
    operations_reconcile_hourly,
    operations_verify_daily,
)
from orchestration_project.sensors.prices import (
    prices_daily_after_close,
    prices_on_landing,
    prices_on_new_symbol,
    prices_waiting_hourly,
)
from orchestration_project.sensors.saas import saas_on_tick, saas_sweep_nightly

PRESETS = operations.presets_asset(
    [finra.LOADING, finra.BACKFILLING, prices.PRICES_LOADING, saas.RECONCILING]
)

defs = dg.Definitions(
    assets=[
        events.inbox,
        events.webhooks,
        finra.weekly_summary,
        finra.otc_weekly,
        finra.across_weeks,
        finra.tier_week,
        finra.symbol_week_value,
        finra.trade_activity,
        finra.value_picture,
        *(each.source for each in finra.DATASET_ASSETS),
        *(each.table for each in finra.DATASET_ASSETS),
        operations.alerts_asset,
        operations.artifacts,
        operations.control_tower,
        operations.evidence,
        operations.ledger,
        PRESETS,
        operations.removals,
        operations.run_logs,
        operations.sessions,
        operations.verification,
        prices.quotes,
        prices.charts,
        prices.daily,
        prices.derived,
        saas.edit_rules,
        saas.reconcile,
        saas.replay,
        saas.sweep,
        saas.try_rules,
    ],
    asset_checks=[
        finra.as_new_as_the_calendar,
        *finra.SOURCE_CHECKS,
        *(each.freshness for each in finra.DATASET_ASSETS),
    ],
    jobs=[
        events.webhooks_job,
        finra.otc_weekly_job,
        finra.replay_job,
        finra.backfill_job,
        finra.gold_job,
        finra.tier_week_job,
        finra.symbol_week_value_job,
        finra.trade_activity_job,
        finra.freshness_job,
        finra.source_checks_job,
        *(each.job for each in finra.DATASET_ASSETS),
        operations.apply_preset_job,
        operations.artifacts_job,
        operations.cleanup_job,
        operations.control_tower_job,
        operations.export_evidence_job,
        operations.prune_job,
        operations.reconcile_job,
        operations.replay_webhook_job,
        operations.retry_failures_job,
        operations.sessions_job,
        operations.verify_job,
        prices.backfill_job,
        prices.charts_job,
        prices.daily_job,
        prices.gold_job,
        prices.replay_job,
        saas.dry_run_job,
        saas.edit_rules_job,
        saas.reconcile_job,
        saas.replay_dead_letters_job,
        saas.set_tick_job,
        saas.sweep_job,
    ],
    schedules=[
        finra_otc_weekly_mondays,
        finra_freshness_daily,
        finra_source_checks_daily,
        finra_symbol_week_value_daily,
        operations_control_tower_hourly,
        operations_reconcile_hourly,
        operations_verify_daily,
        prices_daily_after_close,
        prices_waiting_hourly,
        saas_sweep_nightly,
    ],
    sensors=[
        events_on_webhook,
        finra_on_publication,
        finra_on_restatement,
        finra_on_landing,
        finra_on_last_tier,
        finra_on_gold,
        *DATASET_SENSORS,
        operations_on_run_change,
        operations_on_run_end,
        operations_on_undelivered_alert,
        prices_on_landing,
        prices_on_new_symbol,
        saas_on_tick,
    ],
    resources=RESOURCES,
    executor=in_process_if_valid,  # 0.4 s a run where a process for each step takes 61 s
)

write_in_log_format()
gc.freeze()  # what was imported stays: to look through it again takes 0.2-0.4 s, within some load
