"""Poll interval of both systems, as set by a user."""

from datetime import timedelta

import dagster as dg
from pydantic import Field

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.options import JobOptions
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.saas.ticks import PEOPLEFORCE_JIRA, Ticks
from orchestration_project.services.metadata import log_metadata

SET_TICK_JOB = "saas_set_tick"

A_WEEK = 7 * 24 * 60 * 60


class SetTick(JobOptions):
    """Changed fields; omitted fields stay."""

    interval_seconds: int | None = Field(
        default=None,
        ge=15,
        le=A_WEEK,
        examples=[300],
        description="Poll interval, seconds; without it, unchanged.",
    )
    is_paused: bool | None = Field(
        default=None,
        description="Whether polling is paused, so that only a manual trigger starts it; without "
        "it, unchanged.",
    )
    trigger: bool = Field(default=False, description="Poll now, also while paused.")


@dg.op(name="set_tick", out=dg.Out(dg.Nothing))
def set_tick(
    context: dg.OpExecutionContext,
    config: SetTick,
    clock: dg.ResourceParam[Clock],
    warehouse: dg.ResourceParam[Warehouse],
) -> None:
    """Change the tick, and show it as it is then."""
    ticks = Ticks(warehouse, PEOPLEFORCE_JIRA)
    seconds = config.interval_seconds
    ticks.change(
        interval=timedelta(seconds=seconds) if seconds else None, is_paused=config.is_paused
    )
    if config.trigger:
        ticks.trigger(clock.now())
    tick = ticks.tick()
    times = {
        "triggered_at": tick.triggered_at,
        "started_at": tick.started_at,
        "synced_at": tick.synced_at,
    }
    context.add_output_metadata(
        log_metadata(
            {
                "interval_seconds": int(tick.interval.total_seconds()),
                "is_paused": tick.is_paused,
                **{name: at for name, at in times.items() if at is not None},
            }
        )
    )


@dg.job(
    name=SET_TICK_JOB,
    description=describe_job(
        "Sets the poll interval of both systems, pauses polling, or polls now.",
        "set_tick",
        SetTick,
    ),
    tags={"domain": "saas"},
)
def set_tick_job() -> None:
    """Change the tick."""
    set_tick()
