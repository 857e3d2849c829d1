"""The named jobs."""

import dagster as dg

from orchestration_project.assets.events import webhooks
from orchestration_project.assets.finra import (
    BACKFILL_JOB,
    BACKFILLING,
    DATASET_ASSETS,
    LOADING,
    REPLAY_JOB,
    SOURCE_CHECKS,
    SPECS,
    across_weeks,
    as_new_as_the_calendar,
    launch_backfill,
    symbol_week_value,
    tier_week,
    trade_activity,
    value_picture,
)
from orchestration_project.assets.operations import (
    REPLAY_WEBHOOK_JOB,
    RETRY_JOB,
    alerts_asset,
    artifacts,
    control_tower,
    evidence,
    ledger,
    presets_asset,
    removals,
    replay_webhook,
    retry_failures,
    run_logs,
    sessions,
    verification,
)
from orchestration_project.assets.prices import (
    PRICES_BACKFILL_JOB,
    PRICES_LOADING,
    charts,
    derived,
    launch_prices_backfill,
)
from orchestration_project.assets.prices import REPLAY_JOB as PRICES_REPLAY_JOB
from orchestration_project.assets.prices import SPECS as PRICES_SPECS
from orchestration_project.assets.saas import (
    RECONCILING,
    SET_TICK_JOB,
    edit_rules,
    reconcile,
    replay,
    set_tick,
    sweep,
    try_rules,
)
from orchestration_project.resources.failed_partitions import BY_HAND

events_webhooks = dg.define_asset_job(
    "events_webhooks",
    selection=dg.AssetSelection.assets(webhooks),
    description="Lands one webhook delivery of the inbox; events_on_webhook says which.",
    tags={"domain": "events"},
)

saas_reconcile = dg.define_asset_job(
    "saas_reconcile",
    selection=dg.AssetSelection.assets(reconcile),
    description="Brings tasks and issues into agreement; of a webhook just what it tells of.",
    tags={"domain": "saas"},
)

WEBHOOK_JOBS = [events_webhooks, saas_reconcile]
"""The jobs that work on deliveries: their runs have the tags of one. A domain adds its own here."""

finra_otc_weekly = dg.define_asset_job(
    "finra_otc_weekly",
    selection=dg.AssetSelection.assets(*(spec.key for spec in SPECS))
    - dg.AssetSelection.checks(as_new_as_the_calendar),
    description="Loads weeks of FINRA's OTC data: fetch, check, land, derive.",
    tags={"domain": "finra"},
)

finra_replay = dg.define_asset_job(
    REPLAY_JOB,
    selection=finra_otc_weekly.selection,
    description="Checks and lands again what was captured of weeks, without asking the source.",
    tags={"domain": "finra", **BY_HAND},
)


@dg.job(
    name=BACKFILL_JOB,
    description="Launches a backfill of the latest weeks that are missing or changed.",
    tags={"domain": "finra"},
)
def finra_backfill() -> None:
    """Ask for a backfill."""
    launch_backfill()


finra_gold = dg.define_asset_job(
    "finra_gold",
    selection=dg.AssetSelection.assets(across_weeks),
    description="Derives what looks across the weeks of a tier, for weeks that are landed.",
    tags={"domain": "finra"},
)

finra_tier_week = dg.define_asset_job(
    "finra_tier_week",
    selection=dg.AssetSelection.assets(tier_week),
    description="Derives what looks across tiers, for weeks of which all tiers are landed.",
    tags={"domain": "finra"},
)

finra_symbol_week_value = dg.define_asset_job(
    "finra_symbol_week_value",
    selection=dg.AssetSelection.assets(symbol_week_value, value_picture),
    description="Derives what the shares of complete weeks were worth, from landed prices, and "
    "draws it.",
    tags={"domain": "finra"},
)

finra_trade_activity = dg.define_asset_job(
    "finra_trade_activity",
    selection=dg.AssetSelection.assets(trade_activity),
    description="Draws the picture of what is landed.",
    tags={"domain": "finra"},
)

finra_freshness = dg.define_asset_job(
    "finra_freshness",
    selection=dg.AssetSelection.checks(
        as_new_as_the_calendar, *(each.freshness for each in DATASET_ASSETS)
    ),
    description="Looks whether what is landed is as new as FINRA's calendar promises.",
    tags={"domain": "finra"},
)

DATASET_JOBS = {
    each.dataset.noun: dg.define_asset_job(
        f"finra_{each.dataset.noun}",
        selection=dg.AssetSelection.assets(each.key) - dg.AssetSelection.checks(each.freshness),
        description=f"Loads {each.dataset.table.name} of FINRA's {each.dataset.name}, or what "
        "stands in for it: fetch, check, land.",
        tags={"domain": "finra"},
    )
    for each in DATASET_ASSETS
}
"""The job of each declared dataset, by the noun of its asset."""

finra_source_checks = dg.define_asset_job(
    "finra_source_checks",
    selection=dg.AssetSelection.checks(*SOURCE_CHECKS),
    description="Asks FINRA whether its tiers and fields are those that we know: two requests.",
    tags={"domain": "finra"},
)

