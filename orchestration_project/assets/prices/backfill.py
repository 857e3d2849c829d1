"""A backfill of the latest months of prices, launched from a job: one run, a request a symbol."""

import dagster as dg
from pydantic import Field

from orchestration_project.assets.prices.catalogue import MONTHS
from orchestration_project.assets.prices.daily import SPECS
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.contracts.pipelines import (
    LOADED_RANGE,
    REQUESTED_RANGE,
    require_known,
)
from orchestration_project.engine.options import JobOptions, report_dry_run
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.backfills import (
    LAUNCHED_BY_JOB,
    build_launch_tags,
    find_active_backfill,
    request_backfill,
)
from orchestration_project.services.metadata import log_metadata

PRICES_BACKFILL_JOB = "prices_backfill"


class PricesBackfill(JobOptions):
    """Months to backfill."""

    months: int | None = Field(
        default=None,
        ge=1,
        examples=[3],
        description="Number of latest months; without it, all months.",
    )
    clip: bool = Field(
        default=False,
        description="Load all known months if more are requested; without it, that is refused.",
    )
    dry_run: bool = Field(
        default=True,
        description="Dry run: only list the partitions; false launches a backfill.",
    )


@dg.op(name="launch_prices_backfill", out=dg.Out(dg.Nothing))
def launch_prices_backfill(context: dg.OpExecutionContext, config: PricesBackfill) -> None:
    """Request a backfill of the latest months; symbols that are loaded are not requested again.

    Raises:
        ConfigurationError: No month exists, or fewer than requested.
    """
    reported = report_dry_run(context.log, "no backfill is launched", is_dry_run=config.dry_run)
    known_names = list(MONTHS.get_partition_keys())
    keys = known_names[-(config.months or 0) :]
    if keys and not config.clip:
        require_known("months", config.months, known_names, "PRICES_FIRST_MONTH")
    if not keys:
        raise ConfigurationError(
            "no month can be loaded: PRICES_FIRST_MONTH is in the future",
            expected="a month that has begun",
            remedy="set PRICES_FIRST_MONTH to an earlier month, and restart the code server",
        )
    context.add_output_metadata(
        log_metadata(
            {
                **reported,
                "backfill": _start_backfill(context, keys, config),
                "requested_count": config.months or len(keys),
                "first_month": keys[0],
                "last_month": keys[-1],
                "month_count": len(keys),
            }
        )
    )


def _start_backfill(context: dg.OpExecutionContext, keys: list[str], config: PricesBackfill) -> str:
    """Launch a backfill of the months, and return its id, or why there is none."""
    running = find_active_backfill(context.instance, {LAUNCHED_BY_JOB: PRICES_BACKFILL_JOB})
    if running is not None:
        return f"none: {running}, of an earlier run of this job, is not over"
    if config.dry_run:
        return "none: dry run"
    ranges = {
        REQUESTED_RANGE: f"the latest {config.months} months" if config.months else "all months",
        LOADED_RANGE: f"{keys[0]} to {keys[-1]}",
    }
    return request_backfill(
        context.instance,
        context.repository_def,
        [spec.key for spec in SPECS],
        keys,
        tags=build_launch_tags(PRICES_BACKFILL_JOB, context.run.tags) | ranges,
        title=f"Daily prices: {len(keys)} months",
    )


@dg.job(
    name=PRICES_BACKFILL_JOB,
    description=describe_job(
        "Launches a backfill of the latest months of daily prices; a dry run by default.",
        "launch_prices_backfill",
        PricesBackfill,
    ),
    tags={"domain": "prices"},
)
def backfill_job() -> None:
    """Request a backfill."""
    launch_prices_backfill()
