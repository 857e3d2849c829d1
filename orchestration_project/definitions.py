"""The table of contents: domains, resources, jobs and sensors, assembled once into `defs`."""

import gc

import dagster as dg

from orchestration_project.assets import events, finra, operations, saas
from orchestration_project.instance.logs import write_in_log_format
from orchestration_project.jobs import (
    events_webhooks,
    finra_backfill,
    finra_freshness,
    finra_gold,
    finra_otc_weekly,
    finra_replay,
    finra_source_checks,
    finra_tier_week,
    finra_trade_activity,
    operations_apply_preset,
    operations_artifacts,
    operations_cleanup,
    operations_control_tower,
    operations_export_evidence,
    operations_prune,
    operations_reconcile,
    operations_replay_webhook,
    operations_retry_failures,
    operations_sessions,
    operations_verify,
    presets,
    saas_dry_run,
    saas_edit_rules,
    saas_reconcile,
    saas_replay_dead_letters,
    saas_set_tick,
    saas_sweep,
)
from orchestration_project.resources.providers import RESOURCES
from orchestration_project.sensors.events import events_on_webhook
from orchestration_project.sensors.finra import (
    finra_freshness_daily,
    finra_on_gold,
    finra_on_landing,
    finra_on_last_tier,
    finra_on_publication,
    finra_on_restatement,
    finra_otc_weekly_mondays,
    finra_source_checks_daily,
)
from orchestration_project.sensors.operations import (
    operations_control_tower_hourly,
    operations_on_run_change,
    operations_on_run_end,
    operations_on_undelivered_alert,
    operations_reconcile_hourly,
    operations_verify_daily,
)
from orchestration_project.sensors.saas import saas_on_tick, saas_sweep_nightly

defs = dg.Definitions(
    assets=[
        events.inbox,
        events.webhooks,
        finra.weekly_summary,
        finra.otc_weekly,
        finra.symbol_rolling_6w,
        finra.concentration_week,
        finra.tier_week,
        finra.trade_activity,
        operations.alerts_asset,
        operations.artifacts,
        operations.control_tower,
        operations.evidence,
        operations.ledger,
        presets,
        operations.removals,
        operations.run_logs,
        operations.sessions,
        operations.verification,
        saas.edit_rules,
        saas.reconcile,
        saas.replay,
        saas.sweep,
        saas.try_rules,
    ],
    asset_checks=[finra.as_new_as_the_calendar, *finra.SOURCE_CHECKS],
    jobs=[
        events_webhooks,
        finra_otc_weekly,
        finra_replay,
        finra_backfill,
        finra_gold,
        finra_tier_week,
        finra_trade_activity,
        finra_freshness,
        finra_source_checks,
        operations_apply_preset,
        operations_artifacts,
        operations_cleanup,
        operations_control_tower,
        operations_export_evidence,
        operations_prune,
        operations_reconcile,
        operations_replay_webhook,
        operations_retry_failures,
        operations_sessions,
        operations_verify,
        saas_dry_run,
        saas_edit_rules,
        saas_reconcile,
        saas_replay_dead_letters,
        saas_set_tick,
        saas_sweep,
    ],
    schedules=[
        finra_otc_weekly_mondays,
        finra_freshness_daily,
        finra_source_checks_daily,
        operations_control_tower_hourly,
        operations_reconcile_hourly,
        operations_verify_daily,
        saas_sweep_nightly,
    ],
    sensors=[
        events_on_webhook,
        finra_on_publication,
        finra_on_restatement,
        finra_on_landing,
        finra_on_last_tier,
        finra_on_gold,
        operations_on_run_change,
        operations_on_run_end,
        operations_on_undelivered_alert,
        saas_on_tick,
    ],
    resources=RESOURCES,
    executor=dg.in_process_executor,  # 0.4 s a run where a process for each step takes 61 s
)

write_in_log_format()
gc.freeze()  # what was imported stays: to look through it again takes 0.2-0.4 s, within some load