prices_daily = dg.define_asset_job(
    "prices_daily",
    selection=dg.AssetSelection.assets(*(spec.key for spec in PRICES_SPECS)),
    description="Loads months of daily prices: a request for each symbol, check, land.",
    tags={"domain": "prices"},
)

prices_replay = dg.define_asset_job(
    PRICES_REPLAY_JOB,
    selection=prices_daily.selection,
    description="Checks and lands again what was captured of symbols, without asking the source.",
    tags={"domain": "prices", **BY_HAND},
)

prices_gold = dg.define_asset_job(
    "prices_gold",
    selection=dg.AssetSelection.assets(derived),
    description="Derives corporate actions and returns of symbols whose prices changed.",
    tags={"domain": "prices"},
)


prices_charts = dg.define_asset_job(
    "prices_charts",
    selection=dg.AssetSelection.assets(charts),
    description="Draws candlesticks, volume, and which days of prices are landed.",
    tags={"domain": "prices"},
)


@dg.job(
    name=PRICES_BACKFILL_JOB,
    description="Launches a backfill of the latest months of daily prices.",
    tags={"domain": "prices"},
)
def prices_backfill() -> None:
    """Ask for a backfill."""
    launch_prices_backfill()


operations_reconcile = dg.define_asset_job(
    "operations_reconcile",
    selection=dg.AssetSelection.assets(ledger),
    description="Compares the ledger of runs with all that Dagster knows, and repairs it.",
    tags={"domain": "operations"},
)

operations_sessions = dg.define_asset_job(
    "operations_sessions",
    selection=dg.AssetSelection.assets(sessions),
    description="Lists sessions: what was started together, how far it is, what came of it.",
    tags={"domain": "operations"},
)

operations_control_tower = dg.define_asset_job(
    "operations_control_tower",
    selection=dg.AssetSelection.assets(control_tower, alerts_asset),
    description="Looks how every domain stands, what alerts are open, and whether they arrive.",
    tags={"domain": "operations"},
)

operations_verify = dg.define_asset_job(
    "operations_verify",
    selection=dg.AssetSelection.assets(verification),
    description="Looks whether all that loads depend on is ready, and what was reconfigured.",
    tags={"domain": "operations"},
)

presets = presets_asset([LOADING, BACKFILLING, PRICES_LOADING, RECONCILING])

operations_apply_preset = dg.define_asset_job(
    "operations_apply_preset",
    selection=dg.AssetSelection.assets(presets),
    description="Lists presets, shows what one would change, and applies it to later runs.",
    tags={"domain": "operations"},
)


@dg.job(
    name=RETRY_JOB,
    description="Finds failed partitions across runs, and launches those that may land now.",
    tags={"domain": "operations"},
)
def operations_retry_failures() -> None:
    """Ask for backfills."""
    retry_failures()


@dg.job(
    name=REPLAY_WEBHOOK_JOB,
    description="Puts webhook deliveries that are done or dead back into the queue.",
    tags={"domain": "operations"},
)
def operations_replay_webhook() -> None:
    """Put deliveries back."""
    replay_webhook()


operations_artifacts = dg.define_asset_job(
    "operations_artifacts",
    selection=dg.AssetSelection.assets(artifacts),
    description="Lists captures and what is stored, and compares the store with the tables.",
    tags={"domain": "operations"},
)

operations_cleanup = dg.define_asset_job(
    "operations_cleanup",
    selection=dg.AssetSelection.assets(removals),
    description="Deletes artifacts that are old and not needed; a dry run unless told otherwise.",
    tags={"domain": "operations"},
)

operations_prune = dg.define_asset_job(
    "operations_prune",
    selection=dg.AssetSelection.assets(run_logs),
    description="Frees what old runs left in Dagster's logs; a dry run unless told otherwise.",
    tags={"domain": "operations"},
)

operations_export_evidence = dg.define_asset_job(
    "operations_export_evidence",
    selection=dg.AssetSelection.assets(evidence),
    description="Writes what is known of a run, a session, or a partition at a time, as one file.",
    tags={"domain": "operations"},
)

saas_edit_rules = dg.define_asset_job(
    "saas_edit_rules",
    selection=dg.AssetSelection.assets(edit_rules),
    description="Tries rules, and puts them into effect unless the target refuses them.",
    tags={"domain": "saas"},
)

saas_dry_run = dg.define_asset_job(
    "saas_dry_run",
    selection=dg.AssetSelection.assets(try_rules),
    description="Shows what edited rules would do with the tasks that were seen; writes nothing.",
    tags={"domain": "saas"},
)

saas_replay_dead_letters = dg.define_asset_job(
    "saas_replay_dead_letters",
    selection=dg.AssetSelection.assets(replay),
    description="Does once more, by the rules in effect now, what a system had refused.",
    tags={"domain": "saas"},
)

saas_sweep = dg.define_asset_job(
    "saas_sweep",
    selection=dg.AssetSelection.assets(sweep),
    description="Looks at all issues for what no webhook told, and holds the rules to the target.",
    tags={"domain": "saas"},
)


@dg.job(
    name=SET_TICK_JOB,
    description="Says how often both systems are looked through, pauses that, or asks for a look.",
    tags={"domain": "saas"},
)
def saas_set_tick() -> None:
    """Change the tick."""
    set_tick()
