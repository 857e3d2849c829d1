"""Schedules that are data: edited by a job, and shown with their next runs."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.edits import EditOptions, make_edit
from orchestration_project.assets.operations.kinds import AssetEvent, Kind
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.edits import Action
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.edits import EditResult
from orchestration_project.services.metadata import build_table
from orchestration_project.services.schedules.jobs import ScheduledJobs
from orchestration_project.services.schedules.rules.schedules import StoredSchedule, read_zone
from orchestration_project.services.schedules.store import SCHEDULE_STORE

MAX_SHOWN = 100
"""Schedules that the metadata lists, so that an event stays small; the counts are of all."""

NEXT_SHOWN = 3
EditAction = Enum("EditAction", {each.value: each.value for each in Action})

SHOWN_COLUMNS = {
    **dict.fromkeys(("name", "job", "cron", "timezone", "state", "flag", "owner"), pl.String),
    "version": pl.Int64,
    **dict.fromkeys(("next_runs", "edited_by"), pl.String),
}


class EditSchedule(EditOptions):
    """Edit of one schedule."""

    action: EditAction = Field(  # pyright: ignore[reportInvalidTypeForm] - names of an enumeration
        examples=["create"], description="Edit of the schedule."
    )
    name: str = Field(examples=["nightly_fx"], description="Name of the schedule.")
    fields: dict[str, Any] = Field(
        default={},
        examples=[{"job": "fx_rates_daily", "cron": "0 6 * * *", "partitions": "latest"}],
        description="Fields of a new schedule, or those that change; see "
        "docs/how-to/schedule-without-deploy.md.",
    )


def edit_schedule(
    context: dg.OpExecutionContext,
    config: EditSchedule,
    clock: Clock,
    warehouse: Warehouse,
) -> Iterator[AssetEvent]:
    """Judge an edit by its job, and make it unless this is a dry run."""
    now = clock.now()

    def judge(planned: EditResult[StoredSchedule]) -> Mapping[str, Any]:
        if planned.after is not None and planned.after.schedule.is_enabled:
            ScheduledJobs(context.repository_def).require_valid(planned.after.schedule)
        next_runs = _format_next_runs(planned.after, now) if planned.after else ""
        return {"next_runs_after_edit": next_runs}

    yield from make_edit(
        *(context, config, clock, warehouse, SCHEDULE_STORE),
        judge=judge,
        show=lambda stored: describe_schedules(stored, now),
    )


def describe_schedules(stored: Sequence[StoredSchedule], now: datetime) -> Mapping[str, Any]:
    """Return the metadata of the schedules: counts, and a table with their next runs."""
    rows = [_render_schedule(stored_schedule, now) for stored_schedule in stored[:MAX_SHOWN]]
    return {
        "schedule_count": len(stored),
        "enabled_count": sum(stored_schedule.schedule.is_enabled for stored_schedule in stored),
        "disabled_count": sum(
            stored_schedule.disabled_reason is not None for stored_schedule in stored
        ),
        "schedules": build_table(pl.DataFrame(rows, SHOWN_COLUMNS, orient="row")),
    }


def _render_schedule(stored: StoredSchedule, now: datetime) -> tuple[Any, ...]:
    schedule = stored.schedule
    state = "enabled" if schedule.is_enabled else "paused"
    return (
        schedule.name,
        schedule.job,
        schedule.cron,
        schedule.timezone,
        f"disabled: {stored.disabled_reason}" if stored.disabled_reason else state,
        schedule.flag or "",
        schedule.owner,
        stored.version_number,
        _format_next_runs(stored, now),
        stored.edited_by,
    )


def _format_next_runs(stored: StoredSchedule, now: datetime) -> str:
    """Return the next runs in the schedule's own time zone; empty: it is not enabled."""
    zone, runs = read_zone(stored.schedule.timezone), stored.next_runs(now, NEXT_SHOWN)
    return ", ".join(f"{run.astimezone(zone):%Y-%m-%d %H:%M %z}" for run in runs)


EDIT_SCHEDULE = Kind(
    "edit_schedule",
    "Creates, changes, pauses, resumes or deletes a schedule; a dry run by default.",
    EditSchedule,
    edit_schedule,
    requires_admin=True,
)
