"""A backfill of FINRA's latest weeks, launched from a job, so that a preset can describe it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from orchestration_project.assets.finra.catalogue import WEEKS_OF_ALL_TIERS, list_week_keys
from orchestration_project.assets.finra.weekly import SPECS
from orchestration_project.domains.finra.options import (
    BACKFILL_JOB,
    BACKFILLING,
    LOAD_OP,
    FinraBackfill,
)
from orchestration_project.domains.finra.selection import (
    TierWeek,
    latest_weeks,
    of_known_tiers,
    summary,
)
from orchestration_project.domains.finra.settings import FinraSettings
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.contracts.pipelines import (
    LOADED_RANGE,
    REQUESTED_RANGE,
    require_known,
)
from orchestration_project.engine.options import build_config, describe_defaults, report_dry_run
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.source import (
    FinraSource,
    outdated_weeks,
    published_lately,
)
from orchestration_project.services.backfills import (
    LAUNCHED_BY_JOB,
    build_launch_tags,
    find_active_backfill,
    request_backfill,
)
from orchestration_project.services.metadata import log_metadata
from orchestration_project.services.presets import Presets, RunPresets
from orchestration_project.settings import load_shared_settings

describe_defaults(FinraBackfill, BACKFILLING.default_texts(load_shared_settings()))

BACKFILL_CONFIG = build_config(FinraBackfill)


@dg.op(name=BACKFILLING.op, out=dg.Out(dg.Nothing))
def launch_backfill(
    context: dg.OpExecutionContext,
    config: BACKFILL_CONFIG,  # pyright: ignore[reportInvalidTypeForm] - a class of these options
    clock: dg.ResourceParam[Clock],
    finra: dg.ResourceParam[FinraSource],
    settings: dg.ResourceParam[FinraSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> None:
    """Request a backfill of the latest weeks, of those among them that are missing or changed.

    Raises:
        ConfigurationError: More weeks are requested than are known.
    """
    reported = report_dry_run(context.log, "no backfill is launched", is_dry_run=config.dry_run)
    of_run = RunPresets(context.instance, context.run.run_id, settings, Presets(warehouse, clock))
    values = of_run.values(BACKFILLING, config)
    if not values["clip"] and values["weeks"] != settings.finra_lookback_weeks:
        known_weeks = WEEKS_OF_ALL_TIERS.get_partition_keys()
        require_known("weeks", values["weeks"], known_weeks, "FINRA_FIRST_WEEK")
    listed = published_lately(finra, values["weeks"], today=clock.today_in_new_york())
    tier_weeks, unknown = of_known_tiers(listed)
    latest = latest_weeks(_select_partitions(tier_weeks), values["weeks"])
    due, refusals = outdated_weeks(
        finra, warehouse, latest, only_taken=values["only_taken"], full=values["full"]
    )
    context.add_output_metadata(
        log_metadata(
            {
                **reported,
                "backfill": _start_backfill(context, due, values, is_dry_run=config.dry_run),
                "requested_count": values["weeks"],
                "partitions": summary(due) or "none",
                "partition_count": len(due),
                "published_count": len(latest),
                "not_answered": ", ".join(sorted(refusals)) or "none",
                "tiers_left_out": ", ".join(unknown) or "none",
            }
        )
    )


def _select_partitions(weeks: Iterable[TierWeek]) -> list[TierWeek]:
    keys = list_week_keys()
    return [week for week in weeks if week.key in keys]


def _start_backfill(
    context: dg.OpExecutionContext,
    due: Sequence[TierWeek],
    values: Mapping[str, Any],
    *,
    is_dry_run: bool,
) -> str:
    """Launch a backfill of the weeks, and return its id, or why there is none."""
    running = find_active_backfill(context.instance, {LAUNCHED_BY_JOB: BACKFILL_JOB})
    if running is not None:
        return f"none: {running}, of an earlier run of this job, is not over"
    if not due or is_dry_run:
        return "none: dry run" if due else "none: none of the weeks is to be loaded"
    ranges = {
        REQUESTED_RANGE: f"the latest {values['weeks']} weeks that are missing or changed",
        LOADED_RANGE: summary(due),
    }
    return request_backfill(
        context.instance,
        context.repository_def,
        [spec.key for spec in SPECS],
        [tier_week.key for tier_week in due],
        tags=build_launch_tags(BACKFILL_JOB, context.run.tags) | ranges,
        title=f"FINRA OTC weekly: {len(due)} partitions",
        run_config={"ops": {LOAD_OP: {"config": {"full": True}}}} if values["full"] else None,
    )


@dg.job(
    name=BACKFILL_JOB,
    description=describe_job(
        "Launches a backfill of the latest weeks that are missing or changed; a dry run by "
        "default.",
        BACKFILLING.op,
        FinraBackfill,
    ),
    tags={"domain": "finra"},
)
def backfill_job() -> None:
    """Request a backfill."""
    launch_backfill()
